"""How well a probability is known: what the calibration films let one say of films with such a probability.

The promise: of all films with the stated probability p, the share with the finding lies in the interval, with 95 %
confidence for each p on its own. It asks one thing of the network: a film with a higher probability has the finding at
least as often. Then the films just below p have it no more often than those at p, so the exact lower bound of their
share is one for p; and the films just above give the upper bound. Nothing is averaged over unlike films, as bins do,
and no shape is fitted. Windows of two sizes are tried on either side, and the error is split between them. The films of
one patient weigh as much as one film.

Measured at 15 probabilities from .01 to .99, 200 samples each of 100, 200 and 400 films, a calibrated network and five
others (over- and underconfident, shifted, a step, a plateau): the probability that was covered least was covered in .98
of samples or more, and in 0 to .96 by bins of equal mass. Mean width .53, .43 and .35; of bins .41, .29 and .20, too
little. Venn-Abers bounds covered .22 to .76 on average, a spline of the logit .39 to .98, by the network's shape.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from model.calibration import Bin, Probabilities
from model.stats.summaries import Labels
from model.stats.usable import as_many, chances_and_labels

WINDOWS = (0.08, 0.25)
"""Of the films, on either side of a probability."""
FEWEST = 5
"""Films of a window."""
ERROR = 0.05
DIGITS = 9
"""Of a step's end."""
MERGED = 0.01
"""Steps that differ by no more, at either end, become one."""


def intervals(
    chances: Probabilities, labels: Labels, patients: Sequence[str], findings: tuple[str, ...]
) -> dict[str, tuple[Bin, ...]]:
    """Steps from probability 0 to 1, by finding: within a step the interval is the same, and neither end ever falls.

    Args:
        chances: [N, findings], calibrated.
        labels: [N]
        patients: the patient of each film, [N].

    Raises:
        StatisticsError: a probability is not finite, or a label is no finding.
    """
    chances_and_labels(chances, labels)
    as_many(len(labels), patients=patients)
    people = np.unique(np.asarray(patients), return_inverse=True)[1]
    return {name: _steps(chances[:, index], labels == index, people) for index, name in enumerate(findings)}


def _steps(chances: NDArray[np.float64], positive: NDArray[np.bool_], people: NDArray[np.int64]) -> tuple[Bin, ...]:
    """Between two films the bounds stay, so there is a step for each film; then alike ones become one."""
    if not len(chances):
        return (Bin(up_to=1.0, films=0, positives=0, interval95=(0.0, 1.0)),)
    order = np.argsort(chances, kind="stable")
    ranked, truth, people = chances[order].round(DIGITS), positive[order], people[order]
    ends, below, above = _cuts(ranked)
    low, high = _bounds(truth, people, below, above)
    # An end may not fall. It is made to rise by giving way, never by the better of two, which would cover less.
    low, high = np.minimum.accumulate(low[::-1])[::-1], np.maximum.accumulate(high)
    low, high = np.minimum(low, high), np.maximum(low, high)  # crossed: the network ranks the wrong way
    firsts = _firsts(low, high)
    found = []
    for first, step in zip(firsts, [*(following - 1 for following in firsts[1:]), len(ends) - 1], strict=True):
        begin = int(np.searchsorted(ranked, ends[first - 1], "right")) if first else 0
        end = int(np.searchsorted(ranked, ends[step], "right"))
        found.append(
            Bin(
                up_to=float(ends[step]),
                films=end - begin,
                positives=int(truth[begin:end].sum()),
                interval95=(_outward(low[first], -1), _outward(high[step], 1)),
            )
        )
    return tuple(found)


def _cuts(ranked: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The upper end of each step, how many films surely lie below or at all of it, and the first film surely above.

    A step reaches from one film to the next. Films that tie get one of their own, which may count them on both sides.
    """
    cuts: list[tuple[float, int, int]] = []
    values, firsts, counts = np.unique(ranked, return_index=True, return_counts=True)
    for value, first, count in zip(values.tolist(), firsts.tolist(), counts.tolist(), strict=True):
        just_below = round(value - 10**-DIGITS, DIGITS)
        if count > 1 and just_below > (cuts[-1][0] if cuts else -1):
            cuts.append((just_below, first, first))
        cuts.append((value, first + count if count > 1 else first, first))
    if cuts[-1][0] < 1:
        cuts.append((1.0, len(ranked), len(ranked)))
    ends, below, above = zip(*cuts, strict=True)
    return np.array(ends), np.array(below, np.int64), np.array(above, np.int64)


def _firsts(low: NDArray[np.float64], high: NDArray[np.float64]) -> list[int]:
    """The steps that are not alike to the one that they would be merged with."""
    found = [0]
    for step in range(1, len(low)):
        if low[step] > low[found[-1]] + MERGED or high[step] > high[found[-1]] + MERGED:
            found.append(step)
    return found


def _bounds(
    truth: NDArray[np.bool_], people: NDArray[np.int64], below: NDArray[np.int64], above: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each step: the best lower bound of the windows that end at rank `below`, the best upper one of those that
    begin at rank `above`."""
    films, tail = len(truth), ERROR / 2 / len(WINDOWS)
    low, high = np.zeros(len(below)), np.ones(len(above))
    for window in WINDOWS:
        size = max(FEWEST, round(window * films))
        hits, misses = _counts(truth, people, np.maximum(below - size, 0), below)
        low = np.maximum(low, np.where(hits > 0, beta.ppf(tail, np.maximum(hits, 1e-9), misses + 1), 0))
        hits, misses = _counts(truth, people, above, np.minimum(above + size, films))
        high = np.minimum(high, np.where(misses > 0, beta.isf(tail, hits + 1, np.maximum(misses, 1e-9)), 1))
    return low, high


def _counts(
    truth: NDArray[np.bool_], people: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Films with the finding in each window, and films without, each patient with the weight of one film."""
    sums, count = np.append(0, np.cumsum(truth)), _distinct(people, begins, ends)
    hits = count * (sums[ends] - sums[begins]) / np.maximum(ends - begins, 1)
    return hits, count - hits


def _distinct(people: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Patients with a film among the rows of each window. Neither begins nor ends may fall: the window slides."""
    if len(np.unique(people)) == len(people):
        return (ends - begins).astype(np.float64)
    inside, own, first, last, found = Counter[int](), people.tolist(), 0, 0, []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        inside.update(own[last:end])
        for person in own[first:begin]:
            inside[person] -= 1
            if not inside[person]:
                del inside[person]
        first, last = begin, end
        found.append(len(inside))
    return np.array(found, np.float64)


def _outward(bound: float, side: int) -> float:
    """Four digits, never towards the middle."""
    scaled = bound * 1e4
    return float(np.clip((np.floor(scaled + 1e-9) if side < 0 else np.ceil(scaled - 1e-9)) / 1e4, 0, 1))
