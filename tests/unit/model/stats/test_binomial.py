"""SciPy says what is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from model.stats.binomial import at_least, interval, least_successes, sign_test

COUNTS = st.integers(0, 400).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(counts=COUNTS, level=st.sampled_from((0.8, 0.95, 0.99)))
def test_the_interval_is_clopper_and_pearsons(counts: tuple[int, int], level: float) -> None:
    successes, trials = counts
    if trials == 0:
        assert interval(0, 0, level) == (0.0, 1.0)
        return
    theirs = binomtest(successes, trials).proportion_ci(level, method="exact")
    assert interval(successes, trials, level) == pytest.approx((theirs.low, theirs.high), abs=5.1e-5)


@pytest.mark.parametrize("successes", [0, 1, 37, 99_999, 100_000])
def test_a_hundred_thousand_films(successes: int) -> None:
    theirs = binomtest(successes, 100_000).proportion_ci(method="exact")
    assert interval(successes, 100_000) == pytest.approx((theirs.low, theirs.high), abs=5.1e-5)


@given(first=st.integers(0, 200), second=st.integers(0, 200))
def test_the_sign_test_is_the_exact_one(first: int, second: int) -> None:
    theirs = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert sign_test(first, second) == pytest.approx(theirs, rel=1e-9)


@given(counts=COUNTS, chance=st.sampled_from((0.0, 0.03, 0.41, 0.877, 1.0)))
def test_so_many_or_more(counts: tuple[int, int], chance: float) -> None:
    successes, trials = counts
    assert at_least(successes, trials, chance) == pytest.approx(binom.sf(successes - 1, trials, chance), abs=1e-9)
    assert at_least(trials + 1, trials, chance) == 0


@given(trials=st.integers(0, 400), chance=st.sampled_from((0.03, 0.41, 0.877)), alpha=st.sampled_from((0.025, 0.001)))
def test_the_fewest_that_are_enough(trials: int, chance: float, alpha: float) -> None:
    found = least_successes(trials, chance, alpha)
    if found is None:
        assert binom.sf(trials - 1, trials, chance) > alpha
    else:
        assert binom.sf(found - 1, trials, chance) <= alpha < binom.sf(found - 2, trials, chance)
