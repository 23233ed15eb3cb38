"""A result in words, for whoever reads the report as text."""

from datetime import datetime

from dicom_gateway.result import FilmResult, FindingResult, NotAnalysed, spoken

NOTICE = "Research. Not a medical device. Not for diagnosis. Made by a program; no person has verified it."
MOST_DIGITS = 4


def summary(result: FilmResult, at: datetime) -> str:
    """The outcome, such as "Flag raised: pneumonia. Unsure: the prediction set holds normal and pneumonia." """
    when = f"Time: {at:%Y-%m-%d %H:%M:%S} UTC" + (f"{at:%z}." if at.utcoffset() else ".")
    if result.not_analysed:
        return f"Not analysed: {_reason(result.not_analysed)}. No finding is said to be present or absent. {when}"
    return " ".join(filter(None, (_flags(result), _set(result), when)))


def of_finding(found: FindingResult) -> str:
    """Probability, interval, operating point and flag in a line."""
    digits = _digits(found)
    said = f"{spoken(found.name)}: probability {_percent(found.probability, digits)}"
    if found.interval:
        said += f" (95 % interval {_percent(found.interval[0], digits)} to {_percent(found.interval[1], digits)})"
    if found.operating_point is None:
        return f"{said}; it has no flag."
    said += f"; operating point {_percent(found.operating_point, digits)}"
    said += f", chosen for {found.chosen_for}" if found.chosen_for else ""
    return f"{said}; flag {'raised' if found.flag else 'not raised'}."


def of_note(note: NotAnalysed) -> str:
    return f"Analysed all the same, although: {_reason(note)}."


def _reason(reason: NotAnalysed) -> str:
    return f"{reason.words.rstrip('.')} ({reason.code})"


def _flags(result: FilmResult) -> str:
    """No flag is no finding's absence, and the words must not say so."""
    raised = [spoken(found.name) for found in result.findings if found.flag]
    if raised:
        return f"Flag raised: {_listed(raised)}."
    known = any(found.operating_point is not None for found in result.findings)
    return "No flag raised." if known else "No finding has a flag: probabilities only."


def _set(result: FilmResult) -> str:
    if result.prediction_set is None:
        return ""
    members = [spoken(name) for name in result.prediction_set]
    if result.unsure:
        return f"Unsure: the prediction set holds {_listed(members) if members else 'none of the findings'}."
    return f"The prediction set holds {members[0]} alone."


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _digits(found: FindingResult) -> int:
    """Digits behind the point: one, or as many as tell a probability from an operating point that is near."""
    for digits in range(1, MOST_DIGITS):
        if found.operating_point is None or found.probability == found.operating_point:
            return 1
        if _percent(found.probability, digits) != _percent(found.operating_point, digits):
            return digits
    return MOST_DIGITS


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"
