"""Does a stated probability come true as often as stated? Calibration error, Brier score, log loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from model.calibration import brier_scores, log_losses
from model.json_value import JsonValue
from model.stats.estimate import Estimate, Interval
from model.stats.summaries import Labels, Probabilities, Weights, bootstrap, four_digits, ratio

BINS = 10


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin(JsonValue):
    """Films that were called with about the same confidence."""

    confidence: float
    """Mean probability of the called class."""
    accuracy: float
    """Share that is right."""
    count: int


@dataclass(frozen=True, kw_only=True)
class Reliability(JsonValue):
    """None and no bins without films."""

    ece: float | None
    """Expected calibration error, 0..1."""
    brier: float | None
    """Sum over classes of squared errors, 0..2."""
    log_loss: float | None
    """Nats."""
    films: int
    bins: tuple[ReliabilityBin, ...]
    """By rising confidence."""


@dataclass(frozen=True, kw_only=True)
class PatientReliability(Reliability):
    """With 95 % intervals by bootstrap over patients."""

    ece_interval95: Interval | None
    brier_interval95: Interval | None
    log_loss_interval95: Interval | None

    @property
    def scores(self) -> tuple[Estimate, Estimate, Estimate]:
        """Calibration error, Brier score, log loss."""
        return (
            Estimate(value=self.ece, interval95=self.ece_interval95),
            Estimate(value=self.brier, interval95=self.brier_interval95),
            Estimate(value=self.log_loss, interval95=self.log_loss_interval95),
        )


def reliability(probabilities: Probabilities, labels: Labels, *, bins: int = BINS) -> Reliability:
    """Does a stated probability come true as often as stated?

    Films are binned by the probability of their most probable class into bins of equal mass (Nguyen & O'Connor 2015);
    equally confident films share a bin, so the order of the films does not matter.

    Args:
        probabilities: [N, classes], rows summing to 1.
        labels: [N].
        bins: most bins.
    """
    films = len(labels)
    if not films:
        return Reliability(ece=None, brier=None, log_loss=None, films=0, bins=())
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    of_bin = membership(confidence, bins)
    groups = [rows for rows in (np.flatnonzero(of_bin == index) for index in range(bins)) if len(rows)]
    gaps = [len(rows) * abs(confidence[rows].mean() - correct[rows].mean()) for rows in groups]
    return Reliability(
        ece=four_digits(sum(gaps) / films),
        brier=four_digits(brier_scores(probabilities, labels).mean()),
        log_loss=four_digits(log_losses(probabilities, labels).mean()),
        films=films,
        bins=tuple(
            ReliabilityBin(
                confidence=four_digits(confidence[rows].mean()),
                accuracy=four_digits(correct[rows].mean()),
                count=len(rows),
            )
            for rows in groups
        ),
    )


def calibration_error_interval(
    probabilities: Probabilities, labels: Labels, patients: Sequence[str]
) -> Interval | None:
    """95 % interval of `reliability`'s expected calibration error, by bootstrap over patients in the same bins.

    Resampling adds noise that an absolute difference counts as error, so the interval leans to the high side.
    """
    if not len(labels):
        return None
    confidence = probabilities.max(axis=1)
    gap = confidence - (probabilities.argmax(axis=1) == labels)
    shares = gap[:, None] * np.eye(BINS)[membership(confidence, BINS)]

    def error(weights: Weights) -> NDArray[np.float64]:
        return ratio(np.abs(weights @ shares).sum(axis=1), weights.sum(axis=1))

    return bootstrap(error, patients)


def membership(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """[N] bin of each film, 0..bins - 1: bins of equal mass, ties together."""
    middle = (rankdata(confidence) - 0.5) / len(confidence)
    return np.asarray(middle * min(bins, len(confidence)), np.int64)


def patient_reliability(
    chances: NDArray[np.float64], labels: NDArray[np.int64], patients: Sequence[str]
) -> PatientReliability:
    """`reliability` with 95 % intervals by bootstrap over patients; each film has one."""
    return PatientReliability(
        **vars(reliability(chances, labels)),
        ece_interval95=calibration_error_interval(chances, labels, patients),
        brier_interval95=mean_interval(brier_scores(chances, labels), patients),
        log_loss_interval95=mean_interval(log_losses(chances, labels), patients),
    )


def mean_interval(values: NDArray[np.float64], patients: Sequence[str]) -> Interval | None:
    return bootstrap(lambda weights: weights @ values / weights.sum(axis=1), patients)
