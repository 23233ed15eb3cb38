"""Probabilities to flags: a finding is flagged when its probability reaches its operating point."""

from dataclasses import asdict, dataclass
from typing import Any

SENSITIVITY, SPECIFICITY = "sensitivity", "specificity"


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
    """Finding, rate and value: covid19@sensitivity-0.95; "" in bundles of schema 1, as the next four are absent."""
    target: str = ""
    """The rate that it was chosen for: sensitivity or specificity."""
    target_value: float | None = None
    """What that rate was to be at least, 0..1."""
    sensitivity_interval95: tuple[float, float] | None = None
    """Clopper-Pearson, as the next."""
    specificity_interval95: tuple[float, float] | None = None

    @classmethod
    def read(cls, found: dict[str, Any]) -> "OperatingPoint":
        """From a manifest. Raises KeyError, TypeError or ValueError."""
        pairs = {
            name: (float(found[name][0]), float(found[name][1]))
            for name in ("sensitivity_interval95", "specificity_interval95")
            if found.get(name) is not None
        }
        return cls(**found | pairs)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def flags(probabilities: dict[str, float], points: tuple[OperatingPoint, ...]) -> tuple[str, ...]:
    """Findings whose probability reaches their operating point, in the bundle's order."""
    return tuple(point.finding for point in points if probabilities[point.finding] >= point.threshold)
