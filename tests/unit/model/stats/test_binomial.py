"""SciPy says what is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from model.stats.binomial import interval, sign_test

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
