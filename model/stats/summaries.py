"""What a set of predictions is worth: the bootstrap over patients, summaries of confusion matrices, McNemar's test.

Arrays in, values out that say themselves in JSON, rounded to four digits; the same input gives the same bytes. What is
not defined, such as the AUROC of a slice with one class, is None.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.json_value import JsonValue
from model.stats.binomial import proportion, sign_test
from model.stats.estimate import Estimate, Interval, Proportion

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Weights = NDArray[np.float64]
Statistic = Callable[[Weights], NDArray[np.float64]]
"""Film weights [resamples, N] -> one value per resample; NaN where a resample leaves it undefined."""

RESAMPLES = 2000
DEFINED_SHARE = 0.9
"""Share of resamples that must define a statistic. A class held by k patients is missing from exp(-k) of them, so this
asks for three patients of each class that the statistic needs."""


@dataclass(frozen=True, kw_only=True)
class Summary(JsonValue):
    """The most probable class of each film beside its true one."""

    films: int
    accuracy: Proportion
    recall: Mapping[str, Proportion]
    """By class."""
    precision: Mapping[str, Proportion]
    balanced_accuracy: float | None
    """Mean recall of the classes that occur."""
    confusion: tuple[tuple[int, ...], ...]
    """Row i counts the films of class i, by the class that they were called."""

    @property
    def balanced(self) -> Estimate:
        """Balanced accuracy; without patients there is no interval."""
        return Estimate(value=self.balanced_accuracy, interval95=None)


@dataclass(frozen=True, kw_only=True)
class PatientIntervals(JsonValue):
    """95 % intervals by `bootstrap` over patients."""

    accuracy: Interval | None
    balanced_accuracy: Interval | None
    patients: int
    resamples: int


@dataclass(frozen=True, kw_only=True)
class PatientSummary(Summary):
    bootstrap: PatientIntervals

    @property
    def balanced(self) -> Estimate:
        """Balanced accuracy with its interval over patients."""
        return Estimate(value=self.balanced_accuracy, interval95=self.bootstrap.balanced_accuracy)


@dataclass(frozen=True, kw_only=True)
class McNemar(JsonValue):
    """Two classifiers on the same films: how many each called rightly, and the exact two-sided p."""

    both_right: int
    first_only: int
    second_only: int
    both_wrong: int
    p: float


def bootstrap(
    statistic: Statistic,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
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
        (low, high), or None with fewer than two patients or too many undefined resamples (`DEFINED_SHARE`).
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
    low, high = np.quantile(found, [tail, 1 - tail])
    return four_digits(low), four_digits(high)


def summary(probabilities: Probabilities, labels: Labels, names: tuple[str, ...]) -> Summary:
    """Accuracy, and recall and precision of each class, of the most probable class.

    Args:
        probabilities: [N, classes]; other scores, or one-hot predictions, do as well.
        labels: [N].
        names: of the classes.
    """
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    return confusion_summary(confusion, names)


def patient_summary(
    probabilities: Probabilities, labels: Labels, names: tuple[str, ...], patients: Sequence[str]
) -> PatientSummary:
    """`summary`, with intervals of accuracy and balanced accuracy over patients; patients [N], one of each film."""
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    classes = [np.flatnonzero(labels == index) for index in np.unique(labels)]

    def accuracy(weights: Weights) -> NDArray[np.float64]:
        return ratio(weights @ correct, weights.sum(axis=1))

    def balanced_accuracy(weights: Weights) -> NDArray[np.float64]:
        recalls = [ratio(weights[:, rows] @ correct[rows], weights[:, rows].sum(axis=1)) for rows in classes]
        return np.asarray(np.mean(recalls, axis=0))

    return PatientSummary(
        **vars(summary(probabilities, labels, names)),
        bootstrap=PatientIntervals(
            accuracy=bootstrap(accuracy, patients),
            balanced_accuracy=bootstrap(balanced_accuracy, patients),
            patients=len(set(patients)),
            resamples=RESAMPLES,
        ),
    )


def confusion_summary(confusion: NDArray[np.int64], names: tuple[str, ...]) -> Summary:
    """`summary` of a confusion matrix [classes, classes]; row i counts the films of class i."""
    correct, films = np.diag(confusion), confusion.sum(axis=1)
    seen = films > 0
    return Summary(
        films=int(films.sum()),
        accuracy=proportion(int(correct.sum()), int(films.sum())),
        recall={n: proportion(int(correct[i]), int(films[i])) for i, n in enumerate(names)},
        precision={n: proportion(int(correct[i]), int(confusion[:, i].sum())) for i, n in enumerate(names)},
        balanced_accuracy=four_digits(np.mean(correct[seen] / films[seen])) if seen.any() else None,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def mcnemar(first: Labels, second: Labels, labels: Labels) -> McNemar:
    """Exact McNemar test of two classifiers on the same films (two-sided binomial over the films they disagree on).

    It takes films as independent; where patients have several, set the bootstrap of the difference beside it.

    Args:
        first, second: predicted classes, [N] each.
        labels: [N].

    Returns:
        p is 1 when they never disagree.
    """
    first_right, second_right = first == labels, second == labels
    first_only, second_only = int((first_right & ~second_right).sum()), int((~first_right & second_right).sum())
    return McNemar(
        both_right=int((first_right & second_right).sum()),
        first_only=first_only,
        second_only=second_only,
        both_wrong=int((~first_right & ~second_right).sum()),
        p=four_digits(sign_test(first_only, second_only)),
    )


def ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Elementwise, NaN where `below` is zero."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))


def four_digits(value: Any) -> float:
    """Four digits, and never -0.0."""
    return round(float(value), 4) + 0.0
