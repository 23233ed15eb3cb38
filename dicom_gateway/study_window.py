"""Which studies a C-FIND asks for by Study Date and Study Time.

Range matching looks at the two for themselves (PS3.4 C.2.2.2.5): together they are one range only by extended
negotiation, which few peers take. So a window is whole days, or hours of one day, and never crosses midnight.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

DAY_SECONDS = 86_400
LEAST_SECONDS = 60
"""A window so short is not halved."""


@dataclass(frozen=True, kw_only=True)
class StudyWindow:
    """Whole days, or a part of one. Dates and times are those that the peer's studies have: local, without a zone."""

    first: date
    last: date
    """The last day is inside."""
    begin: int = 0
    end: int = DAY_SECONDS
    """Seconds of the day, where it is one day."""

    @property
    def keys(self) -> dict[str, str]:
        """Keyword -> value. The end of a time range is inside (PS3.5 6.2.5.1), so two halves share a second."""
        same = self.first == self.last
        days = f"{self.first:%Y%m%d}" if same else f"{self.first:%Y%m%d}-{self.last:%Y%m%d}"
        if (self.begin, self.end) == (0, DAY_SECONDS):
            return {"StudyDate": days, "StudyTime": ""}
        # "235959" would leave out the fractions of the day's last second.
        end = "" if self.end == DAY_SECONDS else _clock(self.end)
        return {"StudyDate": days, "StudyTime": f"{_clock(self.begin)}-{end}"}

    def covers(self, study_date: date | None, seconds: int | None) -> bool:
        """Whether a study with this date and time of day is inside. One without is: a peer need not say its time."""
        if study_date is None:
            return True
        if not self.first <= study_date <= self.last:
            return False
        return seconds is None or self.first != self.last or self.begin <= seconds <= self.end

    def halves(self) -> "tuple[StudyWindow, StudyWindow] | None":
        """Two shorter windows; None where it is as short as they get."""
        days = (self.last - self.first).days
        if days:
            middle = self.first + timedelta(days=days // 2)
            return replace(self, last=middle), replace(self, first=middle + timedelta(days=1))
        if self.end - self.begin <= LEAST_SECONDS:
            return None
        noon = (self.begin + self.end) // 2
        return replace(self, end=noon), replace(self, begin=noon)


def windows(begin: datetime, end: datetime) -> list[StudyWindow]:
    """From `begin` until `end`, both local and without a zone: the rest of the first day, whole days, the last's start.

    Raises ValueError where `end` is not later.
    """
    if end <= begin:
        raise ValueError("the end is not after the begin")
    start, stop = _seconds(begin), _seconds(end)
    first, last = begin.date(), end.date()
    if first == last:
        return [StudyWindow(first=first, last=first, begin=start, end=stop)]
    found = []
    if start:
        found.append(StudyWindow(first=first, last=first, begin=start))
        first += timedelta(days=1)
    if first < last:
        found.append(StudyWindow(first=first, last=last - timedelta(days=1)))
    if stop:
        found.append(StudyWindow(first=last, last=last, end=stop))
    return found


def _seconds(at: datetime) -> int:
    return at.hour * 3600 + at.minute * 60 + at.second


def _clock(seconds: int) -> str:
    """As TM (PS3.5 6.2)."""
    return f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
