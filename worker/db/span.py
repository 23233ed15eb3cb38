"""Spans of time that rows are asked for by."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time span; films belong to it by when they were received."""

    start: datetime
    end: datetime
    """Not part of it."""

    @classmethod
    def of_day(cls, day: date, zone: ZoneInfo) -> "Span":
        """Midnight to midnight in a zone: 23 or 25 hours long where clocks change."""
        edges = [datetime.combine(date_, time(), zone).astimezone(UTC) for date_ in (day, day + timedelta(days=1))]
        return cls(start=edges[0], end=edges[1])

    def so_far(self, now: datetime) -> "Span":
        """What is over of it, where it runs now; else all of it."""
        return replace(self, end=now) if self.start < now < self.end else self

    def covers(self, moment: ColumnElement[datetime]) -> ColumnElement[bool]:
        """The condition that a column of times lies in it."""
        return (moment >= self.start) & (moment < self.end)
