"""Thresholds chosen for a sensitivity or a specificity, and how many films it takes to know a rate well."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from model.decision import SENSITIVITY, SPECIFICITY, OperatingPoint, chance_of, truth_of
from model.errors import StatisticsError
from model.findings import NOT_NORMAL, negative_of
from model.stats.binomial import interval
from model.stats.estimate import Proportion
from model.stats.flags_by_label import counted_by_label
from model.stats.operating_points import CONFIDENCE
from model.stats.usable import finite

HALF_WIDTH = 0.05
"""Half width of the interval of a rate that is known well enough."""
MOST = 100_000
"""Films beyond which nobody counts."""
NOT_NORMAL_SPECIFICITY, FINDING_SPECIFICITY = 0.9, 0.95
"""The usual targets."""
DIGITS = 10**6
"""Steps of a threshold in 0..1."""


@dataclass(frozen=True, kw_only=True)
class OperatingTarget:
    """What an operating point is chosen for."""

    finding: str
    """Of the bundle, or NOT_NORMAL."""
    rate: str
    """sensitivity or specificity"""
    value: float


def default_targets(findings: tuple[str, ...]) -> tuple[OperatingTarget, ...]:
    """NOT_NORMAL at specificity .90, then each finding but the negative one at .95."""
    own = (OperatingTarget(finding=name, rate=SPECIFICITY, value=FINDING_SPECIFICITY) for name in findings)
    composite = OperatingTarget(finding=NOT_NORMAL, rate=SPECIFICITY, value=NOT_NORMAL_SPECIFICITY)
    return composite, *(target for target in own if target.finding != negative_of(findings))


def choose_points(
    chances: NDArray[np.float64],
    labels: NDArray[np.int64],
    findings: tuple[str, ...],
    targets: Iterable[OperatingTarget],
    *,
    patients: Sequence[str],
    split: str,
) -> tuple[OperatingPoint, ...]:
    """A point for each target, as `choose_point`; probabilities [N, findings], labels [N]. A finding's negatives are
    all films without it."""
    points = []
    for target in targets:
        positive = truth_of(target.finding, labels, findings)
        without = {name: int((labels[~positive] == index).sum()) for index, name in enumerate(findings)}
        points.append(
            choose_point(
                target.finding,
                chance_of(target.finding, chances, findings),
                positive,
                **{target.rate: target.value},
                patients=patients,
                split=split,
                against=", ".join(f"{count} {name}" for name, count in without.items() if count),
            )
        )
    return counted_by_label(points, chances, labels, findings)


def choose_point(
    finding: str,
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    patients: Sequence[str],
    split: str,
    against: str = "",
) -> OperatingPoint:
    """The highest threshold whose sensitivity, or the lowest whose specificity, is the target or more with 95 %
    confidence.

    Of n patients, the threshold must do right by the k-th ranked or more. k is the fewest whose one-sided 95 % bound
    (Clopper-Pearson) reaches the target. As k comes from n alone, and the threshold is an order statistic, the bound
    holds for a threshold that was chosen on the same films (a tolerance bound, Wilks 1941). A patient counts once, by
    the share of their own films: that spreads less than one film each, so repeated films make it no bolder.

    Where even all n patients cannot reach the target (`fewest_patients`), the threshold has the target as its rate on
    the films, and the point says that it is not met.

    Args:
        finding: of the point, for its name.
        scores: probability of the finding [N].
        positive: truth [N], with at least one True and one False.
        sensitivity, specificity: one of the two.
        patients: the patient of each film, [N].
        split: the films' name, for the record.
        against: which films a specificity is of, for the record: "84 normal, 69 pneumonia".

    Raises:
        ValueError: both rates or none were given.
        StatisticsError: a score is not finite, or there is no positive or no negative.
    """
    finite(scores, "scores")
    if not 0 < positive.sum() < len(positive):
        raise StatisticsError(f"a threshold of {finding} needs films with it and films without")
    if (sensitivity is None) == (specificity is None):
        raise ValueError("give a sensitivity or a specificity")
    if sensitivity is not None:
        rate, value, which = SENSITIVITY, sensitivity, "highest"
        ranked, count, needed = _ranked(-scores[positive], patients, positive, sensitivity)
        threshold = _rounded_down(-ranked)
    else:
        assert specificity is not None
        rate, value, which = SPECIFICITY, specificity, "lowest"
        ranked, count, needed = _ranked(scores[~positive], patients, ~positive, specificity)
        threshold = float(np.floor(ranked * DIGITS + 1) / DIGITS)
    bound = lower_bound(needed, count)
    flagged = scores >= threshold
    hits, quiet = int(flagged[positive].sum()), int((~flagged[~positive]).sum())
    positives, negatives = int(positive.sum()), int((~positive).sum())
    rule = f"{rate} >= {value}" + (" with 95 % confidence" if bound >= value else ", which is not met with confidence")
    return OperatingPoint(
        finding=finding,
        threshold=threshold,
        sensitivity=round(hits / positives, 4),
        specificity=round(quiet / negatives, 4),
        positives=positives,
        negatives=negatives,
        chosen_on=f"{split}: {which} threshold with {rule}" + (f"; negatives: {against}" if against else ""),
        id=f"{finding}@{rate}-{value:g}",
        target=rate,
        target_value=value,
        sensitivity_interval95=interval(hits, positives),
        specificity_interval95=interval(quiet, negatives),
        bound=floor(bound * 1e4) / 1e4,
        met=bound >= value,
        patients=count,
    )


def _ranked(
    scores: NDArray[np.float64], patients: Sequence[str], among: NDArray[np.bool_], target: float
) -> tuple[float, int, int]:
    """The score that `needed` patients do not exceed; the patients of these films; `needed` of them."""
    names, owner, films = np.unique(np.asarray(patients)[among], return_inverse=True, return_counts=True)
    count = len(names)
    fewest = _needed(target, count)
    needed = next((k for k in range(fewest, count + 1) if lower_bound(k, count) >= target), fewest)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1 / films[owner[order]])
    return float(scores[order][np.searchsorted(reached, needed - 1e-9)]), count, needed


def _rounded_down(value: float) -> float:
    rounded = floor(value * DIGITS) / DIGITS
    return rounded if rounded <= value else max(0.0, rounded - 1 / DIGITS)  # the product was rounded up


def lower_bound(successes: int, trials: int) -> float:
    """One-sided 95 % Clopper-Pearson bound of a proportion."""
    return float(beta.ppf(1 - CONFIDENCE, successes, trials - successes + 1)) if successes else 0.0


def _needed(rate: float, count: int) -> int:
    """Films of `count` that make at least `rate` of them; 0.95 x 20 is 19, whatever floating point says."""
    return max(1, ceil(rate * count - 1e-9))


def films_needed(rate: float) -> int:
    """Fewest films of which the exact 95 % interval of `rate` is at most +- HALF_WIDTH wide; at most `MOST`."""
    low, high = 1, MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _half(rate, middle) <= HALF_WIDTH else (middle + 1, high)
    return low


def shortage(rate: Proportion) -> int | None:
    """Films that a rate needs to be known to +- HALF_WIDTH; None where it is."""
    low, high = rate.interval95
    if rate.value is None or (high - low) / 2 <= HALF_WIDTH:
        return None
    return films_needed(rate.value)


def _half(rate: float, count: int) -> float:
    """Of the interval, with rate x count not rounded to whole films: so it falls with every film more."""
    hits = rate * count
    low = 0.0 if rate == 0 else float(beta.ppf(0.025, hits, count - hits + 1))
    high = 1.0 if rate == 1 else float(beta.ppf(0.975, hits + 1, count - hits))
    return (high - low) / 2
