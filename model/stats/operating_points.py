"""Operating points chosen for a sensitivity or a specificity, and how many films it takes to know them well."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from model.calibration import log_losses
from model.decision import SENSITIVITY, SPECIFICITY, OperatingPoint
from model.errors import StatisticsError
from model.json_value import JsonValue
from model.stats.binomial import interval, proportion
from model.stats.estimate import Proportion
from model.stats.summaries import Summary, summary
from model.stats.usable import finite, some_films

HALF_WIDTH = 0.05
"""Half width of the interval of a rate that is known well enough."""
MOST = 100_000
"""Films beyond which nobody counts."""


@dataclass(frozen=True, kw_only=True)
class Rates(JsonValue):
    """What the flags of one operating point do on films."""

    sensitivity: Proportion
    specificity: Proportion

    def rate(self, name: str) -> Proportion:
        """By SENSITIVITY or SPECIFICITY."""
        return self.sensitivity if name == SENSITIVITY else self.specificity


@dataclass(frozen=True, kw_only=True)
class BundleMetrics(Summary):
    """What a bundle's manifest says of one split."""

    log_loss: float
    """Nats."""
    flags: dict[str, Rates]
    """By finding with an operating point."""


def choose_point(
    finding: str,
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    split: str,
) -> OperatingPoint:
    """The highest threshold that still flags at least `sensitivity` of the positives; or the lowest that leaves at
    least `specificity` of the negatives unflagged.

    Args:
        scores: probability of the finding [N].
        positive: truth [N], with at least one True and one False.
        sensitivity, specificity: one of the two.
        split: the films' name, for the record.

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
        ranked = np.sort(scores[positive])[::-1]
        threshold = float(np.floor(ranked[_needed(value, len(ranked)) - 1] * 1e4) / 1e4)
    else:
        assert specificity is not None
        rate, value, which = SPECIFICITY, specificity, "lowest"
        ranked = np.sort(scores[~positive])
        threshold = float(np.floor(ranked[_needed(value, len(ranked)) - 1] * 1e4 + 1) / 1e4)
    flagged = scores >= threshold
    hits, misses = int(flagged[positive].sum()), int((~flagged[~positive]).sum())
    positives, negatives = int(positive.sum()), int((~positive).sum())
    return OperatingPoint(
        finding=finding,
        threshold=threshold,
        sensitivity=round(hits / positives, 4),
        specificity=round(misses / negatives, 4),
        positives=positives,
        negatives=negatives,
        chosen_on=f"{split}: {which} threshold with {rate} >= {value}",
        id=f"{finding}@{rate}-{value:g}",
        target=rate,
        target_value=value,
        sensitivity_interval95=interval(hits, positives),
        specificity_interval95=interval(misses, negatives),
    )


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


def rates(point: OperatingPoint, scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Rates:
    """Of an operating point on films; probabilities of its finding [N], truth [N]."""
    return flag_rates(scores >= point.threshold, positive)


def flag_rates(flagged: NDArray[np.bool_], positive: NDArray[np.bool_]) -> Rates:
    """The same of flags [N]."""
    return Rates(
        sensitivity=proportion(int((flagged & positive).sum()), int(positive.sum())),
        specificity=proportion(int((~flagged & ~positive).sum()), int((~positive).sum())),
    )


def bundle_metrics(
    chances: NDArray[np.float64],
    labels: NDArray[np.int64],
    findings: tuple[str, ...],
    points: tuple[OperatingPoint, ...],
) -> BundleMetrics:
    """Probabilities [N, findings], labels [N]. Raises StatisticsError without films."""
    some_films(len(labels))
    return BundleMetrics(
        **vars(summary(chances, labels, findings)),
        log_loss=round(float(log_losses(chances, labels).mean()), 4),
        flags={
            point.finding: rates(
                point,
                chances[:, findings.index(point.finding)],
                labels == findings.index(point.finding),
            )
            for point in points
        },
    )


def _half(rate: float, count: int) -> float:
    """Of the interval, with rate x count not rounded to whole films: so it falls with every film more."""
    hits = rate * count
    low = 0.0 if rate == 0 else float(beta.ppf(0.025, hits, count - hits + 1))
    high = 1.0 if rate == 1 else float(beta.ppf(0.975, hits + 1, count - hits))
    return (high - low) / 2
