"""Does a stated probability come true as often as stated? Calibration error, Brier score, log loss.

The calibration error that bins show is above 0 by chance alone, so it stands beside the one that chance does not
explain: see `model.stats.gaps`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from model.calibration import brier_scores, log_losses
from model.json_value import JsonValue
from model.stats.estimate import Estimate, Interval
from model.stats.gaps import beyond_chance
from model.stats.over_patients import bootstrap
from model.stats.summaries import Labels, Probabilities, four_digits
from model.stats.usable import as_many, chances_and_labels

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
    """Expected calibration error beyond what chance explains, 0..1; 0 where chance explains all of it."""
    ece_in_bins: float | None = None
    """The same as the bins show it, chance and all."""
    brier: float | None
    """Sum over classes of squared errors, 0..2."""
    log_loss: float | None
    """Nats."""
    films: int
    bins: tuple[ReliabilityBin, ...]
    """By rising confidence."""

    def as_dict(self) -> dict[str, Any]:
        """Files of an earlier release have no `ece_in_bins`: their `ece` is it."""
        found = super().as_dict()
        return {name: value for name, value in found.items() if name != "ece_in_bins" or value is not None}


@dataclass(frozen=True, kw_only=True)
class PatientReliability(Reliability):
    """With 95 % intervals over patients: of the calibration error by `model.stats.gaps`, of the rest by bootstrap."""

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


def reliability(
    probabilities: Probabilities, labels: Labels, patients: Sequence[str] | None = None, *, bins: int = BINS
) -> Reliability:
    """Does a stated probability come true as often as stated?

    Films are binned by the probability of their most probable class into bins of equal mass (Nguyen & O'Connor 2015);
    equally confident films share a bin, so the order of the films does not matter.

    Args:
        probabilities: [N, classes], rows summing to 1.
        labels: [N].
        patients: the patient of each film, [N]; None: each film has one of its own.
        bins: most bins.

    Raises:
        StatisticsError: a probability is not finite, or a label is no class.
    """
    return _measured(probabilities, labels, patients, bins)[0]


def patient_reliability(
    chances: NDArray[np.float64], labels: NDArray[np.int64], patients: Sequence[str]
) -> PatientReliability:
    """`reliability` with 95 % intervals over patients; each film has one."""
    found, interval = _measured(chances, labels, patients, BINS)
    return PatientReliability(
        **vars(found),
        ece_interval95=interval,
        brier_interval95=mean_interval(brier_scores(chances, labels), patients),
        log_loss_interval95=mean_interval(log_losses(chances, labels), patients),
    )


def log_loss_gain(before: Probabilities, after: Probabilities, labels: Labels, patients: Sequence[str]) -> Estimate:
    """By how much the log loss of the same films falls, nats, with its 95 % interval over patients; two losses that
    each have a wide interval may differ by little and surely. [N, classes] each, and [N]."""
    if not len(labels):
        return Estimate(value=None, interval95=None)
    gain = log_losses(before, labels) - log_losses(after, labels)
    return Estimate(value=four_digits(gain.mean()), interval95=mean_interval(gain, patients))


def membership(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """[N] bin of each film, 0..bins - 1: bins of equal mass, ties together."""
    middle = (rankdata(confidence) - 0.5) / len(confidence)
    return np.asarray(middle * min(bins, len(confidence)), np.int64)


def mean_interval(values: NDArray[np.float64], patients: Sequence[str]) -> Interval | None:
    return bootstrap(lambda weights: weights @ values / weights.sum(axis=1), patients)


def _measured(
    probabilities: Probabilities, labels: Labels, patients: Sequence[str] | None, bins: int
) -> tuple[Reliability, Interval | None]:
    """With the interval of the calibration error."""
    chances_and_labels(probabilities, labels)
    films = len(labels)
    as_many(films, patients=labels if patients is None else patients)
    if not films:
        return Reliability(ece=None, brier=None, log_loss=None, films=0, bins=()), None
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    of_bin = membership(confidence, bins)
    groups = [rows for rows in (np.flatnonzero(of_bin == index) for index in range(bins)) if len(rows)]
    if patients is None:  # named by what they are, so that the order of the films does not matter
        patients = np.argsort(np.lexsort((correct, confidence))).tolist()
    error = beyond_chance([(confidence - correct, of_bin)], patients)
    return Reliability(
        ece=error.value,
        ece_in_bins=error.in_bins,
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
    ), error.interval95
