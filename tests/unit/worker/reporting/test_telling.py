"""When a flag is told: quiet hours by the clock of the site."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from worker.reporting.telling import QuietHours, Telling

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(begin=time(20), end=time(7), zone=BERLIN)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-11-28 18:59:59", None),
        ("2026-11-28 19:00", "2026-11-29 06:00"),
        ("2026-11-29 05:59:59", "2026-11-29 06:00"),
        ("2026-11-29 06:00", None),
        ("2026-06-28 18:00", "2026-06-29 05:00"),  # summer time
        ("2026-03-28 22:00", "2026-03-29 05:00"),  # the night in which the clock goes forward
        ("2026-03-29 04:59", "2026-03-29 05:00"),
        ("2026-10-24 22:00", "2026-10-25 06:00"),  # and back
        ("2026-10-25 05:59", "2026-10-25 06:00"),
    ],
)
def test_a_night_ends_by_the_clock_on_the_wall(moment: str, end: str | None) -> None:
    assert NIGHT.end_of(utc(moment)) == (utc(end) if end else None)


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-03-29 00:30", "2026-03-29 01:30"),  # 02:30 is skipped: the hour after it, 03:30
        ("2026-03-29 01:29", "2026-03-29 01:30"),
        ("2026-03-29 01:30", None),
        ("2026-10-24 23:30", "2026-10-25 00:30"),  # 02:30 comes twice: the first one
        ("2026-10-25 00:30", None),
        ("2026-10-25 01:00", None),
    ],
)
def test_an_end_that_the_clock_skips_or_has_twice(moment: str, end: str | None) -> None:
    small_hours = QuietHours(begin=time(1), end=time(2, 30), zone=BERLIN)
    assert small_hours.end_of(utc(moment)) == (utc(end) if end else None)


def test_quiet_hours_within_a_day() -> None:
    lunch = QuietHours(begin=time(12), end=time(13), zone=UTC)
    assert lunch.end_of(utc("2026-11-28 12:30")) == utc("2026-11-28 13:00")
    assert lunch.end_of(utc("2026-11-28 13:00")) is None


def test_urgent_flags_do_not_wait_and_others_do() -> None:
    telling = Telling(urgent=frozenset({"covid19"}), quiet=NIGHT)
    night, morning = utc("2026-11-28 23:00"), utc("2026-11-29 06:00")
    assert telling.due(["pneumonia"], night) == morning
    assert telling.due(["pneumonia", "covid19"], night) == night
    assert telling.due(["pneumonia"], morning) == morning
    assert telling.due([], morning) is None


def test_only_the_flags_that_the_site_names_are_told() -> None:
    telling = Telling(flags=frozenset({"covid19"}), urgent=frozenset({"pneumonia"}))
    now = utc("2026-11-28 12:00")
    assert telling.due(["pneumonia"], now) is None
    assert telling.told(["pneumonia", "covid19"]) == ("covid19",)
    assert not telling.is_urgent(["pneumonia", "covid19"]), "what is not told makes nothing urgent"
