"""Numbers and values of the pages in words."""

from model.decision import SPECIFICITY, OperatingPoint
from model.stats.estimate import Estimate


def estimate_text(estimate: Estimate | None, digits: int = 2) -> str:
    """0.609 [0.52, 0.69]

    Args:
        digits: of the interval; 3 where it lies near 0 or 1.
    """
    if estimate is None or estimate.value is None:
        return "–"
    bounds = estimate.interval95
    return f"{estimate.value:.3f}" + (f" [{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]" if bounds else "")


def number_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def point_text(point: OperatingPoint) -> str:
    """What a flag promises, in words."""
    asked = f"chosen on {point.chosen_on}"
    if point.target_value is not None:
        share = f"at least {100 * point.target_value:g} % of the films"
        asked = f"chosen to flag {share} with it"
        if point.target == SPECIFICITY:
            asked = f"chosen to leave {share} without it unflagged"
    hits, alarms = point.sensitivity * point.positives, (1 - point.specificity) * point.negatives
    return (
        f"{point.finding} is flagged from a probability of {point.threshold:.4f} on, {asked}. There it flagged "
        f"{hits:.0f} of {point.positives} films with it, and {alarms:.0f} of {point.negatives} without it."
    )


def value_text(value: object) -> str:
    """A value of a manifest in one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {value_text(entry)}" for key, entry in value.items())
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)
