"""One report for each day, on both databases: on time, in turn, never half, never twice."""

import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from threading import Thread
from zoneinfo import ZoneInfo

import psutil
import pytest
from sqlalchemy import Engine, insert, select, update

from tests import days
from tests.images import FOLDER, stages
from tests.services import environment, kill, process, typed_in, wait_until
from worker import errands, trail
from worker.audit import made, night, nightly, schedule
from worker.audit.child import Order
from worker.audit.schedule import Plan
from worker.cli.relay_tasks import tasks
from worker.db import schema
from worker.db.session import make_engine, reading, writing
from worker.db.tables import alarm, audit_event, errand, finding_score
from worker.errands import Kind
from worker.redis_server import RedisServer
from worker.settings import Settings

BERLIN = ZoneInfo("Europe/Berlin")
FRIDAY = date(2026, 11, 20)
SATURDAY_MORNING = datetime(2026, 11, 21, 2, tzinfo=UTC)
MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Where no statement differs between the databases."""


def plan_for(database_url: str, folder: Path, at: str = "01:00", zone: str = "UTC") -> Plan:
    options = night.Options(zone=ZoneInfo(zone), drift=days.DRIFT, spool=folder, reports=folder / "reports")
    return Plan(database_url=database_url, at=time.fromisoformat(at), folder=folder / "reports", options=options)


@pytest.fixture
def plan(database: Engine, database_url: str, tmp_path: Path) -> Plan:
    """Of a database with a few films of Friday, whose report is due."""
    days.fill(database, FRIDAY, 30, shares=days.Shares(failed=0.1))
    made_plan = plan_for(database_url, tmp_path)
    with writing(database) as connection:
        errands.add(connection, Kind.NIGHT, FRIDAY.isoformat(), schedule.due(FRIDAY, made_plan))
    return made_plan


def named(database: Engine) -> list[str]:
    """Days whose report is to be made."""
    with reading(database) as connection:
        return list(connection.execute(select(errand.c.key).where(errand.c.kind == Kind.NIGHT)).scalars())


def reports(database: Engine) -> list[str]:
    with reading(database) as connection:
        return [one.day.isoformat() for one in made.reports(connection)]


def recorded(database: Engine, day: date, digest: str = "0" * 64, files: dict[str, str] | None = None) -> None:
    """The event of a report, as the relay writes it."""
    detail = {"date": day.isoformat(), "digest": digest, "files": files or {}}
    detail |= {"difference": 0, "alarms": [], "anchor": None}
    with writing(database) as connection:
        trail.record(connection, action=made.ACTION, instance_id=None, actor="relay", detail=detail)


def in_folder(plan: Plan) -> list[str]:
    return sorted(path.name for path in plan.folder.iterdir()) if plan.folder.exists() else []


# when


@pytest.mark.parametrize(
    ("day", "at", "wanted"),
    [
        (date(2026, 11, 20), "01:00", "2026-11-21T00:00"),
        (date(2026, 11, 20), "00:00", "2026-11-20T23:05"),  # its last films may still wait for their commit
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
    assert nightly.run_due(database, plan, now) is None


def test_a_lost_row_goes_on_after_the_last_report(database: Engine, plan: Plan) -> None:
    recorded(database, FRIDAY)
    with writing(database) as connection:
        connection.execute(errand.delete())
    schedule.ensure_scheduled(database, plan, MONDAY_NOON + timedelta(days=9))
    assert named(database) == ["2026-11-21"]


@sqlite
def test_a_changed_time_moves_the_next_report(database: Engine, plan: Plan) -> None:
    later = replace(plan, at=time(5, 30))
    schedule.ensure_scheduled(database, later, MONDAY_NOON)
    with reading(database) as connection:
        assert connection.execute(select(errand.c.next_attempt_at)).scalar_one() == datetime(
            2026, 11, 21, 5, 30, tzinfo=UTC
        )


@sqlite
def test_a_changed_time_leaves_a_night_that_was_tried(database: Engine, plan: Plan) -> None:
    one = errands.take(database, (Kind.NIGHT,), now=MONDAY_NOON, lease_seconds=60)
    assert one
    errands.postpone(database, one, now=MONDAY_NOON, first_wait=60)
    schedule.ensure_scheduled(database, replace(plan, at=time(5, 30)), MONDAY_NOON)
    with reading(database) as connection:
        assert connection.execute(select(errand.c.next_attempt_at)).scalar_one() == MONDAY_NOON + timedelta(seconds=60)


# what


def test_a_report_its_event_and_the_next_night(database: Engine, plan: Plan) -> None:
    with writing(database) as connection:  # an alarm of a night before, which this one does not confirm
        row = {"rule": "unaccounted", "subject": "CR9", "value": 1.0, "threshold": 0.0, "text": "gone"}
        connection.execute(insert(alarm), row | {"raised_at": MONDAY_NOON})
    days.wait(database, [1], queued=False)
    folder = plan.folder / "2026-11-20"
    folder.mkdir(parents=True)
    (folder / "half").touch()  # made by hand, or by a relay that died over the commit: it is replaced
    assert nightly.run_due(database, plan, MONDAY_NOON) == FRIDAY
    assert in_folder(plan) == ["2026-11-20"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(made.FILES)
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert named(database) == ["2026-11-21"]
    with reading(database) as connection:
        (one,) = made.reports(connection)
        alarms = {row.subject: row.cleared_at for row in connection.execute(select(alarm))}
        detail = connection.execute(
            select(audit_event.c.detail).where(audit_event.c.action == made.ACTION)
        ).scalar_one()
    content = json.loads((folder / made.REPORT).read_text())
    assert made.state_of(one, folder) == "as made"
    assert (one.difference, one.alarms, one.anchor) == (1, ("unaccounted",), content["chain"]["anchor"])
    assert detail["files"] == made.digests_of(folder)
    assert alarms.pop("CR9") is not None
    assert list(alarms.values()) == [None]
    assert trail.verify(database).whole
    assert "1.2.826." not in (folder / made.PAGE).read_text() + (folder / made.REPORT).read_text()
    assert (folder / made.INSTANCES).read_text().splitlines()[0].startswith("id,sop_instance_uid,")


@sqlite
def test_three_nights_off_are_three_reports_oldest_first(database: Engine, plan: Plan) -> None:
    done = [nightly.run_due(database, plan, MONDAY_NOON) for _ in range(4)]
    assert done == [FRIDAY, FRIDAY + timedelta(days=1), FRIDAY + timedelta(days=2), None]
    assert reports(database) == ["2026-11-20", "2026-11-21", "2026-11-22"] == in_folder(plan)
    assert named(database) == ["2026-11-23"]


@sqlite
def test_a_day_that_has_a_report_gets_no_second(database: Engine, plan: Plan) -> None:
    recorded(database, FRIDAY)
    assert nightly.run_due(database, plan, MONDAY_NOON) is None
    assert (reports(database), named(database)) == (["2026-11-20"], [])
    schedule.ensure_scheduled(database, plan, MONDAY_NOON)
    assert named(database) == ["2026-11-21"]


# what goes wrong


@sqlite
def test_a_failure_is_logged_and_tried_again(database: Engine, plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    plan.folder.touch()  # a file where the folder should be
    with caplog.at_level(logging.ERROR, "xrayq.relay"):
        assert nightly.run_due(database, plan, MONDAY_NOON) is None
    (record,) = caplog.records
    assert record.__dict__["reason"] == "FileExistsError"
    assert "no report of 2026-11-20" in record.message
    assert (reports(database), named(database)) == ([], ["2026-11-20"])
    assert nightly.run_due(database, plan, datetime.now(UTC)) is None  # not before its wait is over
    plan.folder.unlink()
    assert nightly.run_due(database, plan, datetime.now(UTC) + timedelta(hours=1)) == FRIDAY


@sqlite
def test_a_child_that_fails_says_why(database: Engine, plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    lost = replace(plan, database_url="sqlite:////nowhere/xrayq.db")
    assert nightly.run_due(database, lost, MONDAY_NOON) is None
    assert "/nowhere/xrayq.db" in caplog.records[0].__dict__["reason"]
    assert in_folder(plan) == []


@sqlite
def test_a_day_that_cannot_be_made_does_not_hold_back_later_ones(
    database: Engine, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    with writing(database) as connection:
        connection.execute(update(finding_score).values(probability=float("inf")))  # as no bundle gives
    no_drift = replace(plan.options, drift=replace(days.DRIFT, least_films=1000))
    patient = replace(plan, attempts=2, options=no_drift)
    attempts = (MONDAY_NOON, datetime.now(UTC) + timedelta(hours=1))
    assert [nightly.run_due(database, patient, now) for now in attempts] == [None, None]
    assert [one.__dict__["reason"] for one in caplog.records if one.name == "xrayq.relay"] == ["OverflowError"] * 2
    assert "no report of 2026-11-20, given up after 2 attempts" in caplog.text
    with reading(database) as connection:
        (alarmed,) = connection.execute(select(alarm)).all()
        detail = connection.execute(select(audit_event.c.detail).where(audit_event.c.action == made.GIVEN_UP))
        assert detail.scalar_one() == {"date": "2026-11-20", "reason": "OverflowError", "attempts": 2}
        assert made.last(connection) == FRIDAY
    assert (alarmed.rule, alarmed.subject, alarmed.cleared_at) == ("report_failed", "2026-11-20", None)

    assert nightly.run_due(database, patient, MONDAY_NOON) == FRIDAY + timedelta(days=1)
    page = (plan.folder / "2026-11-21" / made.PAGE).read_text()
    assert "2026-11-20 has no report: making it failed again and again (OverflowError)." in page
    by_hand = plan.folder / "2026-11-20"
    by_hand.mkdir()
    (by_hand / made.REPORT).write_text("{}")
    assert nightly.run_due(database, patient, MONDAY_NOON) == FRIDAY + timedelta(days=2)
    with reading(database) as connection:
        assert connection.execute(select(alarm.c.cleared_at)).scalar_one() is not None


@sqlite
def test_no_day_is_given_up_for_a_database_that_is_away(database: Engine, plan: Plan) -> None:
    away = replace(plan, database_url="sqlite:////nowhere/xrayq.db", attempts=1)
    assert nightly.run_due(database, away, MONDAY_NOON) is None
    assert named(database) == ["2026-11-20"]


def test_days_that_a_clock_that_was_ahead_ended_are_reported_again(
    database: Engine, plan: Plan, caplog: pytest.LogCaptureFixture
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
    assert nightly.run_due(database, plan, right) == first
    with reading(database) as connection:
        assert made.last(connection) == first
    schedule.ensure_scheduled(database, plan, right)  # two relays whose clocks differ: one more time a day, not always
    assert named(database) == [(first + timedelta(days=1)).isoformat()]


@sqlite
def test_a_report_that_another_replaces_is_kept(database: Engine, plan: Plan) -> None:
    """The database is restored from a backup of before the report: what it lost, the report has."""
    assert nightly.run_due(database, plan, SATURDAY_MORNING) == FRIDAY
    folder = plan.folder / "2026-11-20"
    first = json.loads((folder / made.REPORT).read_text())
    with writing(database) as connection:
        connection.execute(audit_event.delete().where(audit_event.c.digest == first["chain"]["anchor"]))
        connection.execute(audit_event.delete().where(audit_event.c.action == made.ACTION))
        connection.execute(update(errand).values(key="2026-11-20", next_attempt_at=SATURDAY_MORNING))
    assert nightly.run_due(database, plan, SATURDAY_MORNING) == FRIDAY
    kept = [path for path in plan.folder.iterdir() if path != folder]
    assert [path.name.startswith("2026-11-20.replaced-") for path in kept] == [True]
    assert json.loads((kept[0] / made.REPORT).read_text()) == first
    second = json.loads((folder / made.REPORT).read_text())
    assert f"no row has its anchor {first['chain']['anchor'][:12]}" in second["chain"]["fault"]
    assert "trail_broken" in {one["rule"] for one in second["conditions"]}


@sqlite
def test_what_killed_relays_left_goes_away_whatever_its_day(database: Engine, plan: Plan) -> None:
    old, fresh = plan.folder / ".2026-11-13.abc", plan.folder / ".2026-11-13.def"
    for left in (old, fresh):
        left.mkdir(parents=True)
        (left / made.INSTANCES).touch()
    os.utime(old, (0, 0))
    assert nightly.run_due(database, plan, SATURDAY_MORNING) == FRIDAY
    assert in_folder(plan) == [fresh.name, "2026-11-20"]


@sqlite
def test_the_child_runs_nothing_of_the_relays_folder(
    database: Engine, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "csv.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert nightly.run_due(database, plan, SATURDAY_MORNING) == FRIDAY


@sqlite
def test_a_child_that_takes_too_long_is_ended(database: Engine, plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    assert nightly.run_due(database, replace(plan, timeout_seconds=0.0), MONDAY_NOON) is None
    assert caplog.records[0].__dict__["reason"] == "took more than 0 s"
    assert in_folder(plan) == []
    assert makers(os.getpid()) == []


def test_two_relays_make_one_report(database: Engine, database_url: str, plan: Plan) -> None:
    other = make_engine(database_url)
    found: list[date | None] = []
    both = [
        Thread(target=lambda engine=engine: found.append(nightly.run_due(engine, plan, SATURDAY_MORNING)))
        for engine in (database, other)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    other.dispose()
    assert sorted(found, key=str) == [FRIDAY, None]
    assert reports(database) == ["2026-11-20"] == in_folder(plan)


@sqlite
def test_who_lost_the_lease_puts_nothing_into_place(
    database: Engine, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Thread(target=nightly.run_due, args=(database, plan, MONDAY_NOON))
    slow.start()
    wait_until(lambda: makers(os.getpid()), 20, "the child")
    with writing(database) as connection:  # as another relay's `take` after the lease
        connection.execute(update(errand).values(attempts=errand.c.attempts + 1))
    slow.join(60)
    assert caplog.records[0].__dict__["reason"] == "another relay took it"
    assert (reports(database), in_folder(plan), named(database)) == ([], [], ["2026-11-20"])


def test_a_relay_killed_over_a_report_leaves_it_to_the_next(
    database: Engine, plan: Plan, relay_with: Callable[[Plan], int]
) -> None:
    relay = relay_with(plan)
    (child,) = wait_until(lambda: makers(relay), 20, "the child")
    kill(relay)
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie", 20, "its end")
    assert (reports(database), named(database)) == ([], ["2026-11-20"])
    assert "2026-11-20" not in in_folder(plan)
    assert nightly.run_due(database, plan, MONDAY_NOON) is None  # its lease stands
    assert nightly.run_due(database, plan, datetime.now(UTC) + timedelta(seconds=plan.lease_seconds)) == FRIDAY


@pytest.fixture
def relay_with(tmp_path: Path) -> Iterator[Callable[[Plan], int]]:
    """Starts a process that makes the due report; gives its pid."""
    started: list[subprocess.Popen[bytes]] = []
    code = (
        "import pickle, sys; from datetime import datetime, UTC; from worker.audit import nightly; "
        "from worker.db.session import make_engine; plan = pickle.load(sys.stdin.buffer); "
        "nightly.run_due(make_engine(plan.database_url), plan, datetime.now(UTC))"
    )

    def start(plan: Plan) -> int:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        started.append(process)
        assert process.stdin
        process.stdin.write(pickle.dumps(plan))
        process.stdin.close()
        return process.pid

    yield start
    for one in started:
        one.kill()
        one.wait(10)


def makers(pid: int) -> list[int]:
    """Children that make a report."""
    found = []
    for one in psutil.Process(pid).children():
        try:
            if "worker.audit.child" in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


# the relay and the commands


def night_task(tmp_path: Path, **settings: str) -> list[str]:
    return [one.name for one in tasks(Settings(home=tmp_path, **settings), make_engine(f"sqlite:///{tmp_path}/x.db"))]


def test_the_relay_has_the_task_unless_the_time_is_empty(tmp_path: Path) -> None:
    assert "night" in night_task(tmp_path)
    assert "night" not in night_task(tmp_path, report_time="")


def test_a_relay_without_matplotlib_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "night" in night_task(tmp_path)
    assert "pip install 'xrayq[report]'" in caplog.text


def test_reports_lists_them_and_finds_a_changed_one(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(engine)
    digest = hashlib.sha256(b"first").hexdigest()
    kept = made.replaced(tmp_path / "reports" / "2026-11-19", digest)
    kept.mkdir(parents=True)
    (kept / made.REPORT).write_text("first")
    recorded(engine, date(2026, 11, 19), digest)
    for day in ("2026-11-20", "2026-11-21", "2026-11-22"):
        folder = tmp_path / "reports" / day
        folder.mkdir(parents=True)
        for name in made.FILES:
            (folder / name).write_text(day)
        recorded(engine, date.fromisoformat(day), made.digest_of(folder), made.digests_of(folder))
    engine.dispose()
    (tmp_path / "reports" / "2026-11-21" / made.PAGE).write_text("all is well")
    (tmp_path / "reports" / "2026-11-20" / made.INSTANCES).unlink()
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        code, told, _ = xrayq("audit", "reports", "--json")
        rows = json.loads(told)
        assert code == 1, "a file was changed"
        assert [(row["date"], row["files"]) for row in rows] == [
            ("2026-11-22", "as made"),
            ("2026-11-21", "changed"),
            ("2026-11-20", "missing"),
            ("2026-11-19", "replaced"),
        ]
        assert rows[0]["folder"] == str(tmp_path / "reports" / "2026-11-22")
        _, table, _ = xrayq("audit", "reports")
        assert all(row["date"] in table and row["files"] in table for row in rows)


def test_the_relay_itself_makes_the_report(tmp_path: Path, redis_server: RedisServer) -> None:
    url = f"sqlite:///{tmp_path / 'xrayq.db'}"
    engine = make_engine(url)
    schema.upgrade(engine)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days.fill(engine, yesterday, 5)
    with writing(engine) as connection:
        errands.add(connection, Kind.NIGHT, yesterday.isoformat(), datetime.now(UTC))
    log = tmp_path / "relay.log"
    with process("relay", environment(home=str(tmp_path), redis_url=redis_server.url, report_time="00:00"), log):
        wait_until(lambda: reports(engine) == [yesterday.isoformat()], 60, "the report")
    engine.dispose()
    assert sorted(path.name for path in (tmp_path / "reports" / yesterday.isoformat()).iterdir()) == sorted(made.FILES)
    assert f"report of {yesterday} made" in log.read_text()


LEFT_OUT = {"opencv-python-headless": "cv2", "pylibjpeg-rle": "rle"}
"""Packages whose modules have another name."""


def test_the_report_needs_nothing_that_the_relays_image_leaves_out(tmp_path: Path) -> None:
    lines = stages(FOLDER / "gateway.Dockerfile")["build"].runs()
    (line,) = (line for line in lines if "uninstall --yes" in line)
    gone = [LEFT_OUT.get(name, name) for name in line.partition("--yes")[2].split()]
    assert {"cv2", "onnxruntime"} <= set(gone)
    plan = plan_for(f"sqlite:///{tmp_path / 'xrayq.db'}", tmp_path)
    engine = make_engine(plan.database_url)
    schema.upgrade(engine)
    days.fill(engine, FRIDAY, 30, shares=days.Shares(labelled=0.5))
    engine.dispose()
    order = Order(database_url=plan.database_url, day=FRIDAY, options=plan.options, folder=tmp_path, parent=os.getpid())
    blocked = f"import sys; sys.modules.update(dict.fromkeys({gone!r}))"
    code = f"{blocked}; from worker.audit.child import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(order), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert {*made.FILES} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / made.REPORT).read_text())["performance"]["labelled"] > 0
