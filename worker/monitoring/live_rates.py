"""How the live flags of a bundle stand to readers' labels, as values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model.json_value import JsonValue
from model.stats.estimate import Proportion
from model.stats.sequential import RateWatch

COMPLETE = 0.9
"""Share of the drawn films that readers must have read before a rate is called complete. It is for the eye: the alarm
takes films that were left out as they would speak most against it, at any share."""


@dataclass(frozen=True, kw_only=True)
class LabelRate:
    """How often a flag is right on the films with one label."""

    label: str
    positive: bool
    """Whether the label has the flag's finding: then it is a sensitivity, else a specificity."""
    rate: RateWatch

    @property
    def name(self) -> str:
        return "sensitivity" if self.positive else "specificity"

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label, "rate": self.name} | self.rate.as_dict()


@dataclass(frozen=True, kw_only=True)
class FindingRates:
    """Of one flag, over the random sample."""

    finding: str
    by_label: tuple[LabelRate, ...]
    ppv: Proportion
    """Share of the flagged films that have the finding. It moves with how common that is, as the next: no alarm."""
    npv: Proportion
    """Share of the others that do not."""

    @property
    def alarm(self) -> bool:
        return any(one.rate.alarm for one in self.by_label)

    def as_dict(self) -> dict[str, Any]:
        return {
            "finding": self.finding,
            "alarm": self.alarm,
            "by_label": [one.as_dict() for one in self.by_label],
            "ppv": self.ppv.as_dict(),
            "npv": self.npv.as_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class SampleRates:
    """What the random sample says."""

    drawn: int
    """Films that the bundle scored."""
    labelled: int
    disputed: int
    """Films whose readers do not agree."""
    findings: tuple[FindingRates, ...]

    @property
    def unread(self) -> int:
        return self.drawn - self.labelled - self.disputed

    @property
    def complete(self) -> bool:
        """Whether enough of the drawn films were read for the rates to stand for all films."""
        return bool(self.drawn) and self.labelled + self.disputed >= COMPLETE * self.drawn

    def as_dict(self) -> dict[str, Any]:
        names = ("drawn", "labelled", "disputed", "unread", "complete")
        return {name: getattr(self, name) for name in names} | {"findings": [one.as_dict() for one in self.findings]}


@dataclass(frozen=True, kw_only=True)
class DeviceRates:
    """What the random sample says of the films of one X-ray device, held against that device's own calibration."""

    device: str
    """Its name in the bundle; "" for films that took the bundle's own calibration."""
    sample: SampleRates

    def as_dict(self) -> dict[str, Any]:
        return {"device": self.device} | self.sample.as_dict()


@dataclass(frozen=True, kw_only=True)
class ChosenRate(JsonValue):
    """How often a flag is right on films with one label that were not drawn."""

    finding: str
    label: str
    right: Proportion


@dataclass(frozen=True, kw_only=True)
class OtherLabels:
    """What readers say of films that were not drawn. Nobody knows how these were chosen: not representative, no
    alarm."""

    labelled: int
    flagged: int
    """Of these, with any flag."""
    disputed: int
    rates: tuple[ChosenRate, ...]

    def as_dict(self) -> dict[str, Any]:
        names = ("labelled", "flagged", "disputed")
        return (
            {"representative": False}
            | {name: getattr(self, name) for name in names}
            | {"rates": [one.as_dict() for one in self.rates]}
        )


@dataclass(frozen=True, kw_only=True)
class Performance:
    """How one bundle's live scores stand to the truth."""

    bundle_digest: str
    scored: int
    flagged: int
    """Scored films with any flag."""
    since: datetime | None
    """The last reset: films received before do not count in what follows. None: all do."""
    reason: str
    """Of the reset; "" without one."""
    sample: SampleRates
    """Of films that took the bundle's own calibration."""
    others: OtherLabels
    devices: tuple[DeviceRates, ...] = ()
    """Of the others, by device; () , and not in the JSON, where the bundle has none."""

    @property
    def parts(self) -> tuple[DeviceRates, ...]:
        """Every part of the random sample, each held against the calibration that its films took."""
        return (DeviceRates(device="", sample=self.sample), *self.devices)

    def as_dict(self) -> dict[str, Any]:
        return {
            "bundle_digest": self.bundle_digest,
            "scored": self.scored,
            "flagged": self.flagged,
            "since": self.since and self.since.isoformat(timespec="seconds"),
            "reason": self.reason,
            "sample": self.sample.as_dict(),
            "others": self.others.as_dict(),
        } | ({"devices": [one.as_dict() for one in self.devices]} if self.devices else {})

    @property
    def known(self) -> bool:
        """Whether there is anything to say: a label, a draw, or a reset that ends what was said before."""
        return bool(
            any(one.sample.drawn for one in self.parts) or self.others.labelled or self.others.disputed or self.since
        )
