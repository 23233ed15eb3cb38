"""Has a distribution moved away from its reference? How far, beyond what chance moves it, and how surely.

* `psi`: the population stability index over ten bins of the reference (Lewis 1994, "An Introduction to Credit
  Scoring"; custom calls .1 a small and .25 a large shift). It says how far.
* `chance`: what two samples of one distribution give on average. With 500 and 50 films that is .2, so a bare limit of
  .1 would cry every night (Yurdakul & Naranjo 2020, "Statistical properties of the population stability index", J.
  Risk Model Validation 14(4)).
* `kolmogorov_smirnov`: the chance of a distance this large between two samples of one distribution. It says how surely.
* `q_values`: that, for many tests at once (Benjamini & Hochberg 1995, J. R. Statist. Soc. B 57:289).

All take the values as independent. Films of one patient are not: such tests find drift somewhat too often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from model.stats.usable import finite, shares, some_films

Values = NDArray[np.float64]

BINS = 10
PSEUDO_FILMS = 3.0  # then the mean under chance is within 15 % of `chance` from 50 films on, with ties or without
EXACT_FILMS = 1500
"""Up to so many values of both samples together the p-value is exact: a hundredth of a second."""
TERMS = 100


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A sample beside its reference."""

    psi: float
    psi_by_chance: float
    """Its mean if nothing moved."""
    p: float
    median: float
    reference_median: float

    @property
    def excess(self) -> float:
        """PSI beyond chance; below 0 where the samples are more alike than chance makes them."""
        return self.psi - self.psi_by_chance


def compare(reference: Values, sample: Values) -> Shift:
    """Two samples of one measure, each [N >= 1], in any order. Raises StatisticsError where one is empty, or a value is
    not finite."""
    two_samples(reference, sample)
    counts = binned(reference, sample)
    return Shift(
        psi=psi(*counts),
        psi_by_chance=chance(*counts),
        p=kolmogorov_smirnov(reference, sample),
        median=float(np.median(sample)),
        reference_median=float(np.median(reference)),
    )


def two_samples(reference: Values, sample: Values) -> None:
    """Raises StatisticsError unless both have values, all of them finite."""
    for values, name in ((reference, "reference values"), (sample, "values")):
        some_films(len(values))
        finite(values, name)


def binned(reference: Values, sample: Values) -> tuple[Values, Values]:
    """Counts of both in bins between the reference's deciles, [bins]; bins that are empty in both are left out.

    A value that spans several deciles, such as 0 of a share, gets a bin of its own, so there may be fewer bins.
    """
    deciles = np.quantile(reference, np.arange(1, BINS) / BINS, method="inverted_cdf")
    edges, times = np.unique(deciles, return_counts=True)
    edges = np.union1d(edges, np.nextafter(edges[times > 1], -np.inf))
    counts = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (reference, sample)]
    first, second = (films[counts[0] + counts[1] > 0].astype(np.float64) for films in counts)
    return first, second


def psi(reference: Values, sample: Values) -> float:
    """Sum of (p - q) ln(p / q) over bins, from counts.

    An empty bin would make it infinite. So each sample gets `PSEUDO_FILMS` more films, spread over the bins as both
    samples together are: of two that agree, PSI stays 0.
    """
    together = (reference + sample) / (reference.sum() + sample.sum())
    p, q = ((films + PSEUDO_FILMS * together) / (films.sum() + PSEUDO_FILMS) for films in (reference, sample))
    return float(((p - q) * np.log(p / q)).sum())


def chance(reference: Values, sample: Values) -> float:
    """Mean of `psi` when both come from one distribution: (bins - 1) (1/n + 1/m), from counts.

    To second order PSI is the sum of (p - q)^2 / p. A bin's share p varies by p (1 - p) / n in one sample and
    p (1 - p) / m in the other, so a bin adds (1 - p) (1/n + 1/m), and the shares sum to 1.
    """
    return float((len(reference) - 1) * (1 / reference.sum() + 1 / sample.sum()))


