"""ROC and precision-recall curves and the areas under them, each with its interval over patients.

The interval of the area under the ROC curve is `model.stats.roc_area`'s, that of average precision is by bootstrap.
Four digits. What is not defined, such as the AUROC of a slice with one class, is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.json_value import JsonValue
from model.stats.estimate import Estimate
from model.stats.over_patients import share_interval
from model.stats.roc_area import area_interval
from model.stats.summaries import Labels, Probabilities, Weights, four_digits, ratio
from model.stats.usable import scores_and_truth

CURVE_POINTS = 200
"""Most points of one curve."""
Points = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Area(Estimate):
    """Area under a curve, 0..1."""

    n: int
    """Films, of the class or not."""


@dataclass(frozen=True, kw_only=True)
class RocCurve(JsonValue):
    """From the highest threshold to the lowest, corners alone; both lists are None where the area is."""

    auroc: Area
    positives: int
    negatives: int
    false_positive_rate: Points | None
    true_positive_rate: Points | None


@dataclass(frozen=True, kw_only=True)
class PrecisionRecallCurve(JsonValue):
    """From the highest threshold to the lowest after the usual first point, recall 0 and precision 1; both lists are
    None where the area is."""

    average_precision: Area
    positives: int
    negatives: int
    recall: Points | None
    precision: Points | None


@dataclass(frozen=True, kw_only=True)
class Curves(JsonValue):
    """One class against the rest."""

    roc: RocCurve
    pr: PrecisionRecallCurve


def curves(
    probabilities: Probabilities, labels: Labels, names: tuple[str, ...], patients: Sequence[str]
) -> dict[str, Curves]:
    """Each class against the rest, by name. Probabilities [N, classes]."""
    return {
        name: Curves(
            roc=roc_curve(probabilities[:, index], labels == index, patients),
            pr=pr_curve(probabilities[:, index], labels == index, patients),
        )
        for index, name in enumerate(names)
    }


def roc_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]) -> RocCurve:
    """Receiver operating characteristic and the area under it, ties counting half (Hanley & McNeil 1982).

    Args:
        scores: [N], higher for the class.
        positive: [N], True for films of the class.
        patients: the patient of each film, [N].

    Returns:
        Without a positive or without a negative the area, its interval and both lists are None.

    Raises:
        StatisticsError: a score is not finite, or there is not one truth and one patient for each.
    """
    scores_and_truth(scores, positive, patients)
    hits, alarms = _counts(scores, positive, np.ones((1, len(scores))))
    area, (positives, negatives) = _roc_area(hits, alarms, scores, positive, patients), _sizes(positive)
    if area.value is None:
        return RocCurve(
            auroc=area, positives=positives, negatives=negatives, false_positive_rate=None, true_positive_rate=None
        )
    curve = np.stack([alarms[0] / alarms[0, -1], hits[0] / hits[0, -1]], axis=1)
    bends = (np.diff(hits[0], 2) != 0) | (np.diff(alarms[0], 2) != 0)
    curve = _thin(curve[np.concatenate([[True], bends, [True]])])
    return RocCurve(
        auroc=area,
        positives=positives,
        negatives=negatives,
        false_positive_rate=tuple(curve[:, 0].tolist()),
        true_positive_rate=tuple(curve[:, 1].tolist()),
    )


def pr_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]) -> PrecisionRecallCurve:
    """Precision against recall and average precision: the step-wise sum, not the optimistic trapezoid
    (Davis & Goadrich 2006).

    Arguments and errors as of `roc_curve`.

    Returns:
        Without a positive or without a negative the area, its interval and both lists are None.
    """
    scores_and_truth(scores, positive, patients)
    hits, alarms = _counts(scores, positive, np.ones((1, len(scores))))
    area, (positives, negatives) = _precision_area(scores, positive, patients), _sizes(positive)
    if area.value is None:
        return PrecisionRecallCurve(
            average_precision=area, positives=positives, negatives=negatives, recall=None, precision=None
        )
    precision = np.append(1.0, hits[0, 1:] / (hits[0, 1:] + alarms[0, 1:]))
    curve = _thin(np.stack([hits[0] / hits[0, -1], precision], axis=1))
    return PrecisionRecallCurve(
        average_precision=area,
        positives=positives,
        negatives=negatives,
        recall=tuple(curve[:, 0].tolist()),
        precision=tuple(curve[:, 1].tolist()),
    )


def _counts(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of the positives and of the negatives at or above each distinct score, highest score first.

    Both float [resamples, distinct scores + 1], the first column zero. Weights are whole numbers, so sums are exact.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, truth, weights = scores[order], positive[order], weights[:, order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, np.int64)
    start = np.zeros((len(weights), 1))
    hits = np.cumsum(weights * truth, axis=1)[:, last]
    alarms = np.cumsum(weights * ~truth, axis=1)[:, last]
    return np.hstack([start, hits]), np.hstack([start, alarms])


def _auroc(hits: NDArray[np.float64], alarms: NDArray[np.float64]) -> NDArray[np.float64]:
    area = (np.diff(alarms, axis=1) * (hits[:, 1:] + hits[:, :-1]) / 2).sum(axis=1)
    return ratio(area, hits[:, -1] * alarms[:, -1])


def _average_precision(hits: NDArray[np.float64], alarms: NDArray[np.float64]) -> NDArray[np.float64]:
    called = (hits + alarms)[:, 1:]
    precision = hits[:, 1:] / np.where(called > 0, called, 1.0)
    area = (np.diff(hits, axis=1) * precision).sum(axis=1)
    return ratio(np.where(alarms[:, -1] > 0, area, np.nan), hits[:, -1])


def _roc_area(
    hits: NDArray[np.float64],
    alarms: NDArray[np.float64],
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    patients: Sequence[str],
) -> Area:
    value = float(_auroc(hits, alarms)[0])
    if not np.isfinite(value):
        return Area(value=None, interval95=None, n=len(scores))
    return Area(value=four_digits(value), interval95=area_interval(scores, positive, patients), n=len(scores))


def _precision_area(scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]) -> Area:
    def statistic(weights: Weights) -> NDArray[np.float64]:
        return _average_precision(*_counts(scores, positive, weights))

    value = float(statistic(np.ones((1, len(scores))))[0])
    if not np.isfinite(value):
        return Area(value=None, interval95=None, n=len(scores))
    bounds = share_interval(statistic, patients, (positive, ~positive))
    return Area(value=four_digits(value), interval95=bounds, n=len(scores))


def _sizes(positive: NDArray[np.bool_]) -> tuple[int, int]:
    """Positives, negatives."""
    return int(positive.sum()), int((~positive).sum())


def _thin(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most CURVE_POINTS rows of [K, 2], evenly spaced, the first and the last always; four digits."""
    kept = np.unique(np.rint(np.linspace(0, len(curve) - 1, min(CURVE_POINTS, len(curve)))).astype(np.int64))
    return np.asarray(curve[kept].round(4))
