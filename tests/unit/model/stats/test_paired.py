"""The difference of two shares of the same films, against a search and where the answer is plain."""

import numpy as np
import pytest

from model.stats.paired import mean_gain, tango


def by_search(first: int, second: int, films: int) -> tuple[float, float]:
    """Every difference that the score test does not refute, the shares under it found on a grid by their likelihood."""
    kept = []
    for assumed in np.linspace(-0.999, 0.999, 1999):
        share = np.linspace(max(0, -assumed), (1 - assumed) / 2, 4001)[1:-1]  # of films that only the second gets right
        rest = films - first - second
        log_likelihood = (
            first * np.log(share + assumed) + second * np.log(share) + rest * np.log1p(-2 * share - assumed)
        )
        likeliest = share[log_likelihood.argmax()]
        variance = films * (2 * likeliest + assumed - assumed**2)
        if abs(first - second - films * assumed) <= 1.959964 * np.sqrt(variance):
            kept.append(assumed)
    return float(min(kept)), float(max(kept))


@pytest.mark.parametrize(("first", "second", "films"), [(12, 2, 50), (5, 5, 133), (30, 4, 60), (1, 0, 20), (20, 1, 22)])
def test_the_interval_is_what_the_score_test_does_not_refute(first: int, second: int, films: int) -> None:
    assert tango(first, second, films) == pytest.approx(by_search(first, second, films), abs=2e-3)
    low, high = tango(second, first, films)
    assert tango(first, second, films) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (30, 0), (0, 30)])
def test_none_and_all_have_an_interval_too(first: int, second: int) -> None:
    low, high = tango(first, second, 30)
    mean = (first - second) / 30
    assert -1 <= low <= mean <= high <= 1
    assert high - low > 0.1


def test_films_of_one_patient_say_less() -> None:
    gain = np.array([1.0, 1, 1, 0, 0, 0, 0, 0, 0, -1, -1, -1] * 5)
    alone = mean_gain(gain, [str(film) for film in range(60)], [np.arange(60)]).interval95
    thrice = mean_gain(gain, [str(film // 3) for film in range(60)], [np.arange(60)]).interval95
    assert alone
    assert thrice
    assert thrice[1] - thrice[0] > 1.5 * (alone[1] - alone[0])


def test_a_class_counts_as_much_as_another() -> None:
    gain = np.array([1.0] * 3 + [0.0] * 97)
    found = mean_gain(gain, [str(film) for film in range(100)], [np.arange(5), np.arange(5, 100)])
    assert found.value == 0.3
    assert found.interval95
    assert found.interval95[0] < 0.3 < found.interval95[1]


def test_without_films_there_is_no_difference() -> None:
    assert mean_gain(np.zeros(0), [], []).value is None
    assert mean_gain(np.zeros(0), [], [np.arange(0)]).interval95 is None
