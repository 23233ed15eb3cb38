"""Hours and pace of a backfill."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from worker.backfill.options import Job, JobState, Way, hours_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def job(hours: str = "", rate: float = 30) -> Job:
    return Job(
        id=1,
        pacs="ARCHIVE",
        sends_as="ARCHIVE",
        first_day=date(2026, 11, 1),
        last_day=date(2026, 11, 2),
        rate=rate,
        hours=hours,
        way=Way.MOVE,
        state=JobState.RUNNING,
        rests="",
        rests_since=None,
        failures=0,
        next_at=NOW,
        started_at=NOW,
        started_by="operator:test",
        resumed_at=NOW,
        ended_at=None,
    )


@pytest.mark.parametrize(
    ("hours", "written", "inside", "outside", "share"),
    [
        ("20-06", "20:00-06:00", (20, 0, 5), (6, 12, 19), 10 / 24),
        ("9-17:30", "09:00-17:30", (9, 17), (8, 18), 8.5 / 24),
        ("", "", (0, 12, 23), (), 1.0),
    ],
)
def test_hours_of_the_site(
    hours: str, written: str, inside: tuple[int, ...], outside: tuple[int, ...], share: float
) -> None:
    """In New York it is five hours earlier."""
    zone = ZoneInfo("America/New_York")
    made = job(hours_of(hours))
    assert (made.hours, made.share_of_day) == (written, pytest.approx(share))

    def is_time(hour: int) -> bool:
        return made.is_time(datetime(2026, 11, 20, hour, 15, tzinfo=zone).astimezone(UTC), zone)

    assert [hour for hour in (*inside, *outside) if is_time(hour)] == list(inside)


@pytest.mark.parametrize("text", ["20", "20-25", "6-6", "night", "20-06-07"])
def test_what_is_no_hours(text: str) -> None:
    with pytest.raises(ValueError, match=r"HH:MM|different"):
        hours_of(text)


@pytest.mark.parametrize(("rate", "together"), [(0.5, 1), (6, 1), (30, 5), (600, 10)])
def test_a_slow_backfill_asks_for_few_films_at_once(rate: float, together: int) -> None:
    assert job(rate=rate).together == together
