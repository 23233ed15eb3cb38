"""A bundle with the same network calibrated anew: probabilities, their intervals, operating points, prediction sets.

`calibrate` fits on one part of the films, measures, and writes the new bundle. What a part that was fitted on shows is
measured by cross-fitting: in five folds by patient, each film by what all of it, the choice of the method included, was
fitted on the other folds. What any other part shows is measured with the finished calibration.

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

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.bundle import Bundle, derive, refuse_existing
from model.calibrating.cross_fit import Fitted, Wish, apply, cross_fit, fit_all
from model.calibrating.faster_variants import JudgedVariant, Measuring, Remake, judge
from model.calibrating.labelled_films import (
    LabelledLogits,
    check,
    check_finite,
    labelled,
    of_no_device,
    open_films,
    read_table,
)
from model.calibrating.measured_part import MeasuredPart, measure
from model.calibration import Calibration
from model.conformal import Conformal
from model.data.bundle_films import Advance, Progress
from model.decision import OperatingPoint
from model.digest import file_digest
from model.engine.base import Engine
from model.errors import BundleError
from model.json_value import JsonValue, plain
from model.notice import MEASURES_NOTICE
from model.stats.operating_points import bundle_metrics
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
class CalibrationFilms(JsonValue):
    """Where the films are from."""

    origin: str
    """prepared set, or table."""
    digest: str
    views: list[str] | None = None
    """Views of the prepared set; None, and not in the JSON, for a table."""

    def as_dict(self) -> dict[str, Any]:
        plain = super().as_dict()
        return {name: value for name, value in plain.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class CalibrationContent(JsonValue):
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

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().as_dict().items() if name != "device" or value is not None}


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    bundle: Bundle
    """The new one, as written."""
    content: CalibrationContent


def calibrate_on_films(
    bundle: Bundle,
    engine: Engine,
    folder: Path,
    out: Path,
    wish: Wish,
    *,
    name: str = "",
    version: str = "",
    threads: int = 1,
    remake: Remake | None = None,
    report: Progress = lambda _line: None,
    advance: Advance = lambda _done, _all: None,
) -> Calibrated:
    """Calibrate on the validation split of a prepared set, measure on it and on its test split, write `out`.

    Variants are measured again, because other thresholds change other flags. int8 beyond its limits is made anew by
    `remake`; what is still beyond them is left out.

    Args:
        engine: runs this bundle in fp32.
        name: of the new bundle; "": as the old one.
        version: of the new bundle; "": as `derived_version`.
        threads: of the variants' measurement.
        report: called with a line for each step.
        advance: called with (films scored, films).

    Raises:
        BundleError: `out` exists, or the new bundle would have the name and version of the old one.
        DatasetError: as of `open_films` and `check`, before a film is scored.
        EngineError: an engine cannot run.
    """
    refuse_existing(out)
    films, digest = open_films(bundle, folder)
    first = next(iter(films))
    check(first, films[first].labels, bundle.findings, wish.targets, wish.coverage)
    basis = CalibrationFilms(origin="prepared set", digest=digest, views=bundle.provenance.get("views", ["PA"]))
    names = called(bundle, name, version, basis, wish)
    parts = {}
    for split, part in films.items():
        report(f"scoring {len(part)} films of {split}")
        parts[split] = labelled(split, part, engine, advance)
    measuring = Measuring(films=films, threads=threads, remake=remake, report=report)
    return _calibrate(bundle, parts, out, wish, basis, names, engine.spec.name, measuring)


def calibrate_on_table(
    bundle: Bundle,
    table: Path,
    out: Path,
    wish: Wish,
    *,
    name: str = "",
    version: str = "",
    report: Progress = lambda _line: None,
) -> Calibrated:
    """The same on a site's own logits and labels, but those of films that a device of the bundle takes.

    Variants are left out: there is no film to measure them on.

    Raises:
        BundleError: as of `calibrate_on_films`.
        DatasetError: as of `read_table` and `check`.
    """
    refuse_existing(out)
    part = read_table(bundle, table, of_no_device(bundle))
    check(part.name, part.labels, bundle.findings, wish.targets, wish.coverage)
    basis = CalibrationFilms(origin="table", digest=file_digest(table))
    names = called(bundle, name, version, basis, wish)
    return _calibrate(bundle, {part.name: part}, out, wish, basis, names, "", Measuring(report=report))


def derived_version(bundle: Bundle, data_digest: str, wish: Wish, device: DeviceMatch | None = None) -> str:
    """0.3.0 -> 0.3.0+cal.1a2b3c4d: eight digits of what was calibrated, on which films, for which wish and device. So
    another calibration of the same network has another version, and the same one the same."""
    said = json.dumps([bundle.digest, data_digest, plain(wish), *([plain(device)] if device else [])], sort_keys=True)
    return f"{bundle.version.partition('+')[0]}+cal.{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def called(
    bundle: Bundle, name: str, version: str, basis: CalibrationFilms, wish: Wish, device: DeviceMatch | None = None
) -> tuple[str, str]:
    """Name and version of the new bundle. Raises BundleError where they are those of the old one."""
    names = name or bundle.name, version or derived_version(bundle, basis.digest, wish, device)
    if names == (bundle.name, bundle.version):
        raise BundleError(f"the new bundle would be {names[0]} {names[1]}, as the old one: give another version")
    return names


def fit_recorded(
    part: LabelledLogits, findings: tuple[str, ...], wish: Wish, basis: CalibrationFilms
) -> tuple[Fitted, dict[str, Any]]:
    """What is fitted on some films, with a record of them; and the record."""
    fitted = fit_all(part, findings, wish)
    made = {"split": part.name, "data_digest": basis.digest, "films": len(part)}
    calibration = replace(fitted.calibration, record=made | fitted.calibration.record)
    return replace(fitted, calibration=calibration, conformal=replace(fitted.conformal, record=made)), made


def _calibrate(
    bundle: Bundle,
    parts: dict[str, LabelledLogits],
    out: Path,
    wish: Wish,
    basis: CalibrationFilms,
    names: tuple[str, str],
    engine: str,
    measuring: Measuring,
) -> Calibrated:
    """The first of the parts is fitted on."""
    findings, (part, *others) = bundle.findings, parts.values()
    check_finite(part)
    measuring.report(f"fitting on {len(part)} films of {len(set(part.patients))} patients")
    fitted, made = fit_recorded(part, findings, wish, basis)
    calibration, sets = fitted.calibration, fitted.conformal
    measured = {part.name: measure(part, cross_fit(part, findings, wish), bundle, wish, "cross-fitted")}
    for other in others:
        measured[other.name] = measure(other, apply(fitted, other.logits, findings), bundle, wish, "not fitted on")
    changed = replace(bundle, calibration=calibration, operating_points=fitted.points, conformal=sets)
    with tempfile.TemporaryDirectory() as scratch:
        kept, judged, files = judge(changed, parts, measuring, Path(scratch))
        dropped = {str(bundle.variants[name]["file"]) for name in bundle.variants if name not in kept}
        new = derive(
            replace(bundle, files=tuple(name for name in bundle.files if name not in dropped)),
            out,
            name=names[0],
            version=names[1],
            calibration=calibration,
            operating_points=fitted.points,
            conformal=sets,
            variants=kept,
            files=files,
            metrics={
                name: bundle_metrics(calibration, own.logits, own.labels, findings, fitted.points).as_dict()
                for name, own in parts.items()
            },
            provenance=bundle.provenance
            | {
                "calibrated": made
                | {"origin": basis.origin, "engine": engine, "coverage": wish.coverage}
                | {"targets": [point.id for point in fitted.points], "from_version": bundle.version}
            },
        )
    content = CalibrationContent(
        bundle=CalibratedBundle(
            name=bundle.name,
            version=bundle.version,
            digest=bundle.digest,
            findings=findings,
            calibration=replace(bundle.calibration, record={}, bins={}),
        ),
        made=new.digest,
        name=new.name,
        version=new.version,
        engine=engine,
        data=basis,
        calibration=calibration,
        operating_points=fitted.points,
        conformal=sets,
        parts=measured,
        variants=judged,
    )
    return Calibrated(bundle=new, content=content)
