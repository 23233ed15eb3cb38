"""When the report of a day is due, on both databases: by the clock on the wall, in turn, none left out."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from tests.nightly import FRIDAY, MONDAY_NOON, named, plan_for, recorded, sqlite
from worker.db.session import reading, writing
from worker.db.tables import errand
from worker.nightly import run, schedule
from worker.nightly.schedule import NightlySchedule
from worker.queue import errands
from worker.queue.errands import Kind

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("day", "at", "wanted"),
    [
        (date(2026, 11, 20), "01:00", "2026-11-21T00:00"),
        (date(2026, 3, 28), "01:00", "2026-03-29T00:00"),
        (date(2026, 3, 28), "02:30", "2026-03-29T01:30"),  # skipped by the clocks
        (date(2026, 3, 28), "03:00", "2026-03-29T01:00"),
        (date(2026, 10, 24), "02:30", "2026-10-25T00:30"),  # shown twice
        (date(2026, 10, 24), "03:00", "2026-10-25T02:00"),
    ],
)
def test_due_by_the_clock_on_the_wall(day: date, at: str, wanted: str) -> None:
    due = schedule.due(day, plan_for("", Path(), at, "Europe/Berlin"))
    assert due.isoformat(timespec="minutes") == f"{wanted}+00:00"


@pytest.mark.parametrize("at", ["00:00", "02:30", "23:59"])
def test_every_day_is_over_when_its_report_is_due_and_due_once(at: str) -> None:
    plan = plan_for("", Path(), at, "Europe/Berlin")
    year = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
    dues = [schedule.due(day, plan) for day in year]
    ends = [datetime.combine(day + timedelta(days=1), time(), BERLIN).astimezone(UTC) for day in year]
    assert all(due >= end for due, end in zip(dues, ends, strict=True))
    assert dues == sorted(set(dues))


@sqlite
def test_the_first_night_is_that_of_today(database: Engine, database_url: str, tmp_path: Path) -> None:
    plan = plan_for(database_url, tmp_path, zone="Pacific/Auckland")
    now = datetime(2026, 11, 20, 13, tzinfo=UTC)  # where it is the 21st already
    schedule.ensure_scheduled(database, plan, now)
    schedule.ensure_scheduled(database, plan, now + timedelta(days=1))
    assert named(database) == ["2026-11-21"]
    assert run.make_due_report(database, plan, now) is None


def test_a_lost_row_goes_on_after_the_last_report(database: Engine, plan: NightlySchedule) -> None:
    recorded(database, FRIDAY)
    with writing(database) as connection:
        connection.execute(errand.delete())
    schedule.ensure_scheduled(database, plan, MONDAY_NOON + timedelta(days=9))
    assert named(database) == ["2026-11-21"]


@sqlite
def test_a_changed_time_moves_the_next_report(database: Engine, plan: NightlySchedule) -> None:
    later = replace(plan, at=time(5, 30))
    schedule.ensure_scheduled(database, later, MONDAY_NOON)
    with reading(database) as connection:
        assert connection.execute(select(errand.c.next_attempt_at)).scalar_one() == datetime(
            2026, 11, 21, 5, 30, tzinfo=UTC
        )


@sqlite
def test_a_changed_time_leaves_a_night_that_was_tried(database: Engine, plan: NightlySchedule) -> None:
    one = errands.take(database, (Kind.NIGHT,), now=MONDAY_NOON, lease_seconds=60)
    assert one
    errands.postpone(database, one, now=MONDAY_NOON, first_wait=60)
    schedule.ensure_scheduled(database, replace(plan, at=time(5, 30)), MONDAY_NOON)
    with reading(database) as connection:
        assert connection.execute(select(errand.c.next_attempt_at)).scalar_one() == MONDAY_NOON + timedelta(seconds=60)
