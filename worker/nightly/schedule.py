"""Which day's report is next, and when.

The errand of kind `night` names the day. It is there from the first start on; each report that is made, and each day
that is given up, names the day after.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, select, update

from worker.audit import trail
from worker.audit.actions import Actor
from worker.db.session import DATABASE_SECONDS, reading, writing
from worker.db.span import Span
from worker.db.tables import errand
from worker.nightly import published
from worker.nightly.content import NightOptions
from worker.queue import errands
from worker.queue.errands import Kind

SETTLED = timedelta(minutes=5)
"""After its last byte a film is committed, or refused: it waits for the database, two minutes at most, and for a
comparison."""

log = logging.getLogger("xrayq.relay")


@dataclass(frozen=True, kw_only=True)
class NightlySchedule:
    """When reports are made, from what, and where they go."""

    database_url: str
    database_seconds: float = DATABASE_SECONDS
    """After which a silent one is given up."""
    at: time
    """Local time of the zone in `options`, on the day after the one that is reported."""
    folder: Path
    """Each day has a folder of its own in it, named by its date."""
    options: NightOptions
    channels: tuple[Kind, ...] = ()
    """Channels that alarms go out by, beside the log."""
    silence_on: tuple[str, ...] = ()
    """Alarm rules that end the sending of results, see `alarms.silencing`."""
    timeout_seconds: float = 900.0
    """A hundred thousand films take less than one."""
    lease_seconds: float = 60.0
    """Kept up while the report is made; a relay that dies leaves the night to another after this."""
    retry_seconds: float = 60.0
    """Wait after the first failure; doubles up to an hour."""
    attempts: int = 12
    """Of a report that fails by what its day holds; with the waits between them about six hours. Then the day is given
    up, so that later ones get theirs."""


def due(day: date, plan: NightlySchedule) -> datetime:
    """When the day's report is due, UTC. Of a time that comes twice, the first; one that is skipped, an hour on. Never
    before the day's last films are committed."""
    chosen = datetime.combine(day + timedelta(days=1), plan.at, plan.options.zone).astimezone(UTC)
    return max(chosen, Span.of_day(day, plan.options.zone).end + SETTLED)


def ensure_scheduled(engine: Engine, plan: NightlySchedule, now: datetime) -> None:
    """Name the next day where none is named: after the last one made, else today. Follow a changed `report_time`, and
    a clock that was ahead and is right again."""
    today = now.astimezone(plan.options.zone).date()
    with reading(engine) as connection:
        row = connection.execute(_night()).one_or_none()
        early = published.first_early_day(connection, now) if row and date.fromisoformat(row.key) > today else None
    if early:
        _set_back(engine, plan, early)
        return
    if row and (row.attempts or row.next_attempt_at == due(date.fromisoformat(row.key), plan)):
        return
    with writing(engine) as connection:
        row = connection.execute(_night()).one_or_none()
        if row is None:
            last = published.last_day(connection)
            day = last + timedelta(days=1) if last else today
            errands.add(connection, Kind.NIGHT, day.isoformat(), due(day, plan))
        elif not row.attempts:
            changed = due(date.fromisoformat(row.key), plan)
            untried = (errand.c.id == row.id) & (errand.c.attempts == 0)
            connection.execute(update(errand).where(untried).values(next_attempt_at=changed))


def _set_back(engine: Engine, plan: NightlySchedule, day: date) -> None:
    """Days from this one on were reported before they were over: they get another report when they are."""
    with writing(engine) as connection:
        connection.execute(delete(errand).where(errand.c.kind == Kind.NIGHT))
        errands.add(connection, Kind.NIGHT, day.isoformat(), due(day, plan))
        detail = {"date": day.isoformat()}
        trail.record(connection, action=published.SET_BACK, instance_id=None, actor=Actor.RELAY, detail=detail)
    log.error(
        f"the clock was ahead when the report of {day} was made; from this day on each gets another when it is over",
        extra={"action": published.SET_BACK},
    )


def _night() -> Any:
    return select(errand).where(errand.c.kind == Kind.NIGHT).order_by(errand.c.id).limit(1)
