"""What a calibration gives: the new bundle, and all that was measured.

calibration.json, the same bytes on every run:

    bundle          name, version, digest and calibration of the bundle that was calibrated
    made            digest of the new one
    name, version   of the new one
    engine          what ran the network; "" for a table of logits
    device          name and match, where one X-ray device was calibrated; absent for the bundle's own calibration
    data            origin (prepared set or table), digest, films: part -> finding -> count, patients: part -> count
    calibration     as in the manifest, with its bins and, under record, what decided the method
    operating_points, conformal     as in the manifest
    parts           val, test or site, each `MeasuredPart`
    variants        precision -> `JudgedVariant`
"""

from dataclasses import dataclass

from model.bundle import Bundle
from model.calibrating.faster_variants import JudgedVariant
from model.calibrating.measured_part import MeasuredPart
from model.calibration import Calibration
from model.conformal import Conformal
from model.decision import OperatingPoint
from model.json_value import JsonValue, SparseJson
from model.notice import MEASURES_NOTICE
from model.xray_devices import DeviceMatch

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class CalibratedBundle(JsonValue):
    """The bundle that was calibrated, as it was."""

    name: str
    version: str
    digest: str
    findings: tuple[str, ...]
    calibration: Calibration
    """Without bins and record."""


@dataclass(frozen=True, kw_only=True)
class CalibrationFilms(SparseJson):
    """Where the films are from."""

    origin: str
    """prepared set, or table."""
    digest: str
    views: list[str] | None = None
    """Views of the prepared set; None, and not in the JSON, for a table."""
    films_as_patients: int | None = None
    """Films that name no patient, each counted as one; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class CalibrationContent(SparseJson):
    """What calibration.json holds."""

    schema: int = SCHEMA
    notice: str = MEASURES_NOTICE
    bundle: CalibratedBundle
    made: str
    """Digest of the new bundle."""
    name: str
    """Of the new bundle, as the next."""
    version: str
    engine: str
    data: CalibrationFilms
    device: DeviceMatch | None = None
    """Whose calibration it is; None, and not in the JSON, for the bundle's own."""
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    conformal: Conformal
    parts: dict[str, MeasuredPart]
    """val, test or site."""
    variants: dict[str, JudgedVariant]
    """By precision."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    bundle: Bundle
    """The new one, as written."""
    content: CalibrationContent
