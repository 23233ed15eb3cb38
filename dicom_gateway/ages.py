"""A patient's age at the film, from Patient's Age and from dates as real files write them.

A child must not pass as unknown. So each value that can be read counts, and where two contradict each other, or one is
not exact, the younger age counts. But 0 years beside a birth date is an age that nobody filled in, and does not count.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import date

YEARS_PER_UNIT = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
UNITS = {
    word: YEARS_PER_UNIT[unit]
    for unit, words in {
        "D": "D DY DAY DAYS",
        "W": "W WK WKS WEEK WEEKS",
        "M": "M MO MOS MON MTH MTHS MONTH MONTHS",
        "Y": "Y YR YRS YEAR YEARS YO J JAHR JAHRE A AN ANS ANO ANOS",
    }.items()
    for word in words.split()
}
"""PS3.5 6.2 knows D, W, M and Y alone. No unit, or one that is not known, are years: no unit is longer."""
OLDEST = 130.0
"""Years. Above it an age is none: 999Y, a birth date of 1800."""
CLOCK_NEVER_SET = frozenset({date(1900, 1, 1), date(1970, 1, 1), date(1980, 1, 1)})
"""Dates of a film that are none: they make an adult a child."""
AGREE_YEARS = 2
"""Dates of one film that lie so close together agree. A lost clock starts again at 1 January, years before them."""
ZONE_DAYS = 2
"""So many days may a film lie before a birth: dates have no time zone. The newborn is a child all the same."""

PART = re.compile(r"(\d+(?:[.,]\d+)?)\s*([A-Z]*)")
UNIT_FIRST = re.compile(r"([A-Z]+)\s*(\d+)\W*")
YEAR_FIRST = re.compile(r"\D*((?:1[89]|20)\d\d)(?:[.\-/ ]?(\d\d?)(?:[.\-/ ]?(\d\d?)|(?!\d))|(?!\d))")
YEAR_LAST = re.compile(r"\D*(\d\d?)[.\-/ ]?(\d\d?)[.\-/ ]?((?:19|20)\d\d)(?!\d)")


def age_at_film(ages: Sequence[str], births: Sequence[str], films: Iterable[str], received: date) -> float | None:
    """Years, or None when nothing tells.

    Args:
        ages: values of Patient's Age (0010,1010), as sent.
        births: of Patient's Birth Date (0010,0030).
        films: dates of the film, in any attribute, DA or DT; the first is the Study Date, "" when missing.
        received: the latest day on which the film can have been made.
    """
    patient_ages = [(age, years) for age in ages if (years := stated_age(age)) is not None]
    days = _film_days(tuple(films))
    by_dates: list[float] = []
    for born in (read_date(text, last=True) for text in births):
        if born:
            found = (_between(born, day) for day in (*days, received))
            by_dates += [years for years in found if years is not None and years <= OLDEST]
    stated = [years for age, years in patient_ages if years <= OLDEST and not (by_dates and _is_zero_years(age))]
    return min((*stated, *by_dates), default=None)


def _film_days(films: Sequence[str]) -> list[date]:
    """Days on which the film may have been made.

    A console's clock that was reset tells 1 January of an early year. Such a day is left out where the Study Date,
    which is the information system's, lies years behind it, and every other date agrees with the Study Date. One other
    early day, and all of them stay: then the film may be old, and the study that it is filed under new.
    """
    days = {text: day for text in films if (day := read_date(text, last=False)) and day not in CLOCK_NEVER_SET}
    study = days.get(films[0]) if films else None
    if study is None:
        return list(days.values())
    agreeing = {text: day for text, day in days.items() if abs(day - study).days <= AGREE_YEARS * 365}
    reset = {text for text, day in days.items() if day < study and _is_first_january(text)} - set(agreeing)
    return list((agreeing if len(agreeing) + len(reset) == len(days) else days).values())


def _is_first_january(text: str) -> bool:
    """It tells month and day, unlike "2000"."""
    day = read_date(text, last=True)
    return day is not None and (day.month, day.day) == (1, 1)


def stated_age(text: str) -> float | None:
    """Years of a Patient's Age such as 045Y, 7 yr, Y045, 45, 18MO or 1Y6M; None for what is no age."""
    parts = _parts(text)
    return round(sum(number * years for number, years in parts), 2) if parts else None


def _is_zero_years(text: str) -> bool:
    """000Y, which consoles write for an age that they do not know. Days, weeks and months are counted of newborns."""
    return all((number, years) == (0, 1) for number, years in _parts(text))


def _parts(text: str) -> list[tuple[float, float]]:
    """Numbers, and the years that each is a count of."""
    plain = text.upper()
    if re.search(r"-\s*\d", plain):  # below zero, or a range
        return []
    unit_first = UNIT_FIRST.fullmatch(plain.strip())
    parts = [(unit_first[2], unit_first[1])] if unit_first else PART.findall(plain)
    return [(float(number.replace(",", ".")), UNITS.get(unit, 1.0)) for number, unit in parts]


def read_date(text: str, *, last: bool) -> date | None:
    """The first day of a DA or DT value, also with separators, a time or the year at the end; None for no date.

    Args:
        last: what is not told (day, month, which of two numbers is the month) is the latest possible; else the first.
    """
    if (match := YEAR_FIRST.match(text)) and (day := _day(int(match[1]), int(match[2] or 0), int(match[3] or 0), last)):
        return day
    if match := YEAR_LAST.match(text):
        first, second, year = (int(part) for part in match.groups())
        days = [day for day in (_day(year, second, first, last), _day(year, first, second, last)) if day]
        return (max if last else min)(days) if days else None
    return None


def _day(year: int, month: int, day: int, last: bool) -> date | None:
    if not month:
        month, day = (12, 31) if last else (1, 1)
    try:
        return date(year, month, day or (monthrange(year, month)[1] if last else 1))
    except ValueError:  # monthrange's own is one too
        return None


def _between(born: date, day: date) -> float | None:
    """Completed years and the part of a year since; the day before a birthday is not rounded up to it."""
    if day < born:
        return 0.0 if (born - day).days <= ZONE_DAYS else None
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    since = day.toordinal() - _birthday(born, born.year + years).toordinal()
    return years + min(round(since / 365.25, 2), 0.99)


def _birthday(born: date, year: int) -> date:
    """In another year; of 29 February, 1 March where there is none."""
    try:
        return born.replace(year=year)
    except ValueError:
        return date(year, 3, 1)
