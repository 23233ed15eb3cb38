"""Numbers and values of the pages in words."""

from model.decision import OperatingPoint
from model.stats.estimate import Estimate
from model.stats.operating_points import fewest_patients


def estimate_text(estimate: Estimate | None) -> str:
    """0.609 [0.52, 0.69]"""
    if estimate is None or estimate.value is None:
        return "–"
    bounds = estimate.interval95
    return f"{estimate.value:.3f}" + (f" [{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else "")


def number_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def value_text(value: object) -> str:
    """A value of a manifest in one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {value_text(entry)}" for key, entry in value.items())
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)


def promise_text(point: OperatingPoint) -> str:
    """What an operating point was to keep, and whether it does with 95 % confidence."""
    if not point.target:
        return "no target on record"
    wanted = f"{point.target} {point.target_value:g} or more"
    if point.bound is None:
        return f"{wanted}, without a bound"
    reached = f"{point.bound:.3f} with 95 % confidence, {point.patients} patients"
    if point.met:
        return f"{wanted}: met, {reached}"
    assert point.target_value is not None
    return f"{wanted}: NOT MET, {reached}; it takes {fewest_patients(point.target_value)} or more"
