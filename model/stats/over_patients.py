"""The bootstrap over patients, whose films are not independent, and intervals that come of it.

`bootstrap` takes the middle of the resamples, for differences and losses. `share_interval` takes their scatter alone,
for what lies between 0 and 1: there the resamples are skewed, and their middle covers too little. Covered of 200
samples, 15 patients in the smallest class: balanced accuracy of .92, .91 by the middle and .94 by the scatter; of .97,
.86 and .98; average precision of .88, .89 and 1. Of 10 patients, balanced accuracy of .92: .88 and .92.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student

from model.json_value import JsonValue
from model.stats.binomial import interval
from model.stats.estimate import Estimate, Interval
from model.stats.summaries import Labels, Probabilities, Summary, Weights, four_digits, ratio, summary
from model.stats.usable import as_many

Statistic = Callable[[Weights], NDArray[np.float64]]
"""Film weights [resamples, N] -> one value per resample; NaN where a resample leaves it undefined."""


RESAMPLES = 2000


DEFINED_SHARE = 0.9
"""Share of resamples that must define a statistic. A class held by k patients is missing from exp(-k) of them, so this
asks for three patients of each class that the statistic needs."""


@dataclass(frozen=True, kw_only=True)
class PatientIntervals(JsonValue):
    """95 % intervals over patients, by `share_interval`."""

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


def bootstrap(
    statistic: Statistic,
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Percentile interval of a statistic over patients drawn with replacement (Efron & Tibshirani 1993, ch. 13).

    Args:
        statistic: film weights [resamples, N], whole numbers, to one value per resample.
        patients: the patient of each film, [N].
        resamples: number of draws.
        seed: of the draws.
        level: share of the resamples inside the interval.

    Returns:
        (low, high), or None with fewer than two patients or too many undefined resamples (`DEFINED_SHARE`).
    """
    found = defined(statistic, patients, resamples=resamples, seed=seed)
    if found is None:
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return four_digits(low), four_digits(high)


def share_interval(
    statistic: Statistic, patients: Sequence[str], groups: Sequence[NDArray[Any]], *, level: float = 0.95
) -> Interval | None:
    """Interval of a statistic between 0 and 1, symmetric on the logit scale: its scatter over resamples times Student's
    quantile, with the patients of the smallest group less one.

    At 0 and at 1 nothing scatters: then the other end is the exact one of so many patients of the smallest group.

    Args:
        statistic: as of `bootstrap`.
        patients: the patient of each film, [N].
        groups: rows, or a mask, of the films of each class that the statistic needs.
        level: chance that it holds the true value, for samples that are large enough.

    Returns:
        (low, high), or None with fewer than two patients in a group or too many undefined resamples.
    """
    found = defined(statistic, patients)
    names = np.asarray(patients)
    fewest = min((len(np.unique(names[films])) for films in groups), default=0)
    if found is None or fewest < 2:
        return None
    value = float(statistic(np.ones((1, len(names))))[0])
    scatter = float(found.std())
    if scatter < 1e-9 or not 1e-9 < value < 1 - 1e-9:
        low, high = interval(fewest if value > 0.5 else 0, fewest, level)
        return min(low, four_digits(value)), max(high, four_digits(value))
    middle, reach = log(value / (1 - value)), float(student.ppf((1 + level) / 2, fewest - 1)) * scatter
    low, high = (expit(middle + side * reach / (value * (1 - value))) for side in (-1, 1))
    return four_digits(low), four_digits(high)


def defined(
    statistic: Statistic, patients: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64] | None:
    """Values of a statistic, those that are finite; None as of `bootstrap`."""
    found = resampled(statistic, patients, resamples=resamples, seed=seed)
    if found is None:
        return None
    found = found[np.isfinite(found)]
    return None if len(found) < DEFINED_SHARE * resamples else found


def resampled(
    statistic: Callable[[Weights], NDArray[np.float64]],
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """A statistic of each resample, [resamples, ...]; None with fewer than two patients.

    Films of one patient are drawn together, because they are not independent. Resamples come as weights rather than
    rows, so that a statistic computes them all at once: a film whose patient was drawn twice weighs 2. The order of the
    films does not matter.
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
    return np.concatenate(values)


def patient_summary(
    probabilities: Probabilities, labels: Labels, names: tuple[str, ...], patients: Sequence[str]
) -> PatientSummary:
    """`summary`, with intervals of accuracy and balanced accuracy over patients; patients [N], one of each film."""
    found = summary(probabilities, labels, names)
    as_many(len(labels), patients=patients)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    classes = [np.flatnonzero(labels == index) for index in np.unique(labels)]

    def accuracy(weights: Weights) -> NDArray[np.float64]:
        return ratio(weights @ correct, weights.sum(axis=1))

    def balanced_accuracy(weights: Weights) -> NDArray[np.float64]:
        recalls = [ratio(weights[:, rows] @ correct[rows], weights[:, rows].sum(axis=1)) for rows in classes]
        return np.asarray(np.mean(recalls, axis=0))

    return PatientSummary(
        **vars(found),
        bootstrap=PatientIntervals(
            accuracy=share_interval(accuracy, patients, [correct >= 0]),
            balanced_accuracy=share_interval(balanced_accuracy, patients, classes),
            patients=len(set(patients)),
            resamples=RESAMPLES,
        ),
    )
