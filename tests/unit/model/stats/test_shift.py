"""PSI, the two-sample test and false discovery, beside values known by hand, SciPy's, and simulation."""

from collections.abc import Callable
from math import comb, log

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, ks_2samp

from model.stats import shift as drift
from model.stats.shift import binned, chance, compare, kolmogorov_smirnov, psi, q_values

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def counts(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def with_zeros(random: np.random.Generator, films: int) -> NDArray[np.float64]:
    """Like `clipped`: 0 for most films."""
    return np.where(random.random(films) < 0.6, 0.0, random.exponential(size=films))


def normal(random: np.random.Generator, films: int) -> NDArray[np.float64]:
    return random.normal(size=films)


def test_psi_by_hand() -> None:
    by_hand = 0.1 * log(0.6 / 0.5) + 0.1 * log(0.5 / 0.4)
    assert psi(counts(5e8, 5e8), counts(6e8, 4e8)) == pytest.approx(by_hand, abs=1e-6)
    assert psi(counts(30, 70), counts(3, 7)) == pytest.approx(0, abs=1e-12)


def test_an_empty_bin_counts_and_is_not_infinite() -> None:
    """Ten films each and three more, spread half and half: (10 + 1.5) / 13 and 1.5 / 13."""
    assert psi(counts(10, 0), counts(0, 10)) == pytest.approx(2 * (10 / 13) * log(11.5 / 1.5))


def test_bins_hold_a_tenth_of_the_reference_each() -> None:
    reference, sample = binned(np.arange(1000.0), np.arange(300.0))
    assert reference.tolist() == [100.0] * 10
    assert sample.tolist() == [100.0] * 3 + [0.0] * 7


def test_a_value_of_many_films_has_a_bin_of_its_own() -> None:
    reference = np.concatenate([np.zeros(600), np.linspace(0.1, 1, 400)])
    first, second = binned(reference, np.array([-1.0, 0.0, 0.0, 0.5]))
    assert first.tolist() == [0, 600, 100, 100, 100, 100]
    assert second.tolist() == [1, 2, 0, 1, 0, 0]
    constant = compare(np.zeros(500), np.full(100, -0.1))
    assert constant.psi > 5
    assert compare(np.zeros(500), np.zeros(100)).psi == 0


@pytest.mark.parametrize(("draw", "films"), [(normal, 50), (normal, 500), (with_zeros, 50), (with_zeros, 500)])
def test_what_chance_gives(draw: Draw, films: int) -> None:
    random = np.random.default_rng(3)
    pairs = [binned(draw(random, 500), draw(random, films)) for _ in range(600)]
    mean = np.mean([psi(*pair) for pair in pairs])
    expected = np.mean([chance(*pair) for pair in pairs])
    assert mean == pytest.approx(expected, rel=0.15)


def test_chance_alone_goes_beyond_the_usual_limit() -> None:
    """Why it is taken off: fifty films like the reference have a PSI of .2."""
    random = np.random.default_rng(4)
    found = compare(random.normal(size=500), random.normal(size=50))
    assert found.psi_by_chance == pytest.approx(9 * (1 / 500 + 1 / 50))
    assert found.psi_by_chance > 0.1


@pytest.mark.parametrize("films", [2, 3, 8, 20])
def test_two_samples_that_do_not_overlap(films: int) -> None:
    """Two orders of all choose(2n, n) have a distance of 1."""
    first = np.arange(films, dtype=float)
    assert kolmogorov_smirnov(first, first + 100) == pytest.approx(2 / comb(2 * films, films), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (5, 4), (30, 50), (500, 50), (500, 700)])
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_the_exact_p_value_is_scipys(n: int, m: int, shift: float) -> None:
    random = np.random.default_rng(n * m)
    first, second = random.normal(size=n), random.normal(shift, 1, size=m)
    expected = ks_2samp(first, second, method="exact").pvalue
    assert kolmogorov_smirnov(first, second) == pytest.approx(expected, rel=1e-12)
    assert kolmogorov_smirnov(second, first) == pytest.approx(expected, rel=1e-12)


def test_small_p_values_keep_their_digits() -> None:
    first = np.arange(500.0)
    assert kolmogorov_smirnov(first, first[:60] + 1000) == pytest.approx(2 / comb(560, 60), rel=1e-9)


@pytest.mark.parametrize("scaled", [1.0, 1.6, 2.2, 2.6])
def test_the_limit_is_larger_than_the_exact_value(scaled: float, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    first = random.normal(size=500)
    second = np.quantile(first, (np.arange(1200) + 0.5) / 1200) + scaled * 0.13
    limit = kolmogorov_smirnov(first, second)
    monkeypatch.setattr(drift, "EXACT_FILMS", 10_000)
    exact = kolmogorov_smirnov(first, second)
    assert exact < limit < 2 * exact


@pytest.mark.parametrize(("draw", "low", "high"), [(normal, 0.03, 0.07), (with_zeros, 0.005, 0.05)])
def test_p_values_while_nothing_moves(draw: Draw, low: float, high: float) -> None:
    """About .05 of them are .05 or less; with ties fewer."""
    random = np.random.default_rng(6)
    found = np.array([kolmogorov_smirnov(draw(random, 200), draw(random, 60)) for _ in range(500)])
    assert low < (found <= 0.05).mean() < high


@pytest.mark.parametrize("seed", range(5))
def test_breaking_ties_makes_the_p_value_smaller(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = with_zeros(random, 300), with_zeros(random, 80)
    broken = [values + random.random(len(values)) * 1e-9 for values in (first, second)]
    assert kolmogorov_smirnov(*broken) <= kolmogorov_smirnov(first, second)


def test_q_values_by_hand() -> None:
    assert q_values([0.04, 0.01, 0.5, 0.02]) == pytest.approx([0.16 / 3, 0.04, 0.5, 0.04])
    assert q_values([]) == []
    random = np.random.default_rng(7).random(40) ** 3
    assert q_values(list(random)) == pytest.approx(list(false_discovery_control(random)))
