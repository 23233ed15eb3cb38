"""What a set of predictions is worth: summaries of confusion matrices, McNemar's test.

Arrays in, values out that say themselves in JSON, rounded to four digits; the same input gives the same bytes. What is
not defined, such as the recall of a class without films, is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.json_value import JsonValue
from model.stats.binomial import proportion, sign_test
from model.stats.estimate import Estimate, Proportion
from model.stats.usable import as_many, chances_and_labels

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Weights = NDArray[np.float64]


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
class McNemar(JsonValue):
    """Two classifiers on the same films: how many each called rightly, and the exact two-sided p."""

    both_right: int
    first_only: int
    second_only: int
    both_wrong: int
    p: float


def summary(probabilities: Probabilities, labels: Labels, names: tuple[str, ...]) -> Summary:
    """Accuracy, and recall and precision of each class, of the most probable class.

    Args:
        probabilities: [N, classes]; other scores, or one-hot predictions, do as well.
        labels: [N].
        names: of the classes.

    Raises:
        StatisticsError: a probability is not finite, or a label is no class.
    """
    chances_and_labels(probabilities, labels)
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    return confusion_summary(confusion, names)


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
    as_many(len(labels), calls=first, **{"calls of the other": second})
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