def kolmogorov_smirnov(first: Values, second: Values) -> float:
    """Two-sided p-value of the two-sample test: exact for `EXACT_FILMS`, else Kolmogorov's limit, which is practically
    larger: of 120 points one was smaller, by .05 %.

    The tests hold the exact value to `scipy.stats.ks_2samp(method="exact")`, to 1e-12 of it. SciPy itself would be
    needed for this alone where films are scored: 143 MB on disk, 1.5 to 2 s to import, 73 MB of memory.

    Ties make it conservative. Think of each value with a random fraction that breaks ties: the exact test looks at
    every point of the finer order, but the distance only at the ends of ties, so it can only be smaller than the one
    that the p-value is for (Noether 1963, Metrika 7:115).
    """
    n, m = len(first), len(second)
    distance = _distance(np.sort(first), np.sort(second))
    if n + m <= EXACT_FILMS:
        return _paths_outside(min(n, m), max(n, m), distance)
    return _kolmogorov(sqrt(n * m / (n + m)) * distance / (n * m))


def q_values(p: Sequence[float]) -> list[float]:
    """For each p-value the lowest false discovery rate at which it counts as a discovery, in the order given.

    The rate holds for independent tests, and for tests that depend as measures of the same films usually do
    (Benjamini & Yekutieli 2001, Ann. Statist. 29:1165). While nothing drifts, it is the chance of any alarm.

    Raises:
        StatisticsError: a p-value is not between 0 and 1.
    """
    shares(p, "p-value")
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(order), 0, -1)
    adjusted = np.minimum.accumulate(np.asarray(p, np.float64)[order] * len(order) / ranks)
    found = np.empty(len(order))
    found[order] = np.minimum(adjusted, 1.0)
    return [float(value) for value in found]


def _distance(first: Values, second: Values) -> int:
    """Largest difference of the distribution functions of two sorted samples, times n m: a whole number."""
    points = np.concatenate([first, second])
    below = [np.searchsorted(values, points, side="right") for values in (first, second)]
    return int(np.abs(below[0] * len(second) - below[1] * len(first)).max())


def _paths_outside(n: int, m: int, distance: int) -> float:
    """Share of the lattice paths from (0, 0) to (n, m) that ever reach |i m - j n| >= distance (Hodges 1958).

    Each path is an order of the two samples. One diagonal i + j at a time; `outside[i]` is the share of the paths to
    (i, j) that did. Sums of positive terms alone, so that small values keep their digits.
    """
    if distance == 0:
        return 1.0
    diagonals = np.arange(n + m + 1)
    # Inside is where |i (n + m) - diagonal n| < distance: a narrow band, the only part that is computed.
    lows = np.maximum(-((distance - 1 - diagonals * n) // (n + m)), np.maximum(0, diagonals - m))
    highs = np.minimum((distance - 1 + diagonals * n) // (n + m), np.minimum(n, diagonals))
    rows = np.arange(n + 1.0)
    outside = np.ones(n + 2)  # of row i at i + 1; the first is never used with a weight
    outside[1] = 0.0
    before = 0
    for diagonal, low, high in zip(range(1, n + m + 1), lows[1:].tolist(), highs[1:].tolist(), strict=True):
        i = rows[low : high + 1]
        new = (i * outside[low : high + 1] + (diagonal - i) * outside[low + 1 : high + 2]) / diagonal
        outside[before + 1 : low + 1] = 1.0
        outside[low + 1 : high + 2] = new
        before = low
    return min(1.0, float(outside[n + 1]))


def _kolmogorov(scaled: float) -> float:
    """Kolmogorov's limit distribution: the chance of a scaled distance at least so large."""
    if scaled < 0.2:  # below, the chance is 1 to twelve digits and the sum converges slowly
        return 1.0
    k = np.arange(1, TERMS)
    total = float((np.where(k % 2, 1.0, -1.0) * np.exp(-2.0 * (k * scaled) ** 2)).sum())
    return min(1.0, max(0.0, 2.0 * total))
