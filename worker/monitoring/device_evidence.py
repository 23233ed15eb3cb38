"""What an AE's own labelled films say of it: the evidence on which its results are sent, or are not.

Used are films of the AE that were drawn at random since the last reset (`label_sample`), that the live bundle scored
live, and whose readers agree; of an AE that was silenced, those that came since. Films that a person picked are not:
somebody may have picked them for what they scored.

Whole draws are used, in their order, up to the first of which too few films have a truth: nobody can leave out a
draw that does not please. How they are judged: `model.promotion.acceptance_rule`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sqlalchemy import Connection, select

from model.bundle import Bundle
from model.decision import SENSITIVITY, SPECIFICITY, OperatingPoint, has
from model.findings import negative_of
from model.json_value import JsonValue
from model.promotion.acceptance_rule import CountedRate, JudgedRate, RuleInForce, judge
from worker.db.session import database_time
from worker.db.tables import instance
from worker.monitoring.label_sample import last_reset, names_of_draws
from worker.monitoring.labels import Truth, truths
from worker.monitoring.live_rates import COMPLETE
from worker.monitoring.performance import CHUNK, ScoredFilm, scored_films


@dataclass(frozen=True, kw_only=True)
class DrawOfDevice(JsonValue):
    """An AE's films in one draw, scored live by the bundle."""

    draw: str
    films: int
    labelled: int
    """With a truth."""
    without_truth: int
    """Read, but the readers disagree, or say what is no finding of the bundle: in no rate."""

    @property
    def unread(self) -> int:
        return self.films - self.labelled - self.without_truth

    @property
    def complete(self) -> bool:
        """Whether enough have a truth for the rest to make little difference. Films on which readers disagree are often
        the hard ones, so they count as missing."""
        return self.labelled >= COMPLETE * self.films


@dataclass(frozen=True, kw_only=True)
class DeviceEvidence(JsonValue):
    """How one bundle did on an AE's films, and what the rule says of it."""

    calling_ae: str
    bundle_digest: str
    bundle_name: str
    bundle_version: str
    looked_at: datetime
    since: datetime | None
    """The last reset: what was drawn before does not count."""
    verdict: str
    rule: RuleInForce
    rates: tuple[JudgedRate, ...]
    used: tuple[DrawOfDevice, ...]
    not_used: tuple[DrawOfDevice, ...]
    """From the first on that is not complete."""
    before: int
    """Films of the AE that were drawn before the last reset, or came before the AE was silenced; not used."""
    other_bundle: int
    """Drawn films of the AE that this bundle did not score live; not used."""
    chosen: int
    """Labelled films of the AE that nobody drew; not used."""

    @property
    def films(self) -> int:
        """Labelled films that the rates are of."""
        return sum(draw.labelled for draw in self.used)


def device_evidence(
    connection: Connection, bundle: Bundle, calling_ae: str, *, margin: float, silenced: datetime | None = None
) -> DeviceEvidence:
    """Hold an AE's films against the rule.

    Args:
        connection: of a snapshot, so that labels, draws and scores are of one moment.
        bundle: the live one.
        margin: of the rule.
        silenced: when the AE was silenced last, also where it is accepted since: what came before says how it was then.
    """
    labels, names = truths(connection), names_of_draws(connection)
    ever_drawn = names_of_draws(connection, since_reset=False)
    of_device = _of_device(connection, calling_ae, sorted({*labels, *ever_drawn}))
    drawn = [key for key in names if key in of_device]
    films = scored_films(connection, bundle.digest, drawn)
    by_draw: dict[str, list[ScoredFilm]] = {}
    for key in drawn:
        if key in films and (silenced is None or films[key].received_at >= silenced):
            by_draw.setdefault(names[key], []).append(films[key])
    draws = [_draw(name, in_draw, labels, bundle.findings) for name, in_draw in by_draw.items()]
    used = tuple(takewhile(lambda draw: draw.complete, draws))
    labelled = [
        (film, label)
        for draw in used
        for film in by_draw[draw.draw]
        if (label := _label(film, labels, bundle.findings))
    ]
    judged = judge(counted_rates(bundle, labelled), margin=margin, look=len(used))
    reset = last_reset(connection)
    return DeviceEvidence(
        calling_ae=calling_ae,
        bundle_digest=bundle.digest,
        bundle_name=bundle.name,
        bundle_version=bundle.version,
        looked_at=database_time(connection),
        since=reset.at if reset else None,
        verdict=judged.verdict,
        rule=judged.rule,
        rates=judged.rates,
        used=used,
        not_used=tuple(draws[len(used) :]),
        before=len(films) - sum(map(len, by_draw.values())) + len(of_device & (ever_drawn.keys() - names.keys())),
        other_bundle=len(drawn) - len(films),
        chosen=len([key for key in labels if key in of_device and key not in ever_drawn]),
    )


