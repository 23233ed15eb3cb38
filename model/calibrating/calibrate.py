"""A bundle with the same network calibrated anew: probabilities, their intervals, operating points, prediction sets.

It is the bundle's own calibration, or the one of a single X-ray device. Either is fitted on one part of the films and
measured. What a part that was fitted on shows is measured by cross-fitting: in five folds by patient, each film by what
all of it, the choice of the method included, was fitted on the other folds. What any other part shows is measured with
the finished calibration.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.bundle import Bundle, derive, refuse_existing
from model.calibrating.calibration_content import Calibrated, CalibratedBundle, CalibrationContent, CalibrationFilms
from model.calibrating.cross_fit import Wish, apply, cross_fit, fit_all
from model.calibrating.faster_variants import JudgedVariant, Measuring, Remake, judge
from model.calibrating.labelled_films import (
    LabelledLogits,
    check,
    check_finite,
    labelled,
    of_no_device,
    open_films,
    read_device_table,
    read_table,
)
from model.calibrating.measured_part import measure
from model.data.bundle_films import Advance, Progress
from model.digest import file_digest
from model.engine.base import Engine
from model.errors import BundleError
from model.json_value import plain
from model.stats.operating_points import bundle_metrics
from model.stats.repeated_films import patient_note
from model.xray_devices import DeviceCalibration, DeviceMatch, with_device


@dataclass(frozen=True, kw_only=True)
class _Basis:
    """What is calibrated on."""

    parts: dict[str, LabelledLogits]
    """The first is fitted on."""
    films: CalibrationFilms
    engine: str = ""
    """What ran the network; "" for a table."""
    device: DeviceMatch | None = None
    """Whose films these are; None: of none that has a calibration of its own."""


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
    check(first, films[first].labels, films[first].patients, bundle.findings, wish.targets, wish.coverage)
    films_of = CalibrationFilms(origin="prepared set", digest=digest, views=bundle.provenance.get("views", ["PA"]))
    names = _called(bundle, name, version, films_of, wish)
    parts = {}
    for split, part in films.items():
        report(f"scoring {len(part)} films of {split}")
        parts[split] = labelled(split, part, engine, advance)
    measuring = Measuring(films=films, threads=threads, remake=remake, report=report)
    basis = _Basis(parts=parts, films=films_of, engine=engine.spec.name)
    return _calibrate(bundle, basis, out, wish, names, measuring)


def calibrate_on_table(
    bundle: Bundle,
    table: Path,
    out: Path,
    wish: Wish,
    *,
    device: DeviceMatch | None = None,
    name: str = "",
    version: str = "",
    report: Progress = lambda _line: None,
) -> Calibrated:
    """The same on a site's own logits and labels: on the rows that no device of the bundle takes, or those of one.

    A device gets a calibration of its own in the bundle, or another one. All else then stays as it is, the variants
    too: what was measured of them is of the bundle's own flags. Without a device they are left out, as there is no film
    to measure them on.

    Raises:
        BundleError: as of `calibrate_on_films`, or another device takes the same films.
        DatasetError: as of `read_table` and `check`.
    """
    refuse_existing(out)
    if device:
        part, whose = read_device_table(bundle, table, device), f"device {device.name}"
    else:
        part, whose = read_table(bundle, table, of_no_device(bundle)), "site"
    if part.repeated:
        report(
            f"{whose}: {part.repeated} rows left out, each like an earlier one in label and all logits: the same film"
        )
    check(whose, part.labels, part.patients, bundle.findings, wish.targets, wish.coverage)
    films = CalibrationFilms(
        origin="table", digest=file_digest(table), films_as_patients=part.films_as_patients or None
    )
    names = _called(bundle, name, version, films, wish, device)
    basis = _Basis(parts={part.name: part}, films=films, device=device)
    return _calibrate(bundle, basis, out, wish, names, Measuring(report=report))


def derived_version(bundle: Bundle, data_digest: str, wish: Wish, device: DeviceMatch | None = None) -> str:
    """0.3.0 -> 0.3.0+cal.1a2b3c4d: eight digits of what was calibrated, on which films, for which wish and device. So
    another calibration of the same network has another version, and the same one the same."""
    said = json.dumps([bundle.digest, data_digest, plain(wish), *([plain(device)] if device else [])], sort_keys=True)
    return f"{bundle.version.partition('+')[0]}+cal.{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _called(
    bundle: Bundle, name: str, version: str, films: CalibrationFilms, wish: Wish, device: DeviceMatch | None = None
) -> dict[str, Any]:
    """Name and version of the new bundle. Raises BundleError where they are those of the old one."""
    names = name or bundle.name, version or derived_version(bundle, films.digest, wish, device)
    if names == (bundle.name, bundle.version):
        raise BundleError(f"the new bundle would be {names[0]} {names[1]}, as the old one: give another version")
    return {"name": names[0], "version": names[1]}


def _calibrate(
    bundle: Bundle, basis: _Basis, out: Path, wish: Wish, names: dict[str, Any], measuring: Measuring
) -> Calibrated:
    findings, device, (part, *others) = bundle.findings, basis.device, basis.parts.values()
    check_finite(part)
    patients = len(set(part.patients))
    whose = f"device {device.name}: " if device else ""
    note = f"; {patient_note(part.films_as_patients)}" if part.films_as_patients else ""
    measuring.report(f"{whose}fitting on {len(part)} films of {patients} patients{note}")
    before = bundle.for_device(device.name if device and device.name in {one.name for one in bundle.devices} else "")
    fitted = fit_all(part, findings, wish)
    measured = {part.name: measure(part, cross_fit(part, findings, wish), before, wish, "cross-fitted")}
    for other in others:
        measured[other.name] = measure(other, apply(fitted, other.logits, findings), before, wish, "not fitted on")
    made = {"split": part.name, "data_digest": basis.films.digest, "films": len(part)}
    record = made | {"origin": basis.films.origin, "coverage": wish.coverage}
    record |= {"targets": [point.id for point in fitted.points]}
    if basis.films.films_as_patients:
        record |= {"films_as_patients": basis.films.films_as_patients}
    anew: dict[str, Any] = {
        "calibration": replace(fitted.calibration, record=made | fitted.calibration.record),
        "operating_points": fitted.points,
        "conformal": replace(fitted.conformal, record=made),
    }
    metrics = {
        name: bundle_metrics(
            fitted.calibration, own.logits, own.labels, findings, fitted.points, own.patients
        ).as_dict()
        for name, own in basis.parts.items()
    }
    if device:
        record |= {"patients": patients, "bundle": bundle.digest}
        block = DeviceCalibration(name=device.name, match=device.match, **anew, metrics=metrics, record=record)
        new = derive(bundle, out, **names, devices=with_device(bundle.devices, block))
        judged = {precision: JudgedVariant(faults=[], agreement={}) for precision in bundle.variants}
    else:
        record |= {"engine": basis.engine, "from_version": bundle.version}
        about = names | {"metrics": metrics, "provenance": bundle.provenance | {"calibrated": record}}
        new, judged = _derive(replace(bundle, **anew), basis.parts, out, about, measuring)
    content = CalibrationContent(
        bundle=CalibratedBundle(
            name=bundle.name,
            version=bundle.version,
            digest=bundle.digest,
            findings=findings,
            calibration=replace(before.calibration, record={}, bins={}),
        ),
        made=new.digest,
        name=new.name,
        version=new.version,
        engine=basis.engine,
        data=basis.films,
        device=device,
        **anew,
        parts=measured,
        variants=judged,
    )
    return Calibrated(bundle=new, content=content)


def _derive(
    changed: Bundle, parts: dict[str, LabelledLogits], out: Path, about: dict[str, Any], measuring: Measuring
) -> tuple[Bundle, dict[str, JudgedVariant]]:
    """The bundle as changed, with those of its variants that still agree, or are made anew; and what was found."""
    with tempfile.TemporaryDirectory() as scratch:
        kept, judged, files = judge(changed, parts, measuring, Path(scratch))
        dropped = {str(changed.variants[name]["file"]) for name in changed.variants if name not in kept}
        left = replace(changed, files=tuple(name for name in changed.files if name not in dropped))
        return derive(left, out, variants=kept, files=files, **about), judged
