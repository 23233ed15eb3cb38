"""Intervals hold the truth as often as they say: small simulations, and what the plain bootstrap covered beside them.

With so few samples a coverage of .95 shows .90 or less in 3 of 100 runs; seeds are fixed, and the limits leave room.
`python -m tests.unit.model.stats.coverage` prints the whole table, with more samples.
"""

import numpy as np
import pytest

from tests.unit.model.stats import coverage


@pytest.mark.parametrize("network", coverage.NETWORKS)
@pytest.mark.parametrize("films", [pytest.param(100, marks=pytest.mark.slow), 400])
def test_the_interval_of_a_probability_holds_the_true_one_everywhere(network: str, films: int) -> None:
    random = np.random.default_rng(1)
    held = [
        [(found[:, 0] <= true) & (true <= found[:, 1]) for found in (before, after)]
        for true, before, after in coverage.of_probabilities(network, films, random, 60)
    ]
    before, after = np.mean(held, axis=0)
    assert after.min() >= 0.93
    if films == 400 and network != "a plateau":
        assert before.min() < 0.75


@pytest.mark.parametrize(("positives", "area"), [(10, 0.7), (10, 0.97), (15, 0.9), (15, 0.97), (40, 0.97)])
@pytest.mark.parametrize("per_patient", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_interval_of_auroc_holds_the_true_one(positives: int, area: float, per_patient: int) -> None:
    random = np.random.default_rng(positives)
    _, after = coverage.share(area, coverage.areas(positives, area, per_patient, random, 250))
    assert after >= 0.92


def test_the_percentile_bootstrap_of_a_high_auroc_does_not() -> None:
    before, after = coverage.share(0.97, coverage.areas(10, 0.97, 1, np.random.default_rng(0), 100))
    assert (before < 0.86, after >= 0.93) == (True, True)


@pytest.mark.parametrize("network", coverage.CALLS)
@pytest.mark.parametrize(("films", "per_patient"), [pytest.param(130, 1, marks=pytest.mark.slow), (300, 3)])
def test_the_interval_of_the_calibration_error_holds_the_true_one(network: str, films: int, per_patient: int) -> None:
    random = np.random.default_rng(2)
    bounds = coverage.errors(network, films, per_patient, random, 40)
    before, after = coverage.share(coverage.true_error(network), bounds)
    assert after >= 0.87
    if network == "calibrated":
        assert before == 0


@pytest.mark.parametrize(("recalls", "patients"), [((0.7, 0.7, 0.8), (10, 15, 75)), ((0.97, 0.97, 0.97), (15, 48, 54))])
def test_the_interval_of_balanced_accuracy_holds_the_true_one(
    recalls: tuple[float, ...], patients: tuple[int, ...]
) -> None:
    bounds = coverage.balanced(recalls, patients, np.random.default_rng(3), 60)
    _, after = coverage.share(float(np.mean(recalls)), bounds)
    assert after >= 0.9


@pytest.mark.parametrize("case", coverage.GAINS)
def test_the_interval_of_a_difference_holds_the_true_one(case: str) -> None:
    drawn = list(coverage.gains(case, np.random.default_rng(5), 300))
    for which, true in enumerate(coverage.true_gains(case)):
        before, after = coverage.share(true, (pair[which] for pair in drawn))
        assert after >= 0.9
        if case == "hardly differ":
            assert before < 0.92


def test_the_interval_of_average_precision_holds_the_true_one() -> None:
    true, bounds = coverage.precisions(10, 0.97, np.random.default_rng(4), 60)
    _, after = coverage.share(true, bounds)
    assert after >= 0.92
