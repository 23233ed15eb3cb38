"""Does calibration keep its promises? Films halved by patient, many times: calibrate on one half, measure on the other.

One split says little: 15 test films of COVID-19 cannot tell a sensitivity of .80 from .99. Halves of one pool of films
are exchangeable, so this asks about the method, not about films of another kind: whether a hospital's own films keep
the promise is for `xrayq calibrate --labels` to show there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from model.calibrating.cross_fit import Wish, apply, fit_all
from model.calibrating.films import LabelledLogits, check
from model.calibrating.fitting import folds
from model.calibration import probabilities
from model.conformal import limit
from model.stats.calibration_error import error_by_finding, if_true
from model.stats.operating_points import rates_of
from model.stats.reliability import reliability

Report = Callable[[str], None]
MEASURES = ("ece", "by_finding", "log_loss")
SCORES = tuple(f"{score}_{when}" for score in MEASURES for when in ("before", "after"))
SCORE_NAMES = ("ECE", "error by finding", "log loss")


def pool(parts: list[LabelledLogits]) -> LabelledLogits:
    return LabelledLogits(
        name="+".join(part.name for part in parts),
        logits=np.concatenate([part.logits for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        patients=tuple(patient for part in parts for patient in part.patients),
    )


def resplit(
    films: LabelledLogits,
    findings: tuple[str, ...],
    wish: Wish,
    *,
    count: int = 20,
    report: Report = lambda _line: None,
) -> dict[str, Any]:
    """Halve the films `count` times, by patient and class, seeds 0, 1, ...

    Raises:
        DatasetError: too few films of a finding.

    Returns:
        A study as `evaluate.read_study` takes it: a row for each resplit, one of means, one that counts the resplits
        that keep each promise; and under "resplits" the same rows as `halve` gives them, under "summary" the last two.
    """
    check(films, findings, (), wish.coverage)
    found = []
    for seed in range(count):
        found.append(halve(films, findings, wish, seed))
        report(f"resplit {seed + 1} of {count}: {found[-1]['method']}, coverage {found[-1]['coverage']:.3f}")
    summary = summarize(found)
    names = list(found[0]["flags"])
    scores = [f"{score}, {when}" for score in SCORE_NAMES for when in ("temperature 1", "calibrated")]
    columns = ["resplit", "method", *scores, *names, "coverage", "its binomial interval", "coverage, one limit for all"]
    mean, kept = summary["mean"], summary["kept"]
    lower = [cell for score in MEASURES for cell in ("", f"lower in {kept[score]}")]
    hold = [f"hold the target: {kept[name]}" for name in names]
    within = [f"within: {kept['coverage']}", "", f"within: {kept['coverage_one_limit']}"]
    means = [mean[name] for name in (*SCORES, *names)]
    rows = [
        *([str(seed + 1), *_cells(one)] for seed, one in enumerate(found)),
        ["mean", "", *means, mean["coverage"], "", mean["coverage_one_limit"]],
        [f"of {count}", f"vector in {summary['vector']}", *lower, *hold, *within],
    ]
    halves = f"{found[0]['fitted_on']} and {found[0]['films']} of {len(films)} films"
    return {
        "study": "calibration",
        "title": f"Calibration study: {films.name}, halved by patient {count} times",
        "columns": columns,
        "rows": rows,
        "note": f"Each resplit calibrates on one half and measures on the other, {halves} in the first. ECE is of the "
        f"called class: were every probability true, it would still be {mean['ece_if_true']:.3f} on so few films on "
        "average, so it says little here. Error by finding: the same for each finding's own probability, the mean of "
        "all. Log loss: nats. Flags: the rate that they were chosen for, with its exact 95 % interval; * marks one "
        f"that does not hold the target. Coverage: share of prediction sets at {wish.coverage:g} that hold the film's "
        "finding; * marks one outside the binomial interval, which holds 95 % of the coverages of so many films at "
        "exactly that rate. It takes the limits as known, so somewhat fewer than 95 % are within. One limit for all "
        "findings, which is not what is served, stands beside it.",
        "provenance": {
            "films": {name: int((films.labels == index).sum()) for index, name in enumerate(findings)},
            "patients": len(set(films.patients)),
            "resplits": count,
            "coverage": wish.coverage,
        },
        "resplits": found,
        "summary": summary,
    }


def halve(films: LabelledLogits, findings: tuple[str, ...], wish: Wish, seed: int) -> dict[str, Any]:
    """One resplit: what the calibration of one half shows on the other."""
    half = folds(films.labels, films.patients, 2, seed)
    ours, theirs = films.take(np.flatnonzero(half == 0)), films.take(np.flatnonzero(half == 1))
    fitted = fit_all(ours, findings, wish)
    said = apply(fitted, theirs.logits, findings)
    raw = probabilities(theirs.logits, 1.0)
    before, after = (reliability(one, theirs.labels) for one in (raw, said.chances))
    flags = {}
    for point, target, flagged in zip(fitted.points, wish.targets, said.flags.T, strict=True):
        rate = rates_of(flagged, theirs.labels == findings.index(target.finding))[target.rate]
        low, high = rate["interval95"]
        flags[point.id] = rate | {"holds": low <= target.value <= high}
    low, high = (float(binom.ppf(tail, len(theirs), wish.coverage)) / len(theirs) for tail in (0.025, 0.975))
    chances = fitted.calibration.probabilities(ours.logits)
    one_limit = limit(_true(chances, ours.labels), wish.coverage)
    return {
        "fitted_on": len(ours),
        "films": len(theirs),
        "method": fitted.calibration.method,
        "temperature": fitted.calibration.temperature,
        "ece_before": before["ece"],
        "ece_after": after["ece"],
        "ece_if_true": if_true(said.chances)["mean"],
        "by_finding_before": error_by_finding(raw, theirs.labels),
        "by_finding_after": error_by_finding(said.chances, theirs.labels),
        "log_loss_before": before["log_loss"],
        "log_loss_after": after["log_loss"],
        "flags": flags,
        "coverage": round(float(_true(said.sets, theirs.labels).mean()), 4),
        "coverage_by_finding": {
            name: round(float(said.sets[theirs.labels == index, index].mean()), 4)
            for index, name in enumerate(findings)
        },
        "abstentions": round(float((said.sets.sum(axis=1) != 1).mean()), 4),
        "binomial95": [round(low, 4), round(high, 4)],
        "coverage_one_limit": round(float((_true(said.chances, theirs.labels) >= one_limit).mean()), 4),
        "coverage_by_finding_one_limit": {
            name: round(float((said.chances[theirs.labels == index, index] >= one_limit).mean()), 4)
            for index, name in enumerate(findings)
        },
        "abstentions_one_limit": round(float(((said.chances >= one_limit).sum(axis=1) != 1).mean()), 4),
    }


def summarize(found: list[dict[str, Any]]) -> dict[str, Any]:
    """{"resplits", "vector": how many took vector scaling, "mean", "kept": how many keep what is promised}"""
    names = list(found[0]["flags"])

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 4)

    def within(name: str) -> int:
        return sum(one["binomial95"][0] <= one[name] <= one["binomial95"][1] for one in found)

    plain = (*SCORES, "ece_if_true", "coverage", "coverage_one_limit", "abstentions", "abstentions_one_limit")
    return {
        "resplits": len(found),
        "vector": sum(one["method"] == "vector" for one in found),
        "mean": {name: mean([one[name] for one in found]) for name in plain}
        | {name: mean([one["flags"][name]["value"] for one in found]) for name in names}
        | {
            which: {name: mean([one[which][name] for one in found]) for name in found[0][which]}
            for which in ("coverage_by_finding", "coverage_by_finding_one_limit")
        },
        "kept": {score: sum(one[f"{score}_after"] < one[f"{score}_before"] for one in found) for score in MEASURES}
        | {
            "coverage": within("coverage"),
            "coverage_one_limit": within("coverage_one_limit"),
        }
        | {name: sum(one["flags"][name]["holds"] for one in found) for name in names},
    }


def _cells(one: dict[str, Any]) -> list[Any]:
    flags = [
        f"{rate['value']:.3f} [{rate['interval95'][0]:.2f}, {rate['interval95'][1]:.2f}]{'' if rate['holds'] else ' *'}"
        for rate in one["flags"].values()
    ]
    low, high = one["binomial95"]
    coverage = f"{one['coverage']:.3f}{'' if low <= one['coverage'] <= high else ' *'}"
    single = f"{one['coverage_one_limit']:.3f}{'' if low <= one['coverage_one_limit'] <= high else ' *'}"
    return [one["method"], *(one[name] for name in SCORES), *flags, coverage, f"{low:.3f} to {high:.3f}", single]


def _true(values: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[Any]:
    """Of each row, the column of its label."""
    return np.asarray(values[np.arange(len(labels)), labels])
