"""The interval of a mean that holds however often one looks.

For each candidate mean, gamblers who start with 1 bet that the values lie below it (or above it), each a constant share
of what may be bet. At the true mean no bet wins on average, so their mean capital ever reaches 2 / alpha with a chance
of at most alpha / 2 (Ville's inequality; Waudby-Smith & Ramdas 2024, J R Stat Soc B 86:1, "Estimating means of bounded
random variables by betting"). Candidates against which it was reached lie outside the interval. Of values in a fixed
range nothing else is asked: no normal approximation, no fixed number of films. Against the exact interval at a number
of films that was fixed before, it is wider: 43 films without an event are needed for a share below .10, instead of 36.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import floor, log

import numpy as np
from numpy.typing import NDArray

from model.errors import StatisticsError
from model.stats.estimate import Interval
from model.stats.usable import counts as check_counts
from model.stats.usable import finite

ALPHA = 0.05
STAKES = np.array([0.98, 0.85, 0.7, 0.5, 0.3, 0.15, 0.05])
"""Of the largest bet that cannot lose more than there is."""
WEIGHTS = STAKES / STAKES.sum()
"""How many gamblers bet each. Large bets tell soonest that a rare event is rare."""
STEPS = 30


def mean_interval(values: Sequence[float], *, most: float, alpha: float = ALPHA) -> Interval:
    """Of the mean of values that lie between -most and most, in an order that nobody chose by the values. Of no value
    it is -most to most. Raises StatisticsError of a value that is not finite or outside."""
    given = np.asarray(values, np.float64)
    finite(given, "values")
    if np.any(np.abs(given) > most):
        raise StatisticsError(f"a value lies outside {-most:g} to {most:g}")
    found, counts = np.unique(given, return_counts=True)
    low = -_upper(-found, counts, -most, most, alpha / 2)
    return _rounded(low, _upper(found, counts, -most, most, alpha / 2))


@lru_cache(maxsize=1 << 16)
def share_interval(successes: int, trials: int, alpha: float = ALPHA) -> Interval:
    """Of a share of films; 0 to 1 of none. Raises StatisticsError unless 0 <= successes <= trials."""
    check_counts(successes, trials)
    counts = np.array([trials - successes, successes])
    low = -_upper(np.array([0.0, -1.0]), counts, -1.0, 0.0, alpha / 2)
    return _rounded(low, _upper(np.array([0.0, 1.0]), counts, 0.0, 1.0, alpha / 2))


def _rounded(low: float, high: float) -> Interval:
    """To four digits, outwards."""
    return floor(low * 1e4) / 1e4 + 0.0, -floor(-high * 1e4) / 1e4 + 0.0


def _upper(values: NDArray[np.float64], counts: NDArray[np.int64], least: float, most: float, alpha: float) -> float:
    """The least candidate that is refuted by bets on lower values, as is every one above it."""
    films = counts.sum()
    if not films or values[counts > 0].min() >= most:
        return most
    low, high = float(values @ counts) / films, most  # nothing speaks against the observed mean
    low = max(low, least)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _log_capital(values, counts, middle, most) < -log(alpha):
            low = middle
        else:
            high = middle
    return high


def _log_capital(values: NDArray[np.float64], counts: NDArray[np.int64], mean: float, most: float) -> float:
    """Of all gamblers together, who bet that the values lie below `mean`."""
    bets = STAKES[:, None] / (most - mean)
    logs = np.log1p(bets * (mean - values)) @ counts
    return float(np.logaddexp.reduce(logs + np.log(WEIGHTS)))
