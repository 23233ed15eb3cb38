"""How much each film of a training weighs, and how often it is drawn."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import FilmRow
from model.findings import REPORT_MINED
from model.training.recipe import TrainConfig

UNKNOWN = -1
"""Label of a film of which no finding is known."""
OFTEN = 4.0
"""To make the findings of its source equal, a film is drawn at most so many times as often as it weighs."""


def film_weight(film: FilmRow, config: TrainConfig) -> float:
    """What the recipe says of the film's source, and of its label if that was mined from a report."""
    by_source, mined = dict(config.source_weight), dict(config.mined_weight)
    return by_source.get(film.source, 1.0) * (mined.get(film.label, 1.0) if film.label_basis in REPORT_MINED else 1.0)


def class_weights(counts: Sequence[float], power: float) -> NDArray[np.float32]:
    """[findings], mean 1: (1 / share) to this power."""
    numbers = np.array(counts, float)
    weights = (numbers.sum() / numbers) ** power
    return np.asarray(weights / weights.mean(), np.float32)


def shares(labels: NDArray[np.int64], sources: Sequence[str], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of each film to be drawn, so that a film's source says little of its finding; they sum to 1.

    First, within a source with several findings each gets the same mass, as far as OFTEN allows. A source with one
    finding teaches that its look means this finding: such sources together get at most as much of it as those with
    several. Then each finding's mass is made the same, and that of films of UNKNOWN label, too. This undoes a part of
    the first step, because both together cannot be had: where all pneumonia is of two sources, as many normal films of
    these two are all the normal films that may be drawn.

    Args:
        labels: [N] index into the findings, or UNKNOWN.
        sources: [N]
        weights: [N] above 0.
    """
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, (source, label) in enumerate(zip(sources, labels.tolist(), strict=True)):
        cells[source, label].append(row)
    own = {cell: float(weights[rows].sum()) for cell, rows in cells.items()}
    findings = {source: [label for name, label in cells if name == source and label != UNKNOWN] for source, _ in cells}
    mass = dict(own)
    for source, label in cells:
        several = findings[source]
        if label != UNKNOWN and len(several) > 1:
            equal = sum(own[source, each] for each in several) / len(several)
            mass[source, label] = min(equal, OFTEN * own[source, label])
    chances = np.zeros(len(labels))
    for label in sorted({label for _, label in cells}):
        having = [cell for cell in cells if cell[1] == label]
        alone = [cell for cell in having if len(findings[cell[0]]) == 1]
        single, shared = sum(mass[cell] for cell in alone), sum(mass[cell] for cell in having if cell not in alone)
        for cell in alone:
            mass[cell] *= min(1.0, shared / single) if shared else 1.0
        total = sum(mass[cell] for cell in having)
        for cell in having:
            chances[cells[cell]] = weights[cells[cell]] / own[cell] * mass[cell] / total
    return np.asarray(chances / chances.sum())
