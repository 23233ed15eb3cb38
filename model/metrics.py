"""What a set of predictions is worth: exact 95 % intervals of proportions, patient-bootstrap intervals of the rest.

Arrays in, JSON-ready values out, rounded to four digits; the same input gives the same bytes. What is not defined, such
as the AUROC of a slice with one class, is None.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from model.exact import proportion as proportion
from model.exact import sign_test

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Weights = NDArray[np.float64]
Statistic = Callable[[Weights], NDArray[np.float64]]
"""Film weights [resamples, N] -> one value per resample; NaN where a resample leaves it undefined."""

RESAMPLES = 2000
DEFINED_SHARE = 0.9
"""Share of resamples that must define a statistic. A class held by k patients is missing from exp(-k) of them, so this
asks for three patients of each class that the statistic needs."""
CURVE_POINTS = 200
"""Most points of one curve."""


def bootstrap(
    statistic: Statistic,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> list[float] | None:
    """Percentile interval of a statistic over patients drawn with replacement (Efron & Tibshirani 1993, ch. 13).

    Films of one patient are drawn together, because they are not independent. Resamples come as weights rather than
    rows, so that a statistic computes them all at once: a film whose patient was drawn twice weighs 2. The order of the
    films does not matter.

    The interval has no width when every film is right. Prefer `interval` for a proportion of independent films.

    Args:
        statistic: film weights [resamples, N], whole numbers, to one value per resample.
        patients: the patient of each film, [N].
        resamples: number of draws.
        seed: of the draws.
        level: share of the resamples inside the interval.

    Returns:
        [low, high], or None with fewer than two patients or too many undefined resamples (`DEFINED_SHARE`).
    """
    names, rows = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        return None
    random = np.random.default_rng(seed)
    values: list[NDArray[np.float64]] = []
    for start in range(0, resamples, 250):  # 250 x 1000 films of float64 are 2 MB: a chunk stays in cache
        count = min(250, resamples - start)
        drawn = random.integers(len(names), size=(count, len(names))) + np.arange(count)[:, None] * len(names)
        times = np.bincount(drawn.ravel(), minlength=count * len(names)).reshape(count, len(names))
        values.append(statistic(times[:, rows].astype(np.float64)))
    found = np.concatenate(values)
    found = found[np.isfinite(found)]
    if len(found) < DEFINED_SHARE * resamples:
        return None
    tail = (1 - level) / 2
    return [_four(value) for value in np.quantile(found, [tail, 1 - tail])]


def summary(
    probabilities: Probabilities, labels: Labels, names: tuple[str, ...], *, patients: Sequence[str] | None = None
) -> dict[str, Any]:
    """Accuracy, and recall and precision of each class, of the most probable class.

    Args:
        probabilities: [N, classes]; other scores, or one-hot predictions, do as well.
        labels: [N].
        names: of the classes.
        patients: the patient of each film, [N]. Adds `bootstrap`: intervals of accuracy and balanced accuracy.

    Returns:
        A JSON-ready dict; `confusion[i][j]` counts films of class i called j.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    result = confusion_summary(confusion, names)
    if patients is None:
        return result
    correct = (predicted == labels).astype(np.float64)
    classes = [np.flatnonzero(labels == index) for index in np.unique(labels)]

    def accuracy(weights: Weights) -> NDArray[np.float64]:
        return _ratio(weights @ correct, weights.sum(axis=1))

    def balanced_accuracy(weights: Weights) -> NDArray[np.float64]:
        recalls = [_ratio(weights[:, rows] @ correct[rows], weights[:, rows].sum(axis=1)) for rows in classes]
        return np.asarray(np.mean(recalls, axis=0))

    return result | {
        "bootstrap": {
            "accuracy": bootstrap(accuracy, patients),
            "balanced_accuracy": bootstrap(balanced_accuracy, patients),
            "patients": len(set(patients)),
            "resamples": RESAMPLES,
        }
    }


