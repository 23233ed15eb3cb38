"""Exact binomial statistics in numpy alone, for what runs beside the service; a test compares them with SciPy's."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.stats.estimate import Interval, Proportion
from model.stats.usable import counts, shares

STEPS = 60
"""Halvings of 0..1: more than a float can tell apart."""


def interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a proportion, four digits; (0, 1) when nothing was tried.

    Time and memory grow with `trials`: 100,000 take a tenth of a second.

    Raises:
        StatisticsError: not 0 <= successes <= trials, or a level outside 0..1.
    """
    counts(successes, trials)
    shares([level], "level")
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    logs = _log_choose(trials)
    low, high = 0.0, 1.0
    if successes:  # the least p that gives so many or more often enough
        low = _rising(lambda p: _sum(logs, p, successes, trials), tail)
    if successes < trials:  # the largest p that gives so many or fewer often enough
        high = _rising(lambda p: 1 - _sum(logs, p, 0, successes), 1 - tail)
    return round(low, 4), round(high, 4)


def proportion(successes: int, trials: int) -> Proportion:
    """A share with its interval, four digits; None as value when nothing was tried. Raises StatisticsError as
    `interval`."""
    return Proportion(
        value=round(successes / trials, 4) if trials else None, interval95=interval(successes, trials), n=trials
    )


def at_least(successes: int, trials: int, chance: float) -> float:
    """Probability of so many successes or more; 1 for 0 or fewer, 0 for more than there are trials.

    The lower Clopper-Pearson limit at level 1 - alpha is `chance` or more exactly where this is alpha or less.
    """
    if successes <= 0:
        return 1.0
    return _sum(_log_choose(trials), chance, successes, trials) if successes <= trials else 0.0


def least_successes(trials: int, chance: float, alpha: float) -> int | None:
    """The fewest successes that are so many or more with a probability of at most `alpha`; None where all trials are
    not enough."""
    counts = np.arange(trials + 1)
    if not 0 < chance < 1:
        return next((int(count) for count in counts if at_least(int(count), trials, chance) <= alpha), None)
    each = np.exp(_log_choose(trials) + counts * np.log(chance) + counts[::-1] * np.log1p(-chance))
    beyond = np.cumsum(each[::-1])[::-1]  # falls along the counts
    found = np.flatnonzero(beyond <= alpha)
    return int(found[0]) if found.size else None


def sign_test(first: int, second: int) -> float:
    """Two-sided p value of a fair coin that fell so often on each side; McNemar's exact test on discordant pairs.
    Raises StatisticsError where a count is below 0."""
    counts(first, first + second)
    trials = first + second
    if trials == 0:
        return 1.0
    return min(1.0, 2 * _sum(_log_choose(trials), 0.5, 0, min(first, second)))


def _log_choose(trials: int) -> NDArray[np.float64]:
    """log of (trials over k) for k = 0..trials."""
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    return np.asarray(factorials[-1] - factorials - factorials[::-1])


def _sum(logs: NDArray[np.float64], p: float, first: int, last: int) -> float:
    """Probability of first..last successes."""
    if p in (0.0, 1.0):
        sure = 0 if p == 0.0 else len(logs) - 1
        return float(first <= sure <= last)
    counts = np.arange(first, last + 1)
    failures = len(logs) - 1 - counts
    return float(np.exp(logs[first : last + 1] + counts * np.log(p) + failures * np.log1p(-p)).sum())


def _rising(function: Callable[[float], float], target: float) -> float:
    """Where a function that rises over 0..1 reaches the target."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if function(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