def counted_rates(bundle: Bundle, films: Sequence[tuple[ScoredFilm, str]]) -> list[CountedRate]:
    """Sensitivity and specificity of each flag on films with their labels.

    What was calibrated is taken film by film, for its label and for the X-ray device whose calibration it took, so that
    an AE's mix of labels makes no difference. A bundle that does not say it by label says it for all of a side.
    """
    negative = negative_of(bundle.findings)
    points = {
        device: {point.finding: point for point in bundle.for_device(device).operating_points}
        for device in ("", *(device.name for device in bundle.devices))
    }
    rates = []
    for finding in dict.fromkeys(name for own in points.values() for name in own):
        general = next(own[finding] for own in points.values() if finding in own)
        with_flag = [(film, label) for film, label in films if finding in points[film.device]]
        for positive in (True, False):
            side = [(film, label) for film, label in with_flag if has(finding, label, negative) == positive]
            there = [_calibrated(points[film.device][finding], label, negative) for film, label in side]
            rate = CountedRate(
                finding=finding,
                rate=SENSITIVITY if positive else SPECIFICITY,
                right=sum((finding in film.flags) == positive for film, _ in side),
                films=len(side),
                calibrated=sum(there) / len(there) if there else _of_side(general, positive=positive),
            )
            rates.append(rate)
    return rates


def _calibrated(point: OperatingPoint, label: str, negative: str) -> float:
    """How often the flag was right on films with this label where it was calibrated."""
    positive = has(point.finding, label, negative)
    flagged, films = point.flagged_of(label, negative) or (0, 0)
    if not films:
        return _of_side(point, positive=positive)
    return flagged / films if positive else 1 - flagged / films


def _of_side(point: OperatingPoint, *, positive: bool) -> float:
    return point.sensitivity if positive else point.specificity


def _draw(
    name: str, films: Sequence[ScoredFilm], labels: Mapping[int, Truth], findings: tuple[str, ...]
) -> DrawOfDevice:
    labelled = sum(_label(film, labels, findings) is not None for film in films)
    read = sum(film.instance_id in labels for film in films)
    return DrawOfDevice(draw=name, films=len(films), labelled=labelled, without_truth=read - labelled)


def _label(film: ScoredFilm, labels: Mapping[int, Truth], findings: tuple[str, ...]) -> str | None:
    """What the film is, where that is known and a finding of the bundle."""
    label = labels[film.instance_id].label if film.instance_id in labels else None
    return label if label in findings else None


def _of_device(connection: Connection, calling_ae: str, instances: Sequence[int]) -> set[int]:
    """Those of these instances that the AE sent."""
    found: set[int] = set()
    for at in range(0, len(instances), CHUNK):
        query = select(instance.c.id).where(
            instance.c.id.in_(instances[at : at + CHUNK]), instance.c.calling_ae == calling_ae
        )
        found |= set(connection.execute(query).scalars())
    return found
