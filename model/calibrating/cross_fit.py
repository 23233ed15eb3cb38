"""Fit probabilities, operating points and prediction sets together, and say of each film what it was not fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model import conformal
from model.calibrating.fitting import FOLDS, fit, splits
from model.calibrating.labelled_films import LabelledLogits
from model.calibration import Calibration, PriorShift
from model.conformal import Conformal
from model.decision import OperatingPoint, chance_of
from model.stats.thresholds import OperatingTarget, choose_points

COVERAGE = 0.9


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the calibration is to reach."""

    targets: tuple[OperatingTarget, ...]
    coverage: float = COVERAGE
    prevalence: Mapping[str, float] | None = None
    """Of each finding at the site, summing to 1; None: as in the films."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Everything that was fitted on some films."""

    calibration: Calibration
    points: tuple[OperatingPoint, ...]
    conformal: Conformal


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a calibration says of films. Row i of everything is the same film."""

    chances: NDArray[np.float64]
    """[N, findings], before a prior shift: as the films are mixed."""
    flags: NDArray[np.bool_]
    """[N, operating points]"""
    sets: NDArray[np.bool_]
    """[N, findings], True where the finding is in the prediction set."""


def fit_all(part: LabelledLogits, findings: tuple[str, ...], wish: Wish) -> Fitted:
    calibration = fit(part.logits, part.labels, part.patients, findings)
    if wish.prevalence:
        calibration = replace(calibration, prior_shift=prior_shift(part, findings, wish.prevalence))
    chances = calibration.at_films.probabilities(part.logits)
    sets = conformal.fit(chances, part.labels, findings, coverage=wish.coverage)
    points = choose_points(chances, part.labels, findings, wish.targets, patients=part.patients, split=part.name)
    return Fitted(calibration=calibration, points=points, conformal=sets)


def prior_shift(part: LabelledLogits, findings: tuple[str, ...], prevalence: Mapping[str, float]) -> PriorShift:
    """From the mix of the films to the site's."""
    return PriorShift(
        films={name: float((part.labels == index).mean()) for index, name in enumerate(findings)},
        site={name: prevalence[name] for name in findings},
    )


def apply(fitted: Fitted, logits: NDArray[np.float32], findings: tuple[str, ...]) -> Predictions:
    chances = fitted.calibration.at_films.probabilities(logits)
    return Predictions(
        chances=chances,
        flags=np.stack(
            [chance_of(point.finding, chances, findings) >= point.threshold for point in fitted.points], axis=1
        ),
        sets=chances >= np.array([fitted.conformal.limits[name] for name in findings]),
    )


def cross_fit(part: LabelledLogits, findings: tuple[str, ...], wish: Wish) -> Predictions:
    """What is said of each film by a calibration fitted on the other folds."""
    count = (len(part), len(findings))
    predictions = Predictions(
        chances=np.zeros(count), flags=np.zeros((len(part), len(wish.targets)), bool), sets=np.zeros(count, bool)
    )
    for others, held in splits(part.labels, part.patients, FOLDS, seed=0):
        own = apply(fit_all(part.take(others), findings, wish), part.logits[held], findings)
        predictions.chances[held], predictions.flags[held], predictions.sets[held] = own.chances, own.flags, own.sets
    return predictions
