"""A bundle with the same network calibrated anew: probabilities, their intervals, operating points, prediction sets.

`calibrate` fits on one part of the films, measures, and writes the new bundle. What a part that was fitted on shows is
measured by cross-fitting: in five folds by patient, each film by what all of it, the choice of the method included, was
fitted on the other folds. What any other part shows is measured with the finished calibration.

calibration.json, the same bytes on every run:

    bundle          name, version, digest and calibration of the bundle that was calibrated
    made            digest of the new one
    engine          what ran the network; "" for a table of logits
    data            origin (prepared set or table), digest, films: part -> finding -> count, patients: part -> count
    calibration     as in the manifest, with its bins and, under record, what decided the method
    operating_points, conformal     as in the manifest
    parts           val, test or site, each `MeasuredPart`
    variants        precision -> `JudgedVariant`
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.bundle import Bundle, derive, refuse_existing
from model.calibrating.cross_fit import Wish, apply, cross_fit, fit_all
from model.calibrating.labelled_films import LabelledLogits, check, labelled, open_films, read_table
from model.calibrating.measured_part import MeasuredPart, measure
from model.calibration import Calibration
from model.conformal import Conformal
from model.data.bundle_films import Advance, Progress, logits_of
from model.data.dataset import Films
from model.decision import OperatingPoint
from model.digest import file_digest
from model.engine.base import Engine
from model.engine.ort import OrtEngine
from model.json_value import JsonValue, plain
from model.notice import MEASURES_NOTICE
from model.stats.agreement import Agreement, compare
from model.stats.operating_points import bundle_metrics

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
class JudgedVariant(JsonValue):
    """A faster variant under the new calibration."""

    faults: list[str]
    """Why it is left out; empty where it is kept."""
    agreement: dict[str, Agreement]
    """By part of the films."""

    @property
    def kept(self) -> bool:
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """The parts stand beside "kept" and "faults"."""
        return {"kept": self.kept, "faults": self.faults, **plain(self.agreement)}


@dataclass(frozen=True, kw_only=True)
class CalibrationContent(JsonValue):
    """What calibration.json holds."""

    schema: int = SCHEMA
    notice: str = MEASURES_NOTICE
    bundle: CalibratedBundle
    made: str
    """Digest of the new bundle."""
    engine: str
    data: CalibrationFilms
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


def calibrate_on_films(
    bundle: Bundle,
    engine: Engine,
    folder: Path,
    out: Path,
    wish: Wish,
    *,
    threads: int = 1,
    report: Progress = lambda _line: None,
    advance: Advance = lambda _done, _all: None,
) -> Calibrated:
    """Calibrate on the validation split of a prepared set, measure on it and on its test split, write `out`.

    Variants are measured again, because other thresholds change other flags; one beyond its limits is left out.

    Args:
        engine: runs this bundle in fp32.
        threads: of the variants' measurement.
        report: called with a line for each step.
        advance: called with (films scored, films).

    Raises:
        BundleError: `out` exists.
        DatasetError: as of `open_films` and `check`.
        EngineError: an engine cannot run.
    """
    refuse_existing(out)
    films, digest = open_films(bundle, folder)
    parts = {}
    for name, part in films.items():
        report(f"scoring {len(part)} films of {name}")
        parts[name] = labelled(name, part, engine, advance)
    basis = CalibrationFilms(origin="prepared set", digest=digest, views=bundle.provenance.get("views", ["PA"]))
    return _calibrate(bundle, parts, out, wish, basis, engine.spec.name, films, threads, report)


def calibrate_on_table(
    bundle: Bundle, table: Path, out: Path, wish: Wish, *, report: Progress = lambda _line: None
) -> Calibrated:
    """The same on a site's own logits and labels. Variants are left out: there is no film to measure them on.

    Raises:
        BundleError: `out` exists.
        DatasetError: as of `read_table` and `check`.
    """
    refuse_existing(out)
    part = read_table(bundle, table)
    basis = CalibrationFilms(origin="table", digest=file_digest(table))
    return _calibrate(bundle, {part.name: part}, out, wish, basis, "", {}, 1, report)


def _calibrate(
    bundle: Bundle,
    parts: dict[str, LabelledLogits],
    out: Path,
    wish: Wish,
    basis: CalibrationFilms,
    engine: str,
    films: dict[str, Films],
    threads: int,
    report: Progress,
) -> Calibrated:
    """The first of the parts is fitted on."""
    findings, (part, *others) = bundle.findings, parts.values()
    check(part, findings, wish.targets, wish.coverage)
    report(f"fitting on {len(part)} films of {len(set(part.patients))} patients")
    fitted = fit_all(part, findings, wish)
    made = {"split": part.name, "data_digest": basis.digest, "films": len(part)}
    calibration = replace(fitted.calibration, record=made | fitted.calibration.record)
    sets = replace(fitted.conformal, record=made)
    measured = {part.name: measure(part, cross_fit(part, findings, wish), bundle, wish, "cross-fitted")}
    for other in others:
        measured[other.name] = measure(other, apply(fitted, other.logits, findings), bundle, wish, "not fitted on")
    changed = replace(bundle, calibration=calibration, operating_points=fitted.points, conformal=sets)
    kept, judged = _variants(changed, parts, films, threads, report)
    dropped = {str(bundle.variants[name]["file"]) for name in bundle.variants if name not in kept}
    new = derive(
        replace(bundle, files=tuple(name for name in bundle.files if name not in dropped)),
        out,
        calibration=calibration,
        operating_points=fitted.points,
        conformal=sets,
        variants=kept,
        metrics={
            name: bundle_metrics(calibration.probabilities(own.logits), own.labels, findings, fitted.points).as_dict()
            for name, own in parts.items()
        },
        provenance=bundle.provenance
        | {
            "calibrated": made
            | {"origin": basis.origin, "engine": engine, "coverage": wish.coverage}
            | {"targets": [point.id for point in fitted.points]}
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
        engine=engine,
        data=basis,
        calibration=calibration,
        operating_points=fitted.points,
        conformal=sets,
        parts=measured,
        variants=judged,
    )
    return Calibrated(bundle=new, content=content)


def _variants(
    changed: Bundle, parts: dict[str, LabelledLogits], films: dict[str, Films], threads: int, report: Progress
) -> tuple[dict[str, dict[str, Any]], dict[str, JudgedVariant]]:
    """The manifest's records of the variants that stay, and what was found of each."""
    kept, judged = {}, {}
    for precision, record in changed.variants.items():
        if films:
            report(f"measuring {precision} again")
            agreement = _agreements(changed, precision, parts, films, threads)
            limits = record.get("limits")
            faults = agreement[next(iter(parts))].faults(**limits) if limits else ["it has no limits on record"]
        else:
            faults, agreement = ["there are no films to measure it on"], {}
        judged[precision] = JudgedVariant(faults=faults, agreement=agreement)
        if faults:
            report(f"{precision} is left out: {'; '.join(faults)}. 'xrayq compile' makes one for the new bundle")
        else:
            kept[precision] = {key: old for key, old in record.items() if key not in ("val", "test")} | plain(agreement)
    return kept, judged


def _agreements(
    changed: Bundle, precision: str, parts: dict[str, LabelledLogits], films: dict[str, Films], threads: int
) -> dict[str, Agreement]:
    engine = OrtEngine(changed, threads=threads, precision=precision)
    try:
        return {
            name: compare(changed, parts[name].logits, logits_of(engine, part), part.labels)
            for name, part in films.items()
        }
    finally:
        engine.close()
