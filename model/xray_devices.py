"""Calibrations for single X-ray devices: the same network, with probabilities, flags and prediction sets of their own.

Two detectors, or two processing chains, see the same chest in other greys, so scores are distributed in another way. A
device of a bundle says by `match` which films are its own. A film that no device matches takes the bundle's own
calibration.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from model.calibration import Calibration
from model.conformal import Conformal
from model.decision import OperatingPoint, read_points
from model.manifest_values import block, blocks, text

LONGEST_NAME = 28
"""An alarm is about "FINDING on NAME" in 64 letters, of which a finding has 32 at most."""
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
MOST_CHARACTERS = 64
"""Of a value to match: as many as are kept of a film's header."""


@dataclass(frozen=True, kw_only=True)
class XrayDevice:
    """What a film says of where it comes from, "" where it does not (PS3.3 C.7.5.1). Nothing of a patient."""

    calling_ae: str = ""
    """AE title that sent it: of an archive that forwards films, the same for all devices."""
    manufacturer: str = ""
    """Manufacturer (0008,0070)."""
    model_name: str = ""
    """Manufacturer's Model Name (0008,1090)."""
    station: str = ""
    """Station Name (0008,1010)."""

    @classmethod
    def of_row(cls, row: Mapping[str, str | None]) -> "XrayDevice":
        """From the cells of a table; a column may be missing."""
        return cls(**{name: row.get(name) or "" for name in ATTRIBUTES})


ATTRIBUTES = tuple(field.name for field in fields(XrayDevice))
"""What a device can be matched by."""


@dataclass(frozen=True, kw_only=True)
class DeviceMatch:
    """A device's name, and which films are its own."""

    name: str
    match: Mapping[str, str]
    """By a name of ATTRIBUTES, what the film must say: without regard to case and to blanks more than one."""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not NAME.fullmatch(self.name):
            raise ValueError(
                f"device {self.name!r}: a name has 1 to {LONGEST_NAME} letters, digits, dots, dashes and underscores"
            )
        unknown = set(self.match) - set(ATTRIBUTES)
        if unknown or not self.match:
            raise ValueError(f"device {self.name}: match one or more of {', '.join(ATTRIBUTES)}" + _not(unknown))
        if not all(0 < len(_plain(value)) <= MOST_CHARACTERS for value in self.match.values()):
            raise ValueError(f"device {self.name}: a value to match has 1 to {MOST_CHARACTERS} characters")

    def takes(self, film: XrayDevice) -> bool:
        """Whether the film says all that is asked for."""
        return all(_plain(getattr(film, name)) == _plain(value) for name, value in self.match.items())

    def same_films(self, other: "DeviceMatch") -> bool:
        """Whether both ask for the same."""
        ours, theirs = ({name: _plain(value) for name, value in device.match.items()} for device in (self, other))
        return ours == theirs

    @property
    def words(self) -> str:
        """For people: "station DX2"."""
        return ", ".join(f"{name} {self.match[name]}" for name in ATTRIBUTES if name in self.match)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "match": dict(self.match)}


Named = TypeVar("Named", bound=DeviceMatch)


@dataclass(frozen=True, kw_only=True)
class DeviceCalibration(DeviceMatch):
    """How logits of a device's films become probabilities, flags and prediction sets. Lives in the bundle."""

    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    conformal: Conformal
    metrics: Mapping[str, Any]
    """By part of the films that it was fitted on, as those of the bundle."""
    record: Mapping[str, Any]
    """On which films it was fitted, and for what. Under `bundle` the digest of the bundle whose logits they had."""

    @classmethod
    def read(cls, found: object, findings: tuple[str, ...]) -> "DeviceCalibration":
        """From a manifest. Raises KeyError, TypeError or ValueError."""
        given = block(found, "device")
        return cls(
            name=text(given["name"], "name of a device"),
            match={name: text(value, name) for name, value in block(given["match"], "match of a device").items()},
            calibration=Calibration.read(given["calibration"], findings),
            operating_points=read_points(given["operating_points"], findings),
            conformal=Conformal.read(given["conformal"], findings),
            metrics=blocks(given["metrics"], "metrics of a device"),
            record=block(given["record"], "record of a device"),
        )

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {
            "calibration": self.calibration.as_dict(),
            "operating_points": [point.as_dict() for point in self.operating_points],
            "conformal": self.conformal.as_dict(),
            "metrics": dict(self.metrics),
            "record": dict(self.record),
        }


def in_order(devices: Iterable[Named]) -> tuple[Named, ...]:
    """As they are asked: those that match by more attributes first, else as they came. So one room of a sender can have
    a calibration of its own beside the sender's."""
    return tuple(sorted(devices, key=lambda device: -len(device.match)))


def with_device(devices: Iterable[Named], new: Named) -> tuple[Named, ...]:
    """In order with a new one, in the place of the one that has its name, else last of those that match by as many."""
    known = list(devices)
    kept = [new if device.name == new.name else device for device in known]
    return in_order(kept if new in kept else [*kept, new])


def device_of(film: XrayDevice, devices: Iterable[DeviceMatch]) -> str:
    """The name of the first device that the film is of, "" where there is none."""
    return next((device.name for device in devices if device.takes(film)), "")


def _plain(value: str) -> str:
    return " ".join(value.split()).casefold()


def _not(unknown: set[str]) -> str:
    return f", not {', '.join(sorted(unknown))}" if unknown else ""
