"""Exact binomial statistics with the standard library alone, so that the base install can say how sure a share is."""

import math
from typing import Any

FRACTIONS = 10_000
"""Most terms of the continued fraction; it needs about the square root of the trials."""
SMALLEST = 1e-300


def interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion; (0, 1) when nothing was tried. Four digits."""
    if trials == 0:
        return 0.0, 1.0
    tail, failures = (1 - level) / 2, trials - successes
    low = 0.0 if successes == 0 else _beta_quantile(tail, successes, failures + 1)
    high = 1.0 if failures == 0 else _beta_quantile(1 - tail, successes + 1, failures)
    return round(low, 4), round(high, 4)


def proportion(successes: int, trials: int) -> dict[str, Any]:
    """A share with its interval, JSON-ready; the value is None when nothing was tried."""
    return {
        "value": round(successes / trials, 4) if trials else None,
        "interval95": list(interval(successes, trials)),
        "n": trials,
    }


def sign_test(first_only: int, second_only: int) -> float:
    """McNemar's exact p: two-sided, over the films on which only one of two is right. 1 when there are none."""
    discordant, fewer = first_only + second_only, min(first_only, second_only)
    if 2 * fewer == discordant:
        return 1.0
    return round(2 * beta_cdf(0.5, discordant - fewer, fewer + 1), 4)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function, 0 < x < 1: the continued fraction of DLMF 8.17.22, by Lentz's method.

    For whole a and b it is the chance of at least `a` successes in a + b - 1 trials of chance x.
    """
    if x > (a + 1) / (a + b + 2):  # where the fraction converges fast
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    above, below = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = below
    for m in range(1, FRACTIONS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1 / _away_from_zero(1 + term * below)
            above = _away_from_zero(1 + term / above)
            fraction *= above * below
        if abs(above * below - 1) < 1e-14:
            break
    return front * fraction / a


def _beta_quantile(share: float, a: float, b: float) -> float:
    """Where `beta_cdf` reaches the share, by halving, to 1e-12."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if beta_cdf(middle, a, b) < share else (low, middle)
    return (low + high) / 2


def _away_from_zero(value: float) -> float:
    return value if abs(value) > SMALLEST else SMALLEST
