"""Films outside the usual range of their reference: the count, its exact chance, and no more alarms than are said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from model.stats.outside import count
from model.stats.shift import compare


@given(reference=st.integers(2, 900), sample=st.integers(1, 300), wrong=st.floats(0, 1))
def test_the_chance_is_the_beta_binomials(reference: int, sample: int, wrong: float) -> None:
    films = round(wrong * sample)
    values = np.where(np.arange(sample) < films, 1e6, reference / 2)
    found = count(np.arange(reference, dtype=float), values)
    cut = max(1, reference // 200)
    assert (found.low, found.high) == (cut - 1, reference - cut)
    assert (found.films, found.share) == (films, films / sample)
    theirs = betabinom.sf(films - 1, sample, 2 * cut, reference + 1 - 2 * cut)
    assert found.p == pytest.approx(theirs, rel=1e-5, abs=1e-11)
    assert found.share_by_chance == pytest.approx(betabinom.mean(1, 2 * cut, reference + 1 - 2 * cut))


def test_ties_with_the_ends_are_inside() -> None:
    """`clipped` is 0 for most films."""
    zeros = np.zeros(300)
    assert count(zeros, zeros).p == 1
    assert (count(zeros, np.ones(10)).films, count(zeros, -np.ones(10)).films) == (10, 10)


@pytest.mark.parametrize("films", [100, 500])
def test_chance_alone_is_as_rare_as_it_says(films: int) -> None:
    random = np.random.default_rng(films)
    p = np.array([count(random.gamma(2, size=films), random.gamma(2, size=120)).p for _ in range(2000)])
    for level in (0.1, 0.05, 0.01):
        assert np.mean(p <= level) <= level + 2.5 * np.sqrt(level / 2000)


def test_ten_wrong_films_of_a_hundred_are_found_though_the_distribution_hardly_moves() -> None:
    """As one of 80 tests of a night at a false discovery rate of .001. Five wrong films are not: with a reference of
    500 and 100 films no test that looks at ranks alone can be so sure."""
    random = np.random.default_rng(3)
    found: dict[int, list[tuple[float, float]]] = {5: [], 10: []}
    for wrong, told in found.items():
        for _ in range(100):
            reference, sample = random.normal(size=500), random.normal(size=100)
            sample[:wrong] = random.choice([-9.0, 9.0], wrong)
            told.append((compare(reference, sample).p, count(reference, sample).p))
    moved, outside = np.mean(np.array(found[10]) <= 0.001 / 80, axis=0)
    assert (moved, outside) == (0, 1)
    assert np.mean(np.array(found[5])[:, 1] <= 0.005) > 0.9
