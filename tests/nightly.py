"""The nightly report in tests: a plan, what is named, made and recorded."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest
from sqlalchemy import Engine, select

from tests import days
from worker.audit import trail
from worker.db.session import reading, writing
from worker.db.tables import errand
from worker.nightly import published
from worker.nightly.content import NightOptions
from worker.nightly.schedule import NightlySchedule
from worker.queue.errands import Kind

FRIDAY = date(2026, 11, 20)
SATURDAY_MORNING = datetime(2026, 11, 21, 2, tzinfo=UTC)
MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Where no statement differs between the databases."""
both_in_ci = pytest.mark.parametrize(
    "database_url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.slow)], indirect=True
)
"""Where each takes seconds: `make test` takes PostgreSQL alone."""


def plan_for(database_url: str, folder: Path, at: str = "01:00", zone: str = "UTC") -> NightlySchedule:
    options = NightOptions(zone=ZoneInfo(zone), drift=days.DRIFT, spool=folder, reports=folder / "reports")
    return NightlySchedule(
        database_url=database_url, at=time.fromisoformat(at), folder=folder / "reports", options=options
    )


def named(database: Engine) -> list[str]:
    """Days whose report is to be made."""
    with reading(database) as connection:
        return list(connection.execute(select(errand.c.key).where(errand.c.kind == Kind.NIGHT)).scalars())


def reports(database: Engine) -> list[str]:
    with reading(database) as connection:
        return [one.day.isoformat() for one in published.reports(connection)]


def recorded(database: Engine, day: date, digest: str = "0" * 64, files: dict[str, str] | None = None) -> None:
    """The event of a report, as the relay writes it."""
    detail = {"date": day.isoformat(), "digest": digest, "files": files or {}}
    detail |= {"difference": 0, "alarms": [], "anchor": None}
    with writing(database) as connection:
        trail.record(connection, action=published.ACTION, instance_id=None, actor="relay", detail=detail)


def in_folder(plan: NightlySchedule) -> list[str]:
    return sorted(path.name for path in plan.folder.iterdir()) if plan.folder.exists() else []


def makers(pid: int) -> list[int]:
    """Children that make a report."""
    found = []
    for one in psutil.Process(pid).children():
        try:
            if "worker.nightly.child" in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
