"""Errands: the outbox of what is not a film. The night's report, a mail, a webhook call: each one row, done once.

A row is written in the transaction that makes it necessary, taken under a lease, and removed in the transaction that
records that it is done. A process that dies leaves it to the next when the lease passes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.db.session import reading, writing
from worker.db.tables import errand

LONGEST_WAIT = 3600.0


class Kind(StrEnum):
    NIGHT = "night"
    MAIL = "mail"
    WEBHOOK = "webhook"


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A row that this process has taken."""

    id: int
    kind: Kind
    key: str
    payload: dict[str, Any]
    attempt: int
    """1 for the first."""


def add(connection: Connection, kind: Kind, key: str, due: datetime, payload: dict[str, Any] | None = None) -> None:
    """Write the row, unless one of this kind and key waits already."""
    row = {"kind": kind, "key": key, "payload": payload, "next_attempt_at": due}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(errand).values(row).on_conflict_do_nothing(index_elements=["kind", "key"]))


def take(engine: Engine, kinds: tuple[Kind, ...], *, now: datetime, lease_seconds: float) -> Errand | None:
    """The oldest due row, now leased to us; None when there is none."""
    due = (errand.c.kind.in_(kinds)) & (errand.c.next_attempt_at <= now)
    free = or_(errand.c.lease_until.is_(None), errand.c.lease_until <= now)
    with reading(engine) as connection:  # the common case: nothing to do, and no writer's lock taken to find out
        if connection.execute(select(errand.c.id).where(due, free).limit(1)).first() is None:
            return None
    with writing(engine) as connection:
        row = connection.execute(
            select(errand)
            .where(due, free)
            .order_by(errand.c.next_attempt_at, errand.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if row is None:
            return None
        connection.execute(
            update(errand)
            .where(errand.c.id == row.id)
            .values(attempts=row.attempts + 1, lease_until=now + timedelta(seconds=lease_seconds))
        )
    return Errand(id=row.id, kind=Kind(row.kind), key=row.key, payload=row.payload or {}, attempt=row.attempts + 1)


def extend(engine: Engine, one: Errand, *, now: datetime, lease_seconds: float) -> bool:
    """Keep it for longer. False when the lease passed and another took it."""
    with writing(engine) as connection:
        ours = connection.execute(
            update(errand)
            .where(errand.c.id == one.id, errand.c.attempts == one.attempt)
            .values(lease_until=now + timedelta(seconds=lease_seconds))
        )
    return ours.rowcount == 1


def finish(connection: Connection, one: Errand) -> bool:
    """Remove it. False when the lease passed and another took it: then nothing of ours may be committed."""
    gone = connection.execute(delete(errand).where(errand.c.id == one.id, errand.c.attempts == one.attempt))
    return gone.rowcount == 1


def postpone(
    engine: Engine, one: Errand, *, now: datetime, first_wait: float, payload: dict[str, Any] | None = None
) -> None:
    """Give it back for later: `first_wait` seconds, doubled with each attempt, an hour at most.

    Args:
        payload: what is left of it to do; None: all of it.
    """
    wait = min(first_wait * 2 ** min(one.attempt - 1, 20), LONGEST_WAIT)
    with writing(engine) as connection:
        connection.execute(
            update(errand)
            .where(errand.c.id == one.id, errand.c.attempts == one.attempt)
            .values(
                next_attempt_at=now + timedelta(seconds=wait),
                lease_until=None,
                payload=one.payload if payload is None else payload,
            )
        )
