"""Are targets kept on films of the same kind? Whole calibrations of drawn films, held against the true rates."""

from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from model.calibrating import fitting
from model.calibrating.cross_fit import Wish, fit_all
from model.calibrating.labelled_films import LabelledLogits
from model.decision import chance_of, truth_of
from model.findings import FINDINGS
from model.stats.thresholds import default_targets

COUNTS = (97, 69, 36)
"""Films of each finding, about as many as the shipped bundle was calibrated on."""
MEANS = np.array([[1.8, 0.0, 0.0], [0.0, 1.5, 0.45], [0.0, 0.6, 1.5]])
CALIBRATIONS = 150


def draw(random: np.random.Generator, counts: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    labels = np.repeat(np.arange(3), counts)
    return (MEANS[labels] + 1.2 * random.normal(size=(len(labels), 3))).astype(np.float32), labels


@pytest.mark.slow
def test_the_default_targets_are_kept_in_95_of_100_calibrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice of the method, the fit and the threshold all look at the same films. The rate that was on target on
    the films themselves, which is what a target meant before, is below it in about half of the calibrations. Of 1,500
    calibrations .036, .034 and .028 missed, and .584, .489 and .593 without the bound."""
    monkeypatch.setattr(fitting, "REPEATS", 1)  # of the choice between methods; it is asked 150 times here
    wish = Wish(targets=default_targets(FINDINGS))
    logits, labels = draw(np.random.default_rng(99), (10_000,) * 3)
    weights = np.array(COUNTS)[labels]
    missed: dict[str, int] = defaultdict(int)
    bold: dict[str, int] = defaultdict(int)
    for seed in range(CALIBRATIONS):
        own, truth = draw(np.random.default_rng(seed), COUNTS)
        patients = tuple(f"p{row}" for row in range(len(truth)))
        part = LabelledLogits(name="val", logits=own, labels=truth, patients=patients)
        fitted = fit_all(part, FINDINGS, wish)
        seen, chances = fitted.calibration.probabilities(own), fitted.calibration.probabilities(logits)
        for point, target in zip(fitted.points, wish.targets, strict=True):
            negative = ~truth_of(target.finding, labels, FINDINGS)
            scores = chance_of(target.finding, chances, FINDINGS)[negative]
            ranked = np.sort(chance_of(target.finding, seen, FINDINGS)[~truth_of(target.finding, truth, FINDINGS)])
            before = ranked[int(np.ceil(target.value * len(ranked) - 1e-9)) - 1]
            assert point.met
            missed[point.id] += np.average(scores < point.threshold, weights=weights[negative]) < target.value
            bold[point.id] += np.average(scores <= before, weights=weights[negative]) < target.value
    assert max(missed.values()) / CALIBRATIONS <= 0.08  # 5 %, and the noise of 150 calibrations
    assert sum(missed.values()) / (3 * CALIBRATIONS) <= 0.06
    assert min(bold.values()) / CALIBRATIONS > 0.4