def confusion_summary(confusion: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """`summary` of a confusion matrix [classes, classes]; row i counts the films of class i.

    Balanced accuracy is the mean recall of the classes that occur.
    """
    correct, films = np.diag(confusion), confusion.sum(axis=1)
    seen = films > 0
    return {
        "films": int(films.sum()),
        "accuracy": proportion(int(correct.sum()), int(films.sum())),
        "recall": {n: proportion(int(correct[i]), int(films[i])) for i, n in enumerate(names)},
        "precision": {n: proportion(int(correct[i]), int(confusion[:, i].sum())) for i, n in enumerate(names)},
        "balanced_accuracy": _four(np.mean(correct[seen] / films[seen])) if seen.any() else None,
        "confusion": confusion.tolist(),
    }


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


def roc_curve(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str], *, points: int = CURVE_POINTS
) -> dict[str, Any]:
    """Receiver operating characteristic and the area under it, ties counting half (Hanley & McNeil 1982).

    Args:
        scores: [N], higher for the class.
        positive: [N], True for films of the class.
        patients: the patient of each film, [N].
        points: most points of the curve.

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
    curve = _thin(curve[np.concatenate([[True], bends, [True]])], points)
    return area | {"false_positive_rate": curve[:, 0].tolist(), "true_positive_rate": curve[:, 1].tolist()}


def pr_curve(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str], *, points: int = CURVE_POINTS
) -> dict[str, Any]:
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
    curve = _thin(np.stack([hits[0] / hits[0, -1], precision], axis=1), points)
    return area | {"recall": curve[:, 0].tolist(), "precision": curve[:, 1].tolist()}


def mcnemar(first: Labels, second: Labels, labels: Labels) -> dict[str, Any]:
    """Exact McNemar test of two classifiers on the same films (two-sided binomial over the films they disagree on).

    It takes films as independent; where patients have several, set the bootstrap of the difference beside it.

    Args:
        first, second: predicted classes, [N] each.
        labels: [N].

    Returns:
        {"both_right", "first_only", "second_only", "both_wrong", "p"}; p is 1 when they never disagree.
    """
    one, two = first == labels, second == labels
    first_only, second_only = int((one & ~two).sum()), int((~one & two).sum())
    return {
        "both_right": int((one & two).sum()),
        "first_only": first_only,
        "second_only": second_only,
        "both_wrong": int((~one & ~two).sum()),
        "p": _four(sign_test(first_only, second_only)),
    }


def reliability(probabilities: Probabilities, labels: Labels, *, bins: int = 10) -> dict[str, Any]:
    """Does a stated probability come true as often as stated?

    Films are binned by the probability of their most probable class into bins of equal mass (Nguyen & O'Connor 2015);
    equally confident films share a bin, so the order of the films does not matter.

    Args:
        probabilities: [N, classes], rows summing to 1.
        labels: [N].
        bins: most bins.

    Returns:
        {"ece": expected calibration error 0..1, "brier": sum over classes of squared errors 0..2, "log_loss": nats,
        "films", "bins": [{"confidence", "accuracy", "count"}]}, bins by rising confidence; None and [] without films.
    """
    films = len(labels)
    if not films:
        return {"ece": None, "brier": None, "log_loss": None, "films": 0, "bins": []}
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    of_bin = membership(confidence, bins)
    groups = [rows for rows in (np.flatnonzero(of_bin == index) for index in range(bins)) if len(rows)]
    gaps = [len(rows) * abs(confidence[rows].mean() - correct[rows].mean()) for rows in groups]
    truth = np.eye(probabilities.shape[1])[labels]
    likelihood = probabilities[np.arange(films), labels]
    return {
        "ece": _four(sum(gaps) / films),
        "brier": _four(((probabilities - truth) ** 2).sum(axis=1).mean()),
        "log_loss": _four(-np.log(np.clip(likelihood, 1e-12, 1.0)).mean()),
        "films": films,
        "bins": [
            {"confidence": _four(confidence[rows].mean()), "accuracy": _four(correct[rows].mean()), "count": len(rows)}
            for rows in groups
        ],
    }


def calibration_error_interval(
    probabilities: Probabilities, labels: Labels, patients: Sequence[str], *, bins: int = 10
) -> list[float] | None:
    """95 % interval of `reliability`'s expected calibration error, by bootstrap over patients in the same bins.

    Resampling adds noise that an absolute difference counts as error, so the interval leans to the high side.
    """
    if not len(labels):
        return None
    confidence = probabilities.max(axis=1)
    gap = confidence - (probabilities.argmax(axis=1) == labels)
    shares = gap[:, None] * np.eye(bins)[membership(confidence, bins)]

    def error(weights: Weights) -> NDArray[np.float64]:
        return _ratio(np.abs(weights @ shares).sum(axis=1), weights.sum(axis=1))

    return bootstrap(error, patients)


def membership(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """[N] bin of each film, 0..bins - 1: bins of equal mass, ties together."""
    middle = (rankdata(confidence) - 0.5) / len(confidence)
    return np.asarray(middle * min(bins, len(confidence)), np.int64)


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
    return _ratio(area, hits[:, -1] * alarms[:, -1])


def _average_precision(hits: NDArray[np.float64], alarms: NDArray[np.float64]) -> NDArray[np.float64]:
    called = (hits + alarms)[:, 1:]
    precision = hits[:, 1:] / np.where(called > 0, called, 1.0)
    area = (np.diff(hits, axis=1) * precision).sum(axis=1)
    return _ratio(np.where(alarms[:, -1] > 0, area, np.nan), hits[:, -1])


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
    return {"value": _four(value), "interval95": bootstrap(statistic, patients), "n": len(scores)}


def _sizes(positive: NDArray[np.bool_]) -> dict[str, Any]:
    return {"positives": int(positive.sum()), "negatives": int((~positive).sum())}


def _thin(curve: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """At most `points` rows of [K, 2], evenly spaced, the first and the last always; four digits."""
    kept = np.unique(np.rint(np.linspace(0, len(curve) - 1, min(points, len(curve)))).astype(np.int64))
    return np.asarray(curve[kept].round(4))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Elementwise, NaN where `below` is zero."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))


def _four(value: Any) -> float:
    """Four digits, and never -0.0."""
    return round(float(value), 4) + 0.0
