"""Does calibration keep its promises? Films halved by patient, many times: calibrate on one half, measure on the other.

One split says little: 15 test films of COVID-19 cannot tell a sensitivity of .80 from .99. Halves of one pool of films
are exchangeable, so this asks about the method, not about films of another kind: whether a hospital's own films keep
the promise is for `xrayq calibrate --labels` to show there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from model.calibrating.cross_fit import Wish, apply, fit_all
from model.calibrating.fitting import folds
from model.calibrating.labelled_films import LabelledLogits, check, check_finite
from model.calibration import VECTOR, probabilities
from model.conformal import limit
from model.data.bundle_films import Progress
from model.decision import truth_of
from model.json_value import JsonValue
from model.stats.calibration_error import error_by_finding, if_true
from model.stats.estimate import Interval, Proportion
from model.stats.operating_points import flag_rates
from model.stats.reliability import reliability
from model.study_table import Cell, Study

MEASURES = ("ece", "by_finding", "log_loss")
SCORES = tuple(f"{score}_{when}" for score in MEASURES for when in ("before", "after"))
SCORE_NAMES = ("ECE", "error by finding", "log loss")


@dataclass(frozen=True, kw_only=True)
class HeldRate(Proportion):
    holds: bool
    """Whether its interval reaches the target: the rate may be more."""


@dataclass(frozen=True, kw_only=True)
class Resplit(JsonValue):
    """One halving: what the calibration of one half shows on the other. Before: temperature 1."""

    fitted_on: int
    films: int
    """Films of the other half."""
    method: str
    temperature: float
    ece_before: float | None
    ece_after: float | None
    ece_if_true: float
    by_finding_before: float
    by_finding_after: float
    log_loss_before: float | None
    log_loss_after: float | None
    flags: dict[str, HeldRate]
    """By operating point's id, the rate that it was chosen for."""
    coverage: float
    coverage_by_finding: dict[str, float]
    abstentions: float
    binomial95: Interval
    """Holds 95 % of the coverages of so many films at exactly the promised rate."""
    coverage_one_limit: float
    """With one limit for all findings, which is not what is served, as the next two."""
    coverage_by_finding_one_limit: dict[str, float]
    abstentions_one_limit: float

    def score(self, name: str) -> float:
        """By a name of SCORES, or of another number that `summarize` takes the mean of."""
        return float(getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class ResplitSummary(JsonValue):
    resplits: int
    vector: int
    """Resplits that took vector scaling."""
    mean: dict[str, float]
    """By measure and by operating point's id."""
    mean_by_finding: dict[str, dict[str, float]]
    kept: dict[str, int]
    """Resplits that keep what is promised: a score that falls, a coverage within its interval, a flag that holds."""

    def as_dict(self) -> dict[str, Any]:
        """All means stand under "mean"."""
        means = self.mean | self.mean_by_finding
        return {"resplits": self.resplits, "vector": self.vector, "mean": means, "kept": self.kept}


@dataclass(frozen=True, kw_only=True)
class ResplitStudy(Study):
    resplits: tuple[Resplit, ...]
    """The rows."""
    summary: ResplitSummary
    """The last two rows."""


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
    report: Progress = lambda _line: None,
) -> ResplitStudy:
    """Halve the films `count` times, by patient and class, seeds 0, 1, ...

    Raises:
        DatasetError: too few films of a finding.

    Returns:
        A row for each resplit, one of means, one that counts the resplits that keep each promise.
    """
    check(films.name, films.labels, films.patients, findings, (), wish.coverage)
    check_finite(films)
    resplits = []
    for seed in range(count):
        resplits.append(fit_on_half(films, findings, wish, seed))
        report(f"resplit {seed + 1} of {count}: {resplits[-1].method}, coverage {resplits[-1].coverage:.3f}")
    summary, first = summarize(resplits), resplits[0]
    names = list(first.flags)
    scores = [f"{score}, {when}" for score in SCORE_NAMES for when in ("temperature 1", "calibrated")]
    columns = ["resplit", "method", *scores, *names, "coverage", "its binomial interval", "coverage, one limit for all"]
    mean, kept = summary.mean, summary.kept
    lower = [cell for score in MEASURES for cell in ("", f"lower in {kept[score]}")]
    hold = [f"hold the target: {kept[name]}" for name in names]
    within = [f"within: {kept['coverage']}", "", f"within: {kept['coverage_one_limit']}"]
    means = [mean[name] for name in (*SCORES, *names)]
    rows: tuple[tuple[Cell, ...], ...] = (
        *((str(seed + 1), *_cells(resplit)) for seed, resplit in enumerate(resplits)),
        ("mean", "", *means, mean["coverage"], "", mean["coverage_one_limit"]),
        (f"of {count}", f"vector in {summary.vector}", *lower, *hold, *within),
    )
    halves = f"{first.fitted_on} and {first.films} of {len(films)} films"
    return ResplitStudy(
        study="calibration",
        title=f"Calibration study: {films.name}, halved by patient {count} times",
        columns=tuple(columns),
        rows=rows,
        note=f"Each resplit calibrates on one half and measures on the other, {halves} in the first. ECE is of the "
        f"called class, as ten bins show it: were every probability true, it would still be {mean['ece_if_true']:.3f} "
        "on so few films on "
        "average, so it says little here. Error by finding: the same for each finding's own probability, the mean of "
        "all. Log loss: nats. Flags: the rate that they were chosen for, with its exact 95 % interval; * marks one "
        f"whose interval does not reach the target. Coverage: share of prediction sets at {wish.coverage:g} that hold "
        "the film's finding; * marks one outside the binomial interval, which holds 95 % of the coverages of so many "
        "films at exactly that rate. It takes the limits as known, so somewhat fewer than 95 % are within. One limit "
        "for all findings, which is not what is served, stands beside it.",
        provenance={
            "films": {name: int((films.labels == index).sum()) for index, name in enumerate(findings)},
            "patients": len(set(films.patients)),
            "resplits": count,
            "coverage": wish.coverage,
        },
        resplits=tuple(resplits),
        summary=summary,
    )


