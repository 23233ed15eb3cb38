"""Calibration error beyond the called class, and how much of it few films show by chance.

`reliability.reliability` asks whether the most probable class comes true as often as stated. The service shows the
probability of every finding, and a network that says COVID-19 .05 where it is .01 may be right about its called class
all the same: so the same is asked here of each finding (classwise calibration error, Kull et al. 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.json_value import JsonValue
from model.stats.estimate import Estimate
from model.stats.gaps import Column, beyond_chance
from model.stats.reliability import BINS, membership
from model.stats.summaries import Labels, Probabilities
from model.stats.usable import as_many, chances_and_labels, finite, some_films

DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class ErrorByChance(JsonValue):
    """Calibration error that films would show if every probability were true."""

    mean: float
    high95: float
    """95 % of the draws are below."""


def error_by_finding(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over findings of the calibration error of each as bins of equal mass show it, chance and all, 0..1.

    Probabilities [N, findings]. Raises StatisticsError without films, and as of `usable.chances_and_labels`.
    """
    chances_and_labels(probabilities, labels)
    some_films(len(labels))
    return beyond_chance(_columns(probabilities, labels), [""] * len(labels)).in_bins


def by_finding(probabilities: Probabilities, labels: Labels, patients: Sequence[str]) -> Estimate:
    """The same beyond what chance explains, with its interval over patients; None without films."""
    chances_and_labels(probabilities, labels)
    as_many(len(labels), patients=patients)
    if not len(labels):
        return Estimate(value=None, interval95=None)
    found = beyond_chance(_columns(probabilities, labels), patients)
    return Estimate(value=found.value, interval95=found.interval95)


def if_true(probabilities: Probabilities) -> ErrorByChance:
    """What `reliability` would show in bins on so many films if every probability were true.

    It is above 0, because in a bin of n films the share that is right strays from its expectation by about 1 / sqrt(n)
    and the error adds up absolute values. A measured error under `high95` is no sign of wrong probabilities
    (consistency resampling, Broecker & Smith 2007). Films are drawn as independent.
    """
    finite(probabilities, "probabilities")
    if not len(probabilities):
        return ErrorByChance(mean=0.0, high95=0.0)
    confidence = probabilities.max(axis=1)
    shares = np.eye(BINS)[membership(confidence, BINS)]
    right = np.random.default_rng(0).random((DRAWS, len(confidence))) < confidence
    errors = np.abs((confidence - right) @ shares).sum(axis=1) / len(confidence)
    return ErrorByChance(mean=round(float(errors.mean()), 4), high95=round(float(np.quantile(errors, 0.95)), 4))


def _columns(probabilities: Probabilities, labels: Labels) -> list[Column]:
    """Of each finding: its probability less the truth, and the film's bin."""
    truth = np.eye(probabilities.shape[1])[labels]
    return [(chances - true, membership(chances, BINS)) for chances, true in zip(probabilities.T, truth.T, strict=True)]
