"""One report for each day, on both databases: in turn, never half, never twice."""

import json
import logging
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text, update

from tests import days
from tests.nightly import (
    FRIDAY,
    MONDAY_NOON,
    SATURDAY_MORNING,
    both_in_ci,
    in_folder,
    makers,
    named,
    recorded,
    reports,
    sqlite,
)
from worker.audit import trail
from worker.db.session import reading, writing
from worker.db.tables import alarm, audit_event, errand
from worker.errors import NotMade
from worker.nightly import published, run, schedule
from worker.nightly.child import TRY_AGAIN
from worker.nightly.schedule import NightlySchedule
from worker.nightly.summary import ReportSummary

# what


@both_in_ci
def test_a_report_its_event_and_the_next_night(database: Engine, plan: NightlySchedule) -> None:
    with writing(database) as connection:  # an alarm of a night before, which this one does not confirm
        row = {"rule": "unaccounted", "subject": "CR9", "value": 1.0, "threshold": 0.0, "text": "gone"}
        connection.execute(insert(alarm), row | {"raised_at": MONDAY_NOON})
    days.wait(database, [1], queued=False)
    folder = plan.folder / "2026-11-20"
    folder.mkdir(parents=True)
    (folder / "half").touch()  # made by hand, or by a relay that died over the commit: it is replaced
    assert run.make_due_report(database, plan, MONDAY_NOON) == FRIDAY
    assert in_folder(plan) == ["2026-11-20"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(published.FILES)
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert named(database) == ["2026-11-21"]
    with reading(database) as connection:
        (one,) = published.reports(connection)
        alarms = {row.subject: row.cleared_at for row in connection.execute(select(alarm))}
        detail = connection.execute(
            select(audit_event.c.detail).where(audit_event.c.action == published.ACTION)
        ).scalar_one()
    content = json.loads((folder / published.REPORT).read_text())
    assert published.state_of(one, folder) == "as made"
    assert (one.difference, one.alarms, one.anchor) == (1, ("unaccounted",), content["chain"]["anchor"])
    assert detail["files"] == published.digests_of(folder)
    assert (one.level, one.headline) == ("bad", "1 film not accounted for")
    assert f"<b>{one.headline}</b>" in (folder / published.PAGE).read_text(), "as the page says it"
    assert alarms.pop("CR9") is not None
    assert list(alarms.values()) == [None]
    assert trail.verify(database).whole
    assert "1.2.826." not in (folder / published.PAGE).read_text() + (folder / published.REPORT).read_text()
    assert (folder / published.INSTANCES).read_text().splitlines()[0].startswith("id,sop_instance_uid,")


@pytest.mark.slow
@sqlite
def test_two_nights_off_are_two_reports_oldest_first(database: Engine, plan: NightlySchedule) -> None:
    sunday = MONDAY_NOON - timedelta(days=1)
    assert [run.make_due_report(database, plan, sunday) for _ in range(3)] == [FRIDAY, FRIDAY + timedelta(days=1), None]
    assert reports(database) == ["2026-11-20", "2026-11-21"] == in_folder(plan)
    assert named(database) == ["2026-11-22"]


@sqlite
def test_a_day_that_has_a_report_gets_no_second(database: Engine, plan: NightlySchedule) -> None:
    recorded(database, FRIDAY)
    assert run.make_due_report(database, plan, MONDAY_NOON) is None
    assert (reports(database), named(database)) == (["2026-11-20"], [])
    schedule.ensure_scheduled(database, plan, MONDAY_NOON)
    assert named(database) == ["2026-11-21"]


# what goes wrong


@sqlite
def test_a_failure_is_logged_and_tried_again(
    database: Engine, plan: NightlySchedule, caplog: pytest.LogCaptureFixture
) -> None:
    plan.folder.touch()  # a file where the folder should be
    with caplog.at_level(logging.ERROR, "xrayq.relay"):
        assert run.make_due_report(database, plan, MONDAY_NOON) is None
    (record,) = caplog.records
    assert record.__dict__["reason"] == "FileExistsError"
    assert "no report of 2026-11-20" in record.message
    assert (reports(database), named(database)) == ([], ["2026-11-20"])
    assert run.make_due_report(database, plan, datetime.now(UTC)) is None  # not before its wait is over
    plan.folder.unlink()
    assert run.make_due_report(database, plan, datetime.now(UTC) + timedelta(hours=1)) == FRIDAY


@pytest.mark.slow
@sqlite
def test_a_day_that_cannot_be_made_does_not_hold_back_later_ones(
    database: Engine, plan: NightlySchedule, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(database) as connection:
        connection.execute(text("UPDATE score SET scored_at = 'noon'"))  # as no release writes
    patient = replace(plan, attempts=2)
    attempts = (MONDAY_NOON, datetime.now(UTC) + timedelta(hours=1))
    assert [run.make_due_report(database, patient, now) for now in attempts] == [None, None]
    assert [one.__dict__["reason"] for one in caplog.records if one.name == "xrayq.relay"] == ["ValueError"] * 2
    assert "no report of 2026-11-20, given up after 2 attempts" in caplog.text
    with reading(database) as connection:
        (alarmed,) = connection.execute(select(alarm)).all()
        detail = connection.execute(select(audit_event.c.detail).where(audit_event.c.action == published.GIVEN_UP))
        assert detail.scalar_one() == {"date": "2026-11-20", "reason": "ValueError", "attempts": 2}
        assert published.last_day(connection) == FRIDAY
    assert (alarmed.rule, alarmed.subject, alarmed.cleared_at) == ("report_failed", "2026-11-20", None)

    assert run.make_due_report(database, patient, MONDAY_NOON) == FRIDAY + timedelta(days=1)
    page = (plan.folder / "2026-11-21" / published.PAGE).read_text()
    assert "2026-11-20 has no report: making it failed again and again (ValueError)." in page
    by_hand = plan.folder / "2026-11-20"
    by_hand.mkdir()
    (by_hand / published.REPORT).write_text("{}")
    assert run.make_due_report(database, patient, MONDAY_NOON) == FRIDAY + timedelta(days=2)
    with reading(database) as connection:
        failed = select(alarm.c.cleared_at).where(alarm.c.rule == "report_failed")
        assert connection.execute(failed).scalar_one() is not None
        broken = select(alarm.c.text).where(alarm.c.rule == "trail_broken")
        assert "cannot be read: it was altered" in connection.execute(broken).scalar_one()


@sqlite
def test_no_day_is_given_up_for_a_database_that_is_away(
    database: Engine, plan: NightlySchedule, caplog: pytest.LogCaptureFixture
) -> None:
    away = replace(plan, database_url="sqlite:////nowhere/xrayq.db", attempts=1)
    assert run.make_due_report(database, away, MONDAY_NOON) is None
    assert "/nowhere/xrayq.db" in caplog.records[0].__dict__["reason"], "the child says why"
    assert (named(database), in_folder(plan)) == (["2026-11-20"], [])


@both_in_ci
def test_days_that_a_clock_that_was_ahead_ended_are_reported_again(
    database: Engine, plan: NightlySchedule, caplog: pytest.LogCaptureFixture
) -> None:
    """The reports are made now; the clock that is right says that it is days before."""
    today = datetime.now(UTC).replace(hour=12)
    with writing(database) as connection:
        connection.execute(errand.delete())
    for number in (5, 4, 3, 2):
        recorded(database, today.date() - timedelta(days=number))
    schedule.ensure_scheduled(database, plan, today)
    right = today - timedelta(days=4)
    schedule.ensure_scheduled(database, plan, right)
    first = today.date() - timedelta(days=5)
    assert named(database) == [first.isoformat()]
    assert "the clock was ahead" in caplog.text
    assert run.make_due_report(database, plan, right) == first
    with reading(database) as connection:
        assert published.last_day(connection) == first
    schedule.ensure_scheduled(database, plan, right)  # two relays whose clocks differ: one more time a day, not always
    assert named(database) == [(first + timedelta(days=1)).isoformat()]


@pytest.mark.slow
@sqlite
def test_a_report_that_another_replaces_is_kept(database: Engine, plan: NightlySchedule) -> None:
    """The database is restored from a backup of before the report: what it lost, the report has."""
    assert run.make_due_report(database, plan, SATURDAY_MORNING) == FRIDAY
    folder = plan.folder / "2026-11-20"
    first = json.loads((folder / published.REPORT).read_text())
    with writing(database) as connection:
        connection.execute(audit_event.delete().where(audit_event.c.digest == first["chain"]["anchor"]))
        connection.execute(audit_event.delete().where(audit_event.c.action == published.ACTION))
        connection.execute(update(errand).values(key="2026-11-20", next_attempt_at=SATURDAY_MORNING))
    assert run.make_due_report(database, plan, SATURDAY_MORNING) == FRIDAY
    kept = [path for path in plan.folder.iterdir() if path != folder]
    assert [path.name.startswith("2026-11-20.replaced-") for path in kept] == [True]
    assert json.loads((kept[0] / published.REPORT).read_text()) == first
    second = json.loads((folder / published.REPORT).read_text())
    assert f"no row has its anchor {first['chain']['anchor'][:12]}" in second["chain"]["fault"]
    assert "trail_broken" in {one["rule"] for one in second["conditions"]}


@sqlite
def test_what_killed_relays_left_goes_away_whatever_its_day(database: Engine, plan: NightlySchedule) -> None:
    old, fresh = plan.folder / ".2026-11-13.abc", plan.folder / ".2026-11-13.def"
    for left in (old, fresh):
        left.mkdir(parents=True)
        (left / published.INSTANCES).touch()
    os.utime(old, (0, 0))
    assert run.make_due_report(database, plan, SATURDAY_MORNING) == FRIDAY
    assert in_folder(plan) == [fresh.name, "2026-11-20"]


@sqlite
def test_the_child_runs_nothing_of_the_relays_folder(
    database: Engine, plan: NightlySchedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "csv.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert run.make_due_report(database, plan, SATURDAY_MORNING) == FRIDAY


NEWER = """
from worker.nightly import summary

class Newer:
    __module__, __qualname__ = "worker.nightly.summary", "Newer"

summary.Newer, summary.summary_of = Newer, lambda report: Newer()
"""


@pytest.mark.slow
@sqlite
def test_a_summary_of_another_release_is_tried_again_later(
    database: Engine,
    plan: NightlySchedule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The service was upgraded under a running relay: its child is of the new release."""
    (tmp_path / "sitecustomize.py").write_text(NEWER)
    with monkeypatch.context() as upgraded:
        upgraded.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}")
        assert run.make_due_report(database, replace(plan, attempts=1), MONDAY_NOON) is None
    assert caplog.records[-1].__dict__["reason"] == "its summary cannot be read"
    with reading(database) as connection:
        row = connection.execute(select(errand)).one()
    assert (row.key, row.lease_until) == ("2026-11-20", None)
    assert run.make_due_report(database, plan, row.next_attempt_at) == FRIDAY


def test_a_summary_with_other_fields_is_of_another_release(tmp_path: Path) -> None:
    older = ReportSummary.__new__(ReportSummary)
    (tmp_path / "summary").write_bytes(pickle.dumps(older))
    with pytest.raises(NotMade, match="of another release"):
        run._read(tmp_path / "summary")


def test_an_order_of_another_release_is_no_fault_of_the_day() -> None:
    command = [sys.executable, "-m", "worker.nightly.child"]
    child = subprocess.run(command, input=b"cworker.nightly.child\nOther\n.", capture_output=True, check=False)
    assert (child.returncode, child.stdout) == (TRY_AGAIN, b"the order cannot be read: AttributeError\n")


@sqlite
def test_a_child_that_takes_too_long_is_ended(
    database: Engine, plan: NightlySchedule, caplog: pytest.LogCaptureFixture
) -> None:
    assert run.make_due_report(database, replace(plan, timeout_seconds=0.0), MONDAY_NOON) is None
    assert caplog.records[0].__dict__["reason"] == "took more than 0 s"
    assert in_folder(plan) == []
    assert makers(os.getpid()) == []
