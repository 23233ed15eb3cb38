"""Films on their way: those that wait, the last hour's, the dead letters."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection, func, select

from worker.audit.trail import ARRIVALS
from worker.db.tables import audit_event, instance, outbox
from worker.queue.outbox import ahead
from worker.receiving import waiting
from worker.states import State
from worker.words import counted

MINUTES = 60
MOST_DEAD_LETTERS = 20
ENDS = ("scored", "ineligible", "failed")
"""Actions of the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    films: int
    in_work: int
    """Waiting films that are on their way to a worker or with one."""
    oldest_at: datetime | None
    oldest_seconds: float
    """Age of the oldest, of those that came by themselves; 0 where none waits."""
    ahead: int
    """Waiting films with a time of receipt in the future: nobody knows since when they wait."""


@dataclass(frozen=True, kw_only=True)
class LastHour:
    """Films of each of the last sixty minutes, oldest first."""

    received: tuple[int, ...]
    ended: tuple[int, ...]
    """Scored, ineligible or failed."""
    p50: float | None
    """Seconds from received to scored, of the films scored in this hour."""
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class ShownDeadLetter:
    id: int
    calling_ae: str
    reason: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class DeadLetters:
    """Films that failed for one reason."""

    reason: str
    films: int
    oldest: datetime
    newest: datetime
    """When they were received."""


def ahead_text(number: int) -> str:
    """What is wrong where so many waiting films have a time of receipt in the future."""
    films = f"{counted(number, 'waiting film')} {'has' if number == 1 else 'have'}"
    return f"{films} a time of receipt in the future: check the clock of the database's host"


def waiting_films(connection: Connection, now: datetime) -> Waiting:
    oldest = waiting.oldest(connection)
    in_work = select(func.count()).select_from(outbox).where(outbox.c.lease_until > now)
    return Waiting(
        films=films_in(connection, State.RECEIVED),
        in_work=connection.execute(in_work).scalar_one(),
        oldest_at=oldest,
        oldest_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
        ahead=ahead(connection, now),
    )


def films_in(connection: Connection, state: State) -> int:
    return int(
        connection.execute(select(func.count()).select_from(instance).where(instance.c.state == state)).scalar_one()
    )


def last_hour(connection: Connection, now: datetime) -> LastHour:
    """By the audit trail, whose times are indexed: a film that waited for hours counts when it was scored."""
    # One look-up for each event: a join would let PostgreSQL read every film there is.
    came_at = (
        select(instance.c.received_at)
        .where(instance.c.id == audit_event.c.instance_id, instance.c.is_film, ~instance.c.backfilled)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(audit_event.c.at, audit_event.c.action, came_at).where(
            audit_event.c.at > now - timedelta(minutes=MINUTES),
            audit_event.c.at <= now,
            audit_event.c.action.in_(ARRIVALS + ENDS),
        )
    )
    received, ended = [0] * MINUTES, [0] * MINUTES
    seconds = []
    for at, action, received_at in rows:
        if received_at is None:
            continue  # no film, or one of a backfill
        minute = MINUTES - 1 - int((now - at).total_seconds() // 60)
        (received if action in ARRIVALS else ended)[minute] += 1
        if action == "scored" and at >= received_at:
            seconds.append((at - received_at).total_seconds())
    p50, p95 = (round(float(value), 2) for value in np.percentile(seconds, (50, 95))) if seconds else (None, None)
    return LastHour(received=tuple(received), ended=tuple(ended), p50=p50, p95=p95)


def dead_letters_by_reason(connection: Connection) -> tuple[DeadLetters, ...]:
    """Most films first; by the index of (state, received_at)."""
    films, came = func.count().label("films"), instance.c.received_at
    rows = connection.execute(
        select(instance.c.reason, films, func.min(came).label("oldest"), func.max(came).label("newest"))
        .where(instance.c.state == State.FAILED)
        .group_by(instance.c.reason)
        .order_by(films.desc(), instance.c.reason)
    )
    return tuple(
        DeadLetters(reason=row.reason or "", films=row.films, oldest=row.oldest, newest=row.newest) for row in rows
    )


def newest_dead_letters(connection: Connection) -> tuple[ShownDeadLetter, ...]:
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.reason, instance.c.received_at)
        .where(instance.c.state == State.FAILED)
        .order_by(instance.c.received_at.desc(), instance.c.id.desc())
        .limit(MOST_DEAD_LETTERS)
    )
    return tuple(
        ShownDeadLetter(id=row.id, calling_ae=row.calling_ae, reason=row.reason or "", received_at=row.received_at)
        for row in rows
    )
