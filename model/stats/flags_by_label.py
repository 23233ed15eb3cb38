"""How an operating point flags the films that it was chosen on, label by label."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.decision import OperatingPoint, chance_of


def counted_by_label(
    points: Iterable[OperatingPoint],
    chances: NDArray[np.float64],
    labels: NDArray[np.int64],
    findings: tuple[str, ...],
) -> tuple[OperatingPoint, ...]:
    """The points with `flagged_by_label`; probabilities [N, findings], labels [N], of the films they were chosen on."""
    counted = []
    for point in points:
        flagged = chance_of(point.finding, chances, findings) >= point.threshold
        of_label = {name: labels == index for index, name in enumerate(findings)}
        counts = {name: (int(flagged[films].sum()), int(films.sum())) for name, films in of_label.items()}
        counted.append(replace(point, flagged_by_label=counts))
    return tuple(counted)
