"""Numbers and values of the pages in words."""

from model.decision import SPECIFICITY, OperatingPoint
from model.findings import spoken_findings
from model.stats.estimate import Estimate
from model.stats.operating_points import fewest_patients

USELESS = "up no more often on films with the finding than on films without it, so it tells nothing"


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
        share = f"at least {100 * point.target_value:g} % of the films that it should"
        asked = f"chosen to flag {share}"
        if point.target == SPECIFICITY:
            asked = f"chosen to leave out {share} not flag"
    hits, alarms = point.sensitivity * point.positives, (1 - point.specificity) * point.negatives
    kept = "" if point.bound is None else f" With 95 % confidence that share is {point.bound:.3f} or more."
    return (
        f"The flag {spoken_findings([point.finding])} is up from a probability of {point.threshold:.4f} on, {asked}. "
        f"There it flagged {hits:.0f} of {point.positives} films that it should, and {alarms:.0f} of {point.negatives} "
        f"others.{kept}{' The target is NOT MET.' if point.met is False else ''}"
        f"{' It is ' + USELESS + '.' if tells_nothing(point) else ''}"
    )


def tells_nothing(point: OperatingPoint) -> bool:
    """Whether the flag is up no more often with the finding than without it, on the films it was chosen on."""
    hits, alarms = (
        round(point.sensitivity * point.positives),
        point.negatives - round(point.specificity * point.negatives),
    )
    return hits * point.negatives <= alarms * point.positives


def value_text(value: object) -> str:
    """A value of a manifest in one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {value_text(entry)}" for key, entry in value.items())
    return ", ".join(str(entry) for entry in value) if isinstance(value, list) else str(value)


def promise_text(point: OperatingPoint) -> str:
    """What an operating point was to keep, and whether it does with 95 % confidence; and if its flag tells nothing."""
    return _promised(point) + (f"; the flag is {USELESS}" if tells_nothing(point) else "")


def _promised(point: OperatingPoint) -> str:
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