def fit_on_half(films: LabelledLogits, findings: tuple[str, ...], wish: Wish, seed: int) -> Resplit:
    """One resplit: what the calibration of one half shows on the other."""
    half = folds(films.labels, films.patients, 2, seed)
    ours, theirs = films.take(np.flatnonzero(half == 0)), films.take(np.flatnonzero(half == 1))
    fitted = fit_all(ours, findings, wish)
    predictions = apply(fitted, theirs.logits, findings)
    raw = probabilities(theirs.logits, 1.0)
    before, after = (reliability(chances, theirs.labels) for chances in (raw, predictions.chances))
    flags = {}
    for point, target, flagged in zip(fitted.points, wish.targets, predictions.flags.T, strict=True):
        rate = flag_rates(flagged, truth_of(target.finding, theirs.labels, findings)).rate(target.rate)
        flags[point.id] = HeldRate(**vars(rate), holds=rate.interval95[1] >= target.value)
    low, high = (float(binom.ppf(tail, len(theirs), wish.coverage)) / len(theirs) for tail in (0.025, 0.975))
    chances = fitted.calibration.at_films.probabilities(ours.logits)
    one_limit = limit(_true(chances, ours.labels), wish.coverage)
    return Resplit(
        fitted_on=len(ours),
        films=len(theirs),
        method=fitted.calibration.method,
        temperature=fitted.calibration.temperature,
        ece_before=before.ece_in_bins,
        ece_after=after.ece_in_bins,
        ece_if_true=if_true(predictions.chances).mean,
        by_finding_before=error_by_finding(raw, theirs.labels),
        by_finding_after=error_by_finding(predictions.chances, theirs.labels),
        log_loss_before=before.log_loss,
        log_loss_after=after.log_loss,
        flags=flags,
        coverage=round(float(_true(predictions.sets, theirs.labels).mean()), 4),
        coverage_by_finding={
            name: round(float(predictions.sets[theirs.labels == index, index].mean()), 4)
            for index, name in enumerate(findings)
        },
        abstentions=round(float((predictions.sets.sum(axis=1) != 1).mean()), 4),
        binomial95=(round(low, 4), round(high, 4)),
        coverage_one_limit=round(float((_true(predictions.chances, theirs.labels) >= one_limit).mean()), 4),
        coverage_by_finding_one_limit={
            name: round(float((predictions.chances[theirs.labels == index, index] >= one_limit).mean()), 4)
            for index, name in enumerate(findings)
        },
        abstentions_one_limit=round(float(((predictions.chances >= one_limit).sum(axis=1) != 1).mean()), 4),
    )


def summarize(resplits: list[Resplit]) -> ResplitSummary:
    names = list(resplits[0].flags)

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 4)

    def within(name: str) -> int:
        return sum(resplit.binomial95[0] <= resplit.score(name) <= resplit.binomial95[1] for resplit in resplits)

    def by_finding(rates: list[dict[str, float]]) -> dict[str, float]:
        return {finding: mean([rate[finding] for rate in rates]) for finding in rates[0]}

    plain = (*SCORES, "ece_if_true", "coverage", "coverage_one_limit", "abstentions", "abstentions_one_limit")
    flag_rates = {name: [resplit.flags[name].value for resplit in resplits] for name in names}
    return ResplitSummary(
        resplits=len(resplits),
        vector=sum(resplit.method == VECTOR for resplit in resplits),
        mean={name: mean([resplit.score(name) for resplit in resplits]) for name in plain}
        | {name: mean([rate for rate in rates if rate is not None]) for name, rates in flag_rates.items()},
        mean_by_finding={
            "coverage_by_finding": by_finding([resplit.coverage_by_finding for resplit in resplits]),
            "coverage_by_finding_one_limit": by_finding(
                [resplit.coverage_by_finding_one_limit for resplit in resplits]
            ),
        },
        kept={
            score: sum(resplit.score(f"{score}_after") < resplit.score(f"{score}_before") for resplit in resplits)
            for score in MEASURES
        }
        | {name: within(name) for name in ("coverage", "coverage_one_limit")}
        | {name: sum(resplit.flags[name].holds for resplit in resplits) for name in names},
    )


def _cells(resplit: Resplit) -> list[Cell]:
    low, high = resplit.binomial95

    def within(coverage: float) -> str:
        return f"{coverage:.3f}{'' if low <= coverage <= high else ' *'}"

    flags = [
        f"{rate.value:.3f} [{rate.interval95[0]:.2f}, {rate.interval95[1]:.2f}]{'' if rate.holds else ' *'}"
        for rate in resplit.flags.values()
    ]
    scores = (resplit.score(name) for name in SCORES)
    binomial = f"{low:.3f} to {high:.3f}"
    return [
        resplit.method,
        *scores,
        *flags,
        within(resplit.coverage),
        binomial,
        within(resplit.coverage_one_limit),
    ]


def _true(values: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[Any]:
    """The value of each row in the column of its label."""
    return np.asarray(values[np.arange(len(labels)), labels])
