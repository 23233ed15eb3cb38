"""Calibration error beyond the called class, and how much of it few films show by chance.

`reliability.reliability` asks whether the most probable class comes true as often as stated. The service shows the
probability of every finding, and a network that says COVID-19 .05 where it is .01 may be right about its called class
all the same: so the same is asked here of each finding (classwise calibration error, Kull et al. 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.json_value import JsonValue
from model.stats.estimate import Estimate
from model.stats.reliability import BINS, membership
from model.stats.summaries import Labels, Probabilities, Weights, bootstrap

DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class ErrorByChance(JsonValue):
    """Calibration error that films would show if every probability were true."""

    mean: float
    high95: float
    """95 % of the draws are below."""


def error_by_finding(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over findings of the calibration error of each in bins of equal mass, 0..1; probabilities [N, findings]."""
    return round(float(_errors(_gaps(probabilities, labels), np.ones((1, len(labels))))[0]), 4)


def by_finding(probabilities: Probabilities, labels: Labels, patients: Sequence[str]) -> Estimate:
    """`error_by_finding` with its interval by bootstrap over patients, which leans to the high side."""
    gaps = _gaps(probabilities, labels)
    return Estimate(
        value=error_by_finding(probabilities, labels),
        interval95=bootstrap(lambda weights: _errors(gaps, weights), patients),
    )


def if_true(probabilities: Probabilities) -> ErrorByChance:
    """What `reliability`'s calibration error would be on so many films if every probability were true.

    It is above 0, because in a bin of n films the share that is right strays from its expectation by about 1 / sqrt(n)
    and the error adds up absolute values. A measured error under `high95` is no sign of wrong probabilities
    (consistency resampling, Broecker & Smith 2007). Films are drawn as independent.
    """
    confidence = probabilities.max(axis=1)
    shares = np.eye(BINS)[membership(confidence, BINS)]
    right = np.random.default_rng(0).random((DRAWS, len(confidence))) < confidence
    errors = np.abs((confidence - right) @ shares).sum(axis=1) / len(confidence)
    return ErrorByChance(mean=round(float(errors.mean()), 4), high95=round(float(np.quantile(errors, 0.95)), 4))


def _gaps(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """[findings, N, bins] probability minus truth, in the film's bin."""
    truth = np.eye(probabilities.shape[1])[labels]
    return np.stack(
        [
            (chances - true)[:, None] * np.eye(BINS)[membership(chances, BINS)]
            for chances, true in zip(probabilities.T, truth.T, strict=True)
        ]
    )


def _errors(gaps: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """[resamples]"""
    sums = np.abs(weights @ gaps).sum(axis=2)  # [findings, resamples]
    return np.asarray(sums.mean(axis=0) / weights.sum(axis=1))
