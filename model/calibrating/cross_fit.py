"""Fit probabilities, operating points and prediction sets together, and say of each film what it was not fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model import conformal
from model.calibrating.fitting import FOLDS, fit, splits
from model.calibrating.labelled_films import LabelledLogits, OperatingTarget
from model.calibration import Calibration
from model.conformal import Conformal
from model.decision import SENSITIVITY, OperatingPoint
from model.findings import negative_of
from model.stats.operating_points import choose_point

COVERAGE = 0.9
SENSITIVITY_TARGET = 0.95


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the calibration is to reach."""

    targets: tuple[OperatingTarget, ...]
    coverage: float = COVERAGE


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
    """[N, findings]"""
    flags: NDArray[np.bool_]
    """[N, operating points]"""
    sets: NDArray[np.bool_]
    """[N, findings], True where the finding is in the prediction set."""


def default_targets(findings: tuple[str, ...]) -> tuple[OperatingTarget, ...]:
    """Sensitivity .95 for each finding but the negative one."""
    return tuple(
        OperatingTarget(finding=name, rate=SENSITIVITY, value=SENSITIVITY_TARGET)
        for name in findings
        if name != negative_of(findings)
    )


def fit_all(part: LabelledLogits, findings: tuple[str, ...], wish: Wish) -> Fitted:
    calibration = fit(part.logits, part.labels, part.patients, findings)
    chances = calibration.probabilities(part.logits)
    points = tuple(
        choose_point(
            target.finding,
            chances[:, findings.index(target.finding)],
            part.labels == findings.index(target.finding),
            **{target.rate: target.value},
            split=part.name,
        )
        for target in wish.targets
    )
    sets = conformal.fit(chances, part.labels, findings, coverage=wish.coverage)
    return Fitted(calibration=calibration, points=points, conformal=sets)


def apply(fitted: Fitted, logits: NDArray[np.float32], findings: tuple[str, ...]) -> Predictions:
    chances = fitted.calibration.probabilities(logits)
    return Predictions(
        chances=chances,
        flags=np.stack(
            [chances[:, findings.index(point.finding)] >= point.threshold for point in fitted.points], axis=1
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
