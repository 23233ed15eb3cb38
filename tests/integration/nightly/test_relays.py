"""Who makes the nightly report: several relays, killed ones, the relay itself; and the command that lists them."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from sqlalchemy import Engine, update

from tests import days
from tests.images import FOLDER, stages
from tests.nightly import (
    FRIDAY,
    MONDAY_NOON,
    SATURDAY_MORNING,
    both_in_ci,
    in_folder,
    makers,
    named,
    plan_for,
    recorded,
    reports,
    sqlite,
)
from tests.services import environment, kill, process, typed_in, wait_until
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.tables import errand
from worker.nightly import published, run
from worker.nightly.child import Order
from worker.nightly.schedule import NightlySchedule
from worker.processes.redis_server import RedisServer
from worker.processes.relay_tasks import tasks
from worker.queue import errands
from worker.queue.errands import Kind
from worker.receiving.refusals import Refusals
from worker.settings import Settings


@both_in_ci
def test_two_relays_make_one_report(database: Engine, database_url: str, plan: NightlySchedule) -> None:
    other = make_engine(database_url)
    found: list[date | None] = []
    both = [
        Thread(target=lambda engine=engine: found.append(run.make_due_report(engine, plan, SATURDAY_MORNING)))
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
    database: Engine, plan: NightlySchedule, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Thread(target=run.make_due_report, args=(database, plan, MONDAY_NOON))
    slow.start()
    wait_until(lambda: makers(os.getpid()), 20, "the child")
    with writing(database) as connection:  # as another relay's `take` after the lease
        connection.execute(update(errand).values(attempts=errand.c.attempts + 1))
    slow.join(60)
    assert caplog.records[0].__dict__["reason"] == "another relay took it"
    assert (reports(database), in_folder(plan), named(database)) == ([], [], ["2026-11-20"])


@both_in_ci
def test_a_relay_killed_over_a_report_leaves_it_to_the_next(
    database: Engine, plan: NightlySchedule, relay_with: Callable[[NightlySchedule], int]
) -> None:
    relay = relay_with(plan)
    (child,) = wait_until(lambda: makers(relay), 20, "the child")
    kill(relay)
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie", 20, "its end")
    assert (reports(database), named(database)) == ([], ["2026-11-20"])
    assert "2026-11-20" not in in_folder(plan)
    assert run.make_due_report(database, plan, MONDAY_NOON) is None  # its lease stands
    assert run.make_due_report(database, plan, MONDAY_NOON + timedelta(seconds=2 * plan.lease_seconds)) == FRIDAY


@pytest.fixture
def relay_with(tmp_path: Path) -> Iterator[Callable[[NightlySchedule], int]]:
    """Starts a process that makes the report due on Monday; gives its pid."""
    started: list[subprocess.Popen[bytes]] = []
    code = (
        "import pickle, sys; from worker.nightly import run; from worker.db.session import make_engine; "
        "plan, now = pickle.load(sys.stdin.buffer); run.make_due_report(make_engine(plan.database_url), plan, now)"
    )

    def start(plan: NightlySchedule) -> int:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        started.append(process)
        assert process.stdin
        process.stdin.write(pickle.dumps((plan, MONDAY_NOON)))
        process.stdin.close()
        return process.pid

    yield start
    for one in started:
        one.kill()
        one.wait(10)


# the relay and the commands


def night_task(tmp_path: Path, **settings: str) -> list[str]:
    database = make_engine(f"sqlite:///{tmp_path}/x.db")
    return [one.name for one in tasks(Settings(home=tmp_path, **settings), database, Event(), Refusals())]


def test_the_relay_has_the_task_unless_the_time_is_empty(tmp_path: Path) -> None:
    assert "night" in night_task(tmp_path)
    assert "night" not in night_task(tmp_path, report_time="")


def test_a_relay_whose_matplotlib_is_broken_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken" / "matplotlib"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libfreetype.so: wrong ELF class')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    assert "night" in night_task(tmp_path)
    assert "(ImportError: libfreetype.so: wrong ELF class): pip install --force-reinstall matplotlib" in caplog.text


def test_reports_lists_them_and_finds_a_changed_one(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(engine)
    digest = hashlib.sha256(b"first").hexdigest()
    kept = published.replaced_folder(tmp_path / "reports" / "2026-11-19", digest)
    kept.mkdir(parents=True)
    (kept / published.REPORT).write_text("first")
    recorded(engine, date(2026, 11, 19), digest)
    for day, names in (
        ("2026-11-20", published.FILES),
        ("2026-11-21", published.FILES),
        ("2026-11-22", published.FILES[:3]),  # of an older release
    ):
        folder = tmp_path / "reports" / day
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(day)
        recorded(engine, date.fromisoformat(day), published.digest_of(folder), published.digests_of(folder, names))
    engine.dispose()
    (tmp_path / "reports" / "2026-11-21" / published.PAGE).write_text("all is well")
    (tmp_path / "reports" / "2026-11-20" / published.INSTANCES).unlink()
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


@pytest.mark.slow
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
    assert sorted(path.name for path in (tmp_path / "reports" / yesterday.isoformat()).iterdir()) == sorted(
        published.FILES
    )
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
    order = Order(
        database_url=plan.database_url,
        day=FRIDAY,
        options=plan.options,
        folder=tmp_path,
        summary=tmp_path / "summary",
        parent=os.getpid(),
    )
    blocked = f"import sys; sys.modules.update(dict.fromkeys({gone!r}))"
    code = f"{blocked}; from worker.nightly.child import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(order), capture_output=True, timeout=180)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert {*published.FILES} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / published.REPORT).read_text())["performance"]["others"]["labelled"] > 0
