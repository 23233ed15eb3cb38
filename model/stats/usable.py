"""What a statistic can be made of, asked before anything is computed: numbers that are finite, and as many of each.

A score that is not a number sorts somewhere, counts as neither right nor wrong, and leaves a plausible figure behind.
No films, or none of a class, are no fault: the answer to those is None.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import StatisticsError


def finite(values: NDArray[np.floating[Any]], name: str) -> None:
    """Raises StatisticsError with the number of rows of [N, ...] that are not finite."""
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1) if values.size else np.zeros(0, bool)
    if bad.any():
        raise StatisticsError(f"{int(bad.sum())} of {len(values)} films have {name} that are not finite numbers")


def as_many(films: int, **columns: Sequence[Any] | NDArray[Any]) -> None:
    """Raises StatisticsError when a column has not one entry for each film."""
    for name, column in columns.items():
        if len(column) != films:
            raise StatisticsError(f"there are {len(column)} {name} for {films} films")


def counts(successes: int, trials: int) -> None:
    """Raises StatisticsError unless 0 <= successes <= trials."""
    if not 0 <= successes <= trials:
        raise StatisticsError(f"{successes} of {trials} films cannot be: a count is from 0 to all of them")


def shares(values: Sequence[float], name: str) -> None:
    """Raises StatisticsError unless each lies between 0 and 1; a number that is none does not."""
    if wrong := [value for value in values if not 0 <= value <= 1]:
        raise StatisticsError(f"{name} {wrong[0]:g} is not between 0 and 1")


def some_films(films: int) -> None:
    """Raises StatisticsError without any, for what has no answer then."""
    if not films:
        raise StatisticsError("there are no films")


def scores_and_truth(scores: NDArray[np.float64], positive: NDArray[np.bool_], patients: Sequence[str]) -> None:
    """Raises StatisticsError unless scores [N] are finite, with a truth and a patient for each."""
    as_many(len(scores), truths=positive, patients=patients)
    finite(scores, "scores")


def chances_and_labels(chances: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    """Raises StatisticsError unless probabilities [N, classes] are finite, and labels [N] are indexes of a class."""
    as_many(len(chances), labels=labels)
    finite(chances, "probabilities")
    if len(labels) and not 0 <= labels.min() <= labels.max() < chances.shape[1]:
        raise StatisticsError(f"a label is not one of the {chances.shape[1]} classes")
