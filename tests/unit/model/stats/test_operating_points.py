"""Operating points: for a sensitivity or a specificity, with exact intervals and the films that it would take."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from model.decision import OperatingPoint
from model.stats.binomial import interval, proportion
from model.stats.estimate import Estimate
from model.stats.operating_points import (
    HALF_WIDTH,
    Rates,
    choose_point,
    films_needed,
    predictive_values,
    rates,
    shortage,
)


@given(
    positives=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    negatives=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    specificity=st.sampled_from([0.5, 0.8, 0.9, 0.95]),
)
def test_a_specificity_is_reached_and_by_no_lower_threshold(
    positives: list[float], negatives: list[float], specificity: float
) -> None:
    scores = np.array(positives + negatives)
    truth = np.arange(len(scores)) < len(positives)
    point = choose_point("covid19", scores, truth, specificity=specificity, split="val")
    assert (scores[~truth] < point.threshold).mean() >= specificity
    assert (scores[~truth] < point.threshold - 1.01e-4).mean() < specificity
    assert point.specificity == pytest.approx((scores[~truth] < point.threshold).mean(), abs=6e-5)


def test_a_point_says_what_it_was_chosen_for_and_how_well_it_is_known() -> None:
    scores = np.concatenate([np.linspace(0.5, 0.9, 36), np.linspace(0, 0.55, 153)])
    truth = np.arange(189) < 36
    point = choose_point("covid19", scores, truth, sensitivity=0.95, split="val")
    assert (point.id, point.target, point.target_value) == ("covid19@sensitivity-0.95", "sensitivity", 0.95)
    assert point.sensitivity == 0.9722  # 35 of 36: 34 would be .944
    exact = binomtest(35, 36).proportion_ci(method="exact")
    assert point.sensitivity_interval95 == pytest.approx((exact.low, exact.high), abs=6e-5)
    unflagged = int((scores[~truth] < point.threshold).sum())
    assert point.specificity_interval95 == interval(unflagged, 153)
    assert OperatingPoint.read(point.as_dict()) == point
    found = rates(point, scores, truth)
    assert found == Rates(sensitivity=proportion(35, 36), specificity=proportion(unflagged, 153))


@pytest.mark.parametrize("count", [20, 40, 100])
def test_a_rate_of_whole_films_is_not_rounded_up(count: int) -> None:
    """0.95 x 20 is 19.0 in decimals and may be a little more in binary."""
    scores = np.concatenate([np.arange(1, count + 1) / (count + 1), [0.0]])
    point = choose_point("covid19", scores, np.arange(count + 1) < count, sensitivity=0.95, split="val")
    assert point.sensitivity == 0.95


def test_one_rate_and_only_one() -> None:
    scores, truth = np.array([0.1, 0.9]), np.array([False, True])
    with pytest.raises(ValueError, match="a sensitivity or a specificity"):
        choose_point("covid19", scores, truth, split="val")
    with pytest.raises(ValueError, match="a sensitivity or a specificity"):
        choose_point("covid19", scores, truth, sensitivity=0.9, specificity=0.9, split="val")


def test_a_point_of_schema_1_still_loads() -> None:
    old = {
        "finding": "covid19",
        "threshold": 0.1994,
        "sensitivity": 0.9167,
        "specificity": 0.9477,
        "positives": 36,
        "negatives": 153,
        "chosen_on": "val: highest threshold with sensitivity >= 0.9",
    }
    point = OperatingPoint.read(old)
    assert (point.id, point.target, point.target_value, point.sensitivity_interval95) == ("", "", None, None)


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.9, 0.95])
def test_films_needed_give_an_interval_narrow_enough(rate: float) -> None:
    needed = films_needed(rate)
    for count, enough in ((round(needed * 1.1), True), (round(needed * 0.8), False)):
        low, high = interval(round(rate * count), count)
        assert ((high - low) / 2 <= HALF_WIDTH + 0.002) == enough


def test_a_shortage_is_said_only_where_there_is_one() -> None:
    assert shortage(proportion(34, 36)) == films_needed(round(34 / 36, 4))
    assert shortage(proportion(950, 1000)) is None
    assert shortage(proportion(0, 0)) is None


def counted(hits: int, positives: int, quiet: int, negatives: int) -> Rates:
    """Rates of flags on films with and without the finding."""
    return Rates(sensitivity=proportion(hits, positives), specificity=proportion(quiet, negatives))


@pytest.mark.parametrize(
    ("films", "prevalence", "ppv", "npv"),
    [
        ((90, 100, 900, 1000), 0.01, 0.0833, 0.9989),  # .009 / (.009 + .099); .891 / (.891 + .001)
        ((90, 100, 900, 1000), 0.2, 0.6923, 0.973),
        ((30, 30, 100, 100), 0.05, 1.0, 1.0),
        ((0, 30, 90, 100), 0.05, 0.0, 0.9448),
        ((20, 20, 0, 20), 0.05, 0.05, None),  # every film is flagged: there is no film for an NPV
        ((0, 20, 20, 20), 0.05, None, 0.95),
        ((0, 0, 19, 20), 0.05, None, None),
        ((9, 10, 19, 20), 0.0, 0.0, 1.0),
        ((9, 10, 19, 20), 1.0, 1.0, 0.0),
    ],
)
def test_predictive_values_follow_bayes_rule(
    films: tuple[int, int, int, int], prevalence: float, ppv: float | None, npv: float | None
) -> None:
    found = predictive_values(counted(*films), prevalence)
    assert (found.ppv.value, found.npv.value) == (ppv, npv)
    for estimate in (found.ppv, found.npv):
        if estimate.value is None:
            assert estimate == Estimate(value=None, interval95=None)
        else:
            assert estimate.interval95 is not None
            low, high = estimate.interval95
            assert 0 <= low <= estimate.value <= high <= 1


@pytest.mark.parametrize("prevalence", [-0.1, 1.1, float("nan")])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(ValueError, match="prevalence"):
        predictive_values(counted(9, 10, 19, 20), prevalence)


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "positives", "negatives"),
    [(0.95, 0.9, 50, 200), (0.8, 0.95, 32, 70), (0.99, 0.99, 30, 100)],
)
def test_intervals_of_predictive_values_cover(
    sensitivity: float, specificity: float, positives: int, negatives: int
) -> None:
    random, share, exact = np.random.default_rng(0), 0.05, cache(proportion)
    truths = (
        share * sensitivity / (share * sensitivity + (1 - share) * (1 - specificity)),
        (1 - share) * specificity / ((1 - share) * specificity + share * (1 - sensitivity)),
    )
    draws = np.stack([random.binomial(positives, sensitivity, 1000), random.binomial(negatives, specificity, 1000)])
    held = np.zeros(2)
    for hits, quiet in draws.T.tolist():
        found = predictive_values(Rates(sensitivity=exact(hits, positives), specificity=exact(quiet, negatives)), share)
        for index, (estimate, truth) in enumerate(zip((found.ppv, found.npv), truths, strict=True)):
            assert estimate.interval95 is not None
            held[index] += estimate.interval95[0] - 5e-5 <= truth <= estimate.interval95[1] + 5e-5
    assert (held / 1000 >= 0.95).all()
