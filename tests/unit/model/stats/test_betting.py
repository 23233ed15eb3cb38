import numpy as np
import pytest

from model.stats.betting import ALPHA, mean_interval, share_interval
from model.stats.binomial import interval

RUNS, DAYS, A_DAY = 80, 60, 10


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_a_share_stays_in_its_interval_on_every_day(share: float) -> None:
    counts = np.random.default_rng(5).binomial(A_DAY, share, (RUNS, DAYS)).cumsum(axis=1)
    left, exact = 0, 0
    for run in counts:
        films = [(int(events), A_DAY * day) for day, events in enumerate(run, 1)]
        left += any(not _holds(share_interval(*seen), share) for seen in films)
        exact += any(not _holds(interval(*seen), share) for seen in films)
    assert left <= ALPHA * RUNS
    assert exact > 2 * ALPHA * RUNS  # an exact interval of one look does not


@pytest.mark.parametrize("mean", [0.0, 0.03])
def test_a_mean_difference_stays_in_its_interval_on_every_day(mean: float) -> None:
    values = np.random.default_rng(6).normal(mean, 0.15, (60, 40 * A_DAY)).clip(-1, 1)
    left = sum(
        any(
            not _holds(mean_interval(run[:films].tolist(), most=1), mean) for films in range(A_DAY, len(run), 2 * A_DAY)
        )
        for run in values
    )
    assert left <= ALPHA * len(values)


def test_edges() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)
    assert mean_interval([], most=1) == (-1.0, 1.0)
    low, high = share_interval(50, 50)
    assert (0.9 < low < 1, high) == (True, 1.0)
    assert share_interval(0, 50) == pytest.approx((0.0, 1 - low), abs=2e-4)
    low, high = mean_interval([1.0] * 50, most=1)
    assert (0.8 < low < 1, high) == (True, 1.0)


def test_more_films_narrow_it() -> None:
    widths = [high - low for low, high in (share_interval(films // 10, films) for films in (50, 200, 800))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.09


def _holds(found: tuple[float, float], value: float) -> bool:
    return found[0] <= value <= found[1]
