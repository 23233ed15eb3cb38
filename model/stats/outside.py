"""Are too many films unlike all that the reference holds? The few that go wrong beside many that did not.

A distribution hardly moves when one film in ten is grossly wrong: ten in a hundred raised a drift alarm by
`model.stats.shift` in none of 150 simulated nights. So the films are counted that lie outside the middle 99 % of the
reference. How many do so by chance is known exactly, whatever the distribution: of m films and a reference of N, cut at
its r-th lowest and r-th highest value, the count is beta-binomial(m, 2r, N + 1 - 2r) (Wilks 1941, "Determination of
sample sizes for setting tolerance limits"). That has the uncertainty of a small reference in it. Films that tie with a
cut are inside, which makes the chance smaller still.
"""

from dataclasses import dataclass

import numpy as np

from model.errors import StatisticsError
from model.stats.shift import Values, two_samples

SHARE = 0.01
"""Of the reference outside its usual range, on both sides together; with few films at least one on each side."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Films of a sample outside the usual range of their reference."""

    low: float
    high: float
    """The usual range; its ends are inside."""
    films: int
    share: float
    """Of the sample."""
    share_by_chance: float
    """Its mean if the sample is of the same distribution."""
    p: float
    """Chance of so many or more, then."""

    @property
    def excess(self) -> float:
        return self.share - self.share_by_chance


def count(reference: Values, sample: Values) -> Outside:
    """Two samples of one measure, in any order; the reference [N >= 2], the sample [N >= 1].

    Raises:
        StatisticsError: fewer values, or one that is not finite.
    """
    two_samples(reference, sample)
    if len(reference) < 2:
        raise StatisticsError("a reference of one film has no range")
    ordered = np.sort(reference)
    cut = max(1, int(len(ordered) * SHARE / 2))
    low, high = float(ordered[cut - 1]), float(ordered[-cut])
    films = int(((sample < low) | (sample > high)).sum())
    return Outside(
        low=low,
        high=high,
        films=films,
        share=films / len(sample),
        share_by_chance=2 * cut / (len(ordered) + 1),
        p=_or_more(films, len(sample), 2 * cut, len(ordered) + 1 - 2 * cut),
    )


def _or_more(films: int, trials: int, a: int, b: int) -> float:
    """Chance of so many or more under beta-binomial(trials, a, b), of whole a and b: sums of products of factorials."""
    if films == 0:
        return 1.0
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + a + b + 1)))])  # of n!, n = 0, 1, ...
    counts = np.arange(films, trials + 1)
    ways = logs[trials] - logs[counts] - logs[trials - counts]
    beta = logs[counts + a - 1] + logs[trials - counts + b - 1] - logs[trials + a + b - 1]
    return min(1.0, float(np.exp(ways + beta - (logs[a - 1] + logs[b - 1] - logs[a + b - 1])).sum()))
