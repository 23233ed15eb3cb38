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
    parts           val, test or site, each `measure`
    variants        precision -> {"kept", "faults", and the Agreement of each part}
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, derive, refuse_existing
from model.calibrating.cross_fit import Predictions, Wish, apply, cross_fit, fit_all
from model.calibrating.films import LabelledLogits, check, labelled, open_films, read_table
from model.calibration import probabilities
from model.data.bundle_films import Advance, logits_of
from model.data.dataset import Films
from model.digest import file_digest
from model.engine.base import Engine
from model.engine.ort import OrtEngine
from model.notice import MEASURES_NOTICE
from model.stats.agreement import Agreement, compare
from model.stats.binomial import proportion
from model.stats.calibration_error import by_finding, if_true
from model.stats.operating_points import bundle_metrics, rates_of, shortage
from model.stats.reliability import reliability_of

SCHEMA = 1
Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    bundle: Bundle
    """The new one, as written."""
    content: dict[str, Any]
    """What calibration.json holds."""


def calibrate_on_films(
    bundle: Bundle,
    engine: Engine,
    folder: Path,
    out: Path,
    wish: Wish,
    *,
    threads: int = 1,
    report: Report = lambda _line: None,
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
    basis = {"origin": "prepared set", "digest": digest, "views": bundle.provenance.get("views", ["PA"])}
    return _calibrate(bundle, parts, out, wish, basis, engine.spec.name, films, threads, report)


def calibrate_on_table(
    bundle: Bundle, table: Path, out: Path, wish: Wish, *, report: Report = lambda _line: None
) -> Calibrated:
    """The same on a site's own logits and labels. Variants are left out: there is no film to measure them on.

    Raises:
        BundleError: `out` exists.
        DatasetError: as of `read_table` and `check`.
    """
    refuse_existing(out)
    part = read_table(bundle, table)
    basis = {"origin": "table", "digest": file_digest(table)}
    return _calibrate(bundle, {part.name: part}, out, wish, basis, "", {}, 1, report)


def measure(part: LabelledLogits, said: Predictions, bundle: Bundle, wish: Wish, how: str) -> dict[str, Any]:
    """One part of the films.

    Returns:
        {"how", "films", "patients", "reliability": {"temperature 1", "as it was", "calibrated"}: as of
        `reliability.reliability_of`, each with "ece_if_true": `calibration_error.if_true` and "by_finding":
        `calibration_error.by_finding`, "flags": id -> {"sensitivity", "specificity": as of `exact.proportion`,
        "films_needed": by rate, those for an interval of +- .05, None where there are enough}, "sets": `coverage`}
    """
    chances = {
        "temperature 1": probabilities(part.logits, 1.0),
        "as it was": bundle.calibration.probabilities(part.logits),
        "calibrated": said.chances,
    }
    flags = {}
    for target, flagged in zip(wish.targets, said.flags.T, strict=True):
        found = rates_of(flagged, part.labels == bundle.findings.index(target.finding))
        flags[f"{target.finding}@{target.rate}-{target.value:g}"] = found | {
            "films_needed": {rate: shortage(one) for rate, one in found.items()}
        }
    return {
        "how": how,
        "films": {name: int((part.labels == index).sum()) for index, name in enumerate(bundle.findings)},
        "patients": len(set(part.patients)),
        "reliability": {
            name: reliability_of(rows, part.labels, part.patients)
            | {"ece_if_true": if_true(rows), "by_finding": by_finding(rows, part.labels, part.patients)}
            for name, rows in chances.items()
        },
        "flags": flags,
        "sets": coverage(said.sets, part.labels, bundle.findings),
    }


def coverage(sets: NDArray[np.bool_], labels: NDArray[np.int64], findings: tuple[str, ...]) -> dict[str, Any]:
    """{"coverage": of all films, "by_finding", "sizes": findings in the set -> share of films, "abstentions"}; sets
    [N, findings], labels [N]."""
    held, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    return {
        "coverage": proportion(int(held.sum()), len(labels)),
        "by_finding": {
            name: proportion(int(held[labels == index].sum()), int((labels == index).sum()))
            for index, name in enumerate(findings)
        },
        "sizes": {str(size): proportion(int((sizes == size).sum()), len(labels)) for size in range(len(findings) + 1)},
        "abstentions": proportion(int((sizes != 1).sum()), len(labels)),
    }


def _calibrate(
    bundle: Bundle,
    parts: dict[str, LabelledLogits],
    out: Path,
    wish: Wish,
    basis: dict[str, Any],
    engine: str,
    films: dict[str, Films],
    threads: int,
    report: Report,
) -> Calibrated:
    """The first of the parts is fitted on."""
    findings, part = bundle.findings, next(iter(parts.values()))
    check(part, findings, wish.targets, wish.coverage)
    report(f"fitting on {len(part)} films of {len(set(part.patients))} patients")
    fitted = fit_all(part, findings, wish)
    made = {"split": part.name, "data_digest": basis["digest"], "films": len(part)}
    calibration = replace(fitted.calibration, record=made | fitted.calibration.record)
    sets = replace(fitted.conformal, record=made)
    said = {
        name: cross_fit(one, findings, wish) if one is part else apply(fitted, one.logits, findings)
        for name, one in parts.items()
    }
    how = {name: "cross-fitted" if one is part else "not fitted on" for name, one in parts.items()}
    changed = replace(bundle, calibration=calibration, operating_points=fitted.points, conformal=sets)
    variants, found = _variants(changed, parts, films, threads, report)
    dropped = {str(bundle.variants[name]["file"]) for name in bundle.variants if name not in variants}
    new = derive(
        replace(bundle, files=tuple(name for name in bundle.files if name not in dropped)),
        out,
        calibration=calibration,
        operating_points=fitted.points,
        conformal=sets,
        variants=variants,
        metrics={
            name: bundle_metrics(calibration.probabilities(one.logits), one.labels, findings, fitted.points)
            for name, one in parts.items()
        },
        provenance=bundle.provenance
        | {
            "calibrated": made
            | {"origin": basis["origin"], "engine": engine, "coverage": wish.coverage}
            | {"targets": [point.id for point in fitted.points]}
        },
    )
    content = {
        "schema": SCHEMA,
        "notice": MEASURES_NOTICE,
        "bundle": {
            "name": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
            "findings": list(findings),
            "calibration": replace(bundle.calibration, record={}, bins={}).as_dict(),
        },
        "made": new.digest,
        "engine": engine,
        "data": basis,
        "calibration": calibration.as_dict(),
        "operating_points": [point.as_dict() for point in fitted.points],
        "conformal": sets.as_dict(),
        "parts": {name: measure(one, said[name], bundle, wish, how[name]) for name, one in parts.items()},
        "variants": found,
    }
    return Calibrated(bundle=new, content=content)


def _variants(
    changed: Bundle, parts: dict[str, LabelledLogits], films: dict[str, Films], threads: int, report: Report
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The records of the variants that stay, and what was found of each."""
    kept, found = {}, {}
    for precision, record in changed.variants.items():
        if not films:
            faults, measured = ["there are no films to measure it on"], {}
        else:
            report(f"measuring {precision} again")
            measured = _agreements(changed, precision, parts, films, threads)
            limits = record.get("limits")
            faults = measured[next(iter(parts))].faults(**limits) if limits else ["it has no limits on record"]
        plain = {name: one.as_dict() for name, one in measured.items()}
        found[precision] = {"kept": not faults, "faults": faults} | plain
        if faults:
            report(f"{precision} is left out: {'; '.join(faults)}. 'xrayq compile' makes one for the new bundle")
        else:
            kept[precision] = {name: one for name, one in record.items() if name not in ("val", "test")} | plain
    return kept, found


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
