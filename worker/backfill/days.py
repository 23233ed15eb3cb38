"""The days of a backfill: the PACS is asked what it has of one, and what is not here is wanted.

A day is asked for when all films of those before it have been, the newest first: so a PACS is not asked for a year at
once, and a film that comes by itself meanwhile is never asked for.
"""

import time
from dataclasses import replace
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, func, select, update

from worker.backfill import films
from worker.backfill.options import BackfillOptions, Job
from worker.db.session import database_time, reading, writing
from worker.db.tables import backfill_day
from worker.pacs.ask import Asked, ask
from worker.queue.retry import back_off

MOST_ATTEMPTS = 5
"""To ask for a day, where the PACS gives no whole answer, or films are on their way to us by themselves. Then it is
given up; or its films are asked for, whatever their time."""
FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0
ASK_SECONDS = 300.0
AWAY = ("no_connection", "unknown_host", "aborted", "no_tls", "untrusted", "bad_certificate", "no_time", "not_accepted")
"""Faults that say nothing of the day; and rejected_*."""


def next_day(connection: Connection, job: Job) -> date | None:
    """That is to be asked for now; None where none is due."""
    due = (_left(job), backfill_day.c.next_at <= database_time(connection))
    query = select(backfill_day.c.day).where(*due).order_by(backfill_day.c.day.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def left(connection: Connection, job: Job) -> int:
    """Days that are still to be asked for."""
    return int(connection.execute(select(func.count()).select_from(backfill_day).where(_left(job))).scalar_one())


def ask_for(engine: Engine, job: Job, day: date, options: BackfillOptions) -> str:
    """Ask the PACS for a day, and keep what is not here as wanted. Returns "", or a fault of the PACS: it is away."""
    pacs = options.pacs(job.pacs)
    if pacs is None:
        return ""  # a rule of `resting` says so
    with reading(engine) as connection:
        last = _attempts(connection, job, day) >= MOST_ATTEMPTS - 1
    how = replace(options.ask, settled_minutes=0) if last else options.ask
    (asked,) = ask(engine, pacs, [day], how, until=time.monotonic() + ASK_SECONDS)
    with writing(engine) as connection:
        return _keep(connection, job, asked, timedelta(minutes=options.ask.settled_minutes))


def _keep(connection: Connection, job: Job, asked: Asked, settled: timedelta) -> str:
    """Args: settled: after which a film of the PACS is no more on its way to us by itself."""
    now, which = database_time(connection), _is(job, asked.day)
    if asked.comparison is not None:
        found = asked.comparison
        films.want(connection, job, asked.day, found.missing, now)
        whole = {"asked_at": now, "fault": "", "films": found.films, "here": found.here}
        again = {"attempts": backfill_day.c.attempts + 1, "next_at": now + settled, "fault": ""}
        connection.execute(update(backfill_day).where(which).values(again if found.on_its_way else whole))
        return ""
    if asked.fault in AWAY or asked.fault.startswith("rejected_"):
        return asked.fault
    attempts = _attempts(connection, job, asked.day) + 1
    due = now + timedelta(seconds=back_off(FIRST_WAIT, attempts, LONGEST_WAIT))
    values = {"attempts": attempts, "next_at": due, "fault": asked.fault[:64]}
    connection.execute(update(backfill_day).where(which).values(values))
    return ""


def _left(job: Job) -> ColumnElement[bool]:
    mine = backfill_day.c.backfill_id == job.id
    return mine & backfill_day.c.asked_at.is_(None) & (backfill_day.c.attempts < MOST_ATTEMPTS)


def _attempts(connection: Connection, job: Job, day: date) -> int:
    return int(connection.execute(select(backfill_day.c.attempts).where(_is(job, day))).scalar_one())


def _is(job: Job, day: date) -> ColumnElement[bool]:
    return (backfill_day.c.backfill_id == job.id) & (backfill_day.c.day == day)


def reopen(connection: Connection, job: Job, now: datetime) -> None:
    """Days of which the PACS gave no answer, also those that were given up, are asked for again, at once."""
    without = (backfill_day.c.asked_at.is_(None), backfill_day.c.fault != "")
    mine = backfill_day.c.backfill_id == job.id
    connection.execute(update(backfill_day).where(mine, *without).values(attempts=0, next_at=now))


def failed(connection: Connection, job: Job) -> dict[str, int]:
    """Code of the fault -> days that were given up for it."""
    return _faults(connection, job, backfill_day.c.attempts >= MOST_ATTEMPTS)


def tried(connection: Connection, job: Job) -> dict[str, int]:
    """Code of the fault -> days of which the PACS gave no answer yet, and which are asked for again."""
    return _faults(connection, job, (backfill_day.c.attempts < MOST_ATTEMPTS) & (backfill_day.c.fault != ""))


def _faults(connection: Connection, job: Job, which: ColumnElement[bool]) -> dict[str, int]:
    rows = connection.execute(
        select(backfill_day.c.fault, func.count())
        .where(backfill_day.c.backfill_id == job.id, backfill_day.c.asked_at.is_(None), which)
        .group_by(backfill_day.c.fault)
        .order_by(backfill_day.c.fault)
    )
    return {fault: int(number) for fault, number in rows}
