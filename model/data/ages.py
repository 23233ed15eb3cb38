"""The age that a table of films tells, and whether it is an adult's."""

import re

ADULT = 18.0
"""Years."""
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([DWMY]?)", re.IGNORECASE)
YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
"""Of each unit of DICOM's Age String (PS3.5, 6.2)."""


def years_of(text: str) -> float | None:
    """A number of years (58 or 58.0) or an Age String (058Y, 003M) in years; None for what is no age."""
    found = AGE.fullmatch(text.strip())
    return float(found[1]) * YEARS[found[2].upper()] if found else None


def is_adult(years: float | None, least: float = ADULT) -> bool:
    """Whether an age is `least` years or more. One that is not known passes."""
    return years is None or years >= least
