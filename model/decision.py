"""Probabilities to flags: a finding is flagged when its probability reaches its operating point."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold, with what was measured where it was chosen. Lives in the bundle; settings never hold a threshold."""

    finding: str
    threshold: float
    """Smallest probability that is flagged, 0..1."""
    sensitivity: float
    specificity: float
    positives: int
    negatives: int
    chosen_on: str
    """The split, and the rule."""
    id: str = ""
    """Its name, such as covid19@sensitivity-0.95; "" in bundles of schema 1."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(
    finding: str, scores: NDArray[np.float64], positive: NDArray[np.bool_], *, sensitivity: float, split: str
) -> OperatingPoint:
    """The highest threshold that still flags at least `sensitivity` of the positives.

    Args:
        scores: probability of the finding [N].
        positive: truth [N], with at least one True and one False.
    """
    ranked = np.sort(scores[positive])[::-1]
    needed = int(np.ceil(sensitivity * len(ranked)))
    threshold = float(np.floor(ranked[needed - 1] * 1e4) / 1e4)
    flagged = scores >= threshold
    return OperatingPoint(
        finding=finding,
        threshold=threshold,
        sensitivity=round(float(flagged[positive].mean()), 4),
        specificity=round(float((~flagged[~positive]).mean()), 4),
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        chosen_on=f"{split}: highest threshold with sensitivity >= {sensitivity}",
    )


def flags(probabilities: dict[str, float], points: tuple[OperatingPoint, ...]) -> tuple[str, ...]:
    """Findings whose probability reaches their operating point, in the bundle's order."""
    return tuple(point.finding for point in points if probabilities[point.finding] >= point.threshold)
