"""Numbers and values of the pages in words."""

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


def value_text(value: object) -> str:
    """A value of a manifest in one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {value_text(entry)}" for key, entry in value.items())
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)
