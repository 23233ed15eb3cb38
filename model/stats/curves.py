"""ROC and precision-recall curves and the areas under them, each with its patient-bootstrap interval.

JSON-ready, four digits. What is not defined, such as the AUROC of a slice with one class, is None.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.stats.summaries import Labels, Probabilities, Weights, bootstrap, four_digits, ratio

CURVE_POINTS = 200
"""Most points of one curve."""


def curves(
    probabilities: Probabilities, labels: Labels, names: tuple[str, ...], patients: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Each class against the rest: name -> {"roc": `roc_curve`, "pr": `pr_curve`}. Probabilities [N, classes]."""
    return {
        name: {
            "roc": roc_curve(probabilities[:, index], labels == index, patients),
            "pr": pr_curve(probabilities[:, index], labels == index, patients),
        }
        for index, name in enumerate(names)
    }


def roc_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]) -> dict[str, Any]:
    """Receiver operating characteristic and the area under it, ties counting half (Hanley & McNeil 1982).

    Args:
        scores: [N], higher for the class.
        positive: [N], True for films of the class.
        patients: the patient of each film, [N].

    Returns:
        {"auroc": {"value", "interval95", "n"}, "positives", "negatives", "false_positive_rate": [...],
        "true_positive_rate": [...]}, from the highest threshold to the lowest, corners alone. Without a positive or
        without a negative the value, its interval and both lists are None.
    """
    hits, alarms = _counts(scores, positive, np.ones((1, len(scores))))
    area = {"auroc": _estimate(_auroc, scores, positive, patients)} | _sizes(positive)
    if area["auroc"]["value"] is None:
        return area | {"false_positive_rate": None, "true_positive_rate": None}
    curve = np.stack([alarms[0] / alarms[0, -1], hits[0] / hits[0, -1]], axis=1)
    bends = (np.diff(hits[0], 2) != 0) | (np.diff(alarms[0], 2) != 0)
    curve = _thin(curve[np.concatenate([[True], bends, [True]])])
    return area | {"false_positive_rate": curve[:, 0].tolist(), "true_positive_rate": curve[:, 1].tolist()}


def pr_curve(scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]) -> dict[str, Any]:
    """Precision against recall and average precision: the step-wise sum, not the optimistic trapezoid
    (Davis & Goadrich 2006).

    Arguments as of `roc_curve`.

    Returns:
        {"average_precision": {"value", "interval95", "n"}, "positives", "negatives", "recall": [...], "precision":
        [...]}, from the highest threshold to the lowest after the usual first point, recall 0 and precision 1. Without
        a positive or without a negative the value, its interval and both lists are None.
    """
    hits, alarms = _counts(scores, positive, np.ones((1, len(scores))))
    area = {"average_precision": _estimate(_average_precision, scores, positive, patients)} | _sizes(positive)
    if area["average_precision"]["value"] is None:
        return area | {"recall": None, "precision": None}
    precision = np.append(1.0, hits[0, 1:] / (hits[0, 1:] + alarms[0, 1:]))
    curve = _thin(np.stack([hits[0] / hits[0, -1], precision], axis=1))
    return area | {"recall": curve[:, 0].tolist(), "precision": curve[:, 1].tolist()}


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


def _estimate(
    area: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    patients: Sequence[str],
) -> dict[str, Any]:
    def statistic(weights: Weights) -> NDArray[np.float64]:
        return area(*_counts(scores, positive, weights))

    value = float(statistic(np.ones((1, len(scores))))[0])
    if not np.isfinite(value):
        return {"value": None, "interval95": None, "n": len(scores)}
    return {"value": four_digits(value), "interval95": bootstrap(statistic, patients), "n": len(scores)}


def _sizes(positive: NDArray[np.bool_]) -> dict[str, Any]:
    return {"positives": int(positive.sum()), "negatives": int((~positive).sum())}


def _thin(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most CURVE_POINTS rows of [K, 2], evenly spaced, the first and the last always; four digits."""
    kept = np.unique(np.rint(np.linspace(0, len(curve) - 1, min(CURVE_POINTS, len(curve)))).astype(np.int64))
    return np.asarray(curve[kept].round(4))
