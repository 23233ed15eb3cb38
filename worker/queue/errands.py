"""Errands: the outbox of what is not a film. The night's report, a mail, a result for the PACS: each one row, done
once.

A row is written in the transaction that makes it necessary, taken under a lease (`worker.queue.lease`), and removed in
the transaction that records that it is done.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.db.session import writing
from worker.db.tables import errand
from worker.queue import lease
from worker.queue.lease import ERRANDS, Claim
from worker.queue.retry import back_off

LONGEST_WAIT = 3600.0


class Kind(StrEnum):
    NIGHT = "night"
    MAIL = "mail"
    WEBHOOK = "webhook"
    RESULT = "result"
    COMMITMENT = "commitment"
    """A peer asked whether we hold its objects: it is reported to."""
    CONFIRM = "confirm"
    """A result that was sent: the destination is asked whether it holds it."""
    LOST_RESULT = "lost_result"
    """A result that was given up, or never confirmed: kept for a person, and taken by nobody."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """A row that this process has taken."""

    id: int
    kind: Kind
    key: str
    payload: dict[str, Any]
    attempt: int
    """1 for the first."""

    @property
    def claim(self) -> Claim:
        return Claim(row_id=self.id, number=self.attempt)


def add(
    connection: Connection,
    kind: Kind,
    key: str,
    due: datetime,
    payload: dict[str, Any] | None = None,
    *,
    instance_id: int | None = None,
    destination: str | None = None,
) -> None:
    """Write the row, unless one of this kind and key waits already."""
    about = {"instance_id": instance_id, "destination": destination}
    row = {"kind": kind, "key": key, "payload": payload, "next_attempt_at": due} | about
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(errand).values(row).on_conflict_do_nothing(index_elements=["kind", "key"]))


def add_taken(
    connection: Connection, kind: Kind, key: str, *, lease_until: datetime, now: datetime, destination: str
) -> Errand:
    """Write a row that is leased to us from the first moment on. There must be none of this kind and key."""
    row = {"kind": kind, "key": key, "next_attempt_at": now, "lease_until": lease_until, "attempts": 1}
    row_id = connection.execute(
        insert(errand).values(row | {"destination": destination}).returning(errand.c.id)
    ).scalar_one()
    return Errand(id=row_id, kind=kind, key=key, payload={}, attempt=1)


def take(
    engine: Engine, kinds: tuple[Kind, ...], *which: ColumnElement[bool], now: datetime, lease_seconds: float
) -> Errand | None:
    """The oldest due row, now leased to us; None when there is none.

    Args:
        which: conditions on `errand`, beside the kind.
    """
    wanted = (errand.c.kind.in_(kinds), *which)
    return next(iter(_take(engine, wanted, now=now, lease_seconds=lease_seconds, most=1)), None)


def take_batch(
    engine: Engine, kinds: tuple[Kind, ...], *which: ColumnElement[bool], now: datetime, lease_seconds: float, most: int
) -> list[Errand]:
    """As `take`, so many at once."""
    wanted = (errand.c.kind.in_(kinds), *which)
    return _take(engine, wanted, now=now, lease_seconds=lease_seconds, most=most)


def _take(
    engine: Engine, wanted: tuple[ColumnElement[bool], ...], *, now: datetime, lease_seconds: float, most: int
) -> list[Errand]:
    if not lease.any_due(engine, ERRANDS, now, *wanted):
        return []
    until, taken = now + timedelta(seconds=lease_seconds), []
    with writing(engine) as connection:
        for row in lease.oldest_due(connection, ERRANDS, now, most, *wanted):
            if claim := lease.take(connection, ERRANDS, row.id, row.attempts, lease_until=until):
                kind, payload = Kind(row.kind), row.payload or {}
                taken.append(Errand(id=row.id, kind=kind, key=row.key, payload=payload, attempt=claim.number))
    return taken


def extend(engine: Engine, taken: Errand, *, now: datetime, lease_seconds: float) -> bool:
    """Keep it for longer. False when the lease passed and another took it."""
    with writing(engine) as connection:
        return lease.change(connection, ERRANDS, taken.claim, lease_until=now + timedelta(seconds=lease_seconds))


def take_back(engine: Engine, taken: Errand, *, now: datetime, lease_seconds: float) -> Errand | None:
    """Ours for longer, or ours again where another had it since and has it no more. None where another has it now."""
    until = now + timedelta(seconds=lease_seconds)
    free = or_(errand.c.lease_until.is_(None), errand.c.lease_until <= now)
    values = {"attempts": errand.c.attempts + 1, "lease_until": until}
    with writing(engine) as connection:
        if lease.change(connection, ERRANDS, taken.claim, lease_until=until):
            return taken
        query = update(errand).where(errand.c.id == taken.id, free).values(values).returning(errand.c.attempts)
        attempt = connection.execute(query).scalar_one_or_none()
    return None if attempt is None else replace(taken, attempt=attempt)


def finish(connection: Connection, taken: Errand) -> bool:
    """Remove it. False when the lease passed and another took it: then nothing of ours may be committed."""
    return lease.remove(connection, ERRANDS, taken.claim)


def postpone(
    engine: Engine, taken: Errand, *, now: datetime, first_wait: float, payload: dict[str, Any] | None = None
) -> None:
    """Give it back for later: `first_wait` seconds, doubled with each attempt, an hour at most.

    Args:
        payload: what is left of it to do; None: all of it.
    """
    with writing(engine) as connection:
        put_off(connection, taken, now=now, first_wait=first_wait, payload=payload)


def put_off(
    connection: Connection,
    taken: Errand,
    *,
    now: datetime,
    first_wait: float,
    payload: dict[str, Any] | None = None,
) -> bool:
    """As `postpone`, in a transaction that does more. False when the lease passed and another took it."""
    due = now + timedelta(seconds=back_off(first_wait, taken.attempt, LONGEST_WAIT))
    left = taken.payload if payload is None else payload
    return lease.change(connection, ERRANDS, taken.claim, next_attempt_at=due, lease_until=None, payload=left)


def hand_over(connection: Connection, taken: Errand, *, now: datetime) -> bool:
    """Give it back undone: it is due at once. False when the lease passed and another took it."""
    return lease.change(connection, ERRANDS, taken.claim, next_attempt_at=now, lease_until=None)


def wake(connection: Connection, *which: ColumnElement[bool], now: datetime) -> None:
    """What waits for its next attempt, and nobody has taken, is due now. What another has locked is left to it."""
    later = (errand.c.lease_until.is_(None), errand.c.next_attempt_at > now)
    ids = select(errand.c.id).where(*which, *later).order_by(errand.c.id).with_for_update(skip_locked=True)
    connection.execute(update(errand).where(errand.c.id.in_(ids)).values(next_attempt_at=now))


def set_aside(connection: Connection, taken: Errand, kind: Kind, payload: dict[str, Any]) -> bool:
    """Make it a row of another kind, which nobody takes. False when the lease passed and another took it.

    One of that kind and key that was there is replaced.
    """
    if not lease.change(connection, ERRANDS, taken.claim, payload=payload, lease_until=None):
        return False  # and the one that was there stays
    connection.execute(delete(errand).where(errand.c.kind == kind, errand.c.key == taken.key))
    return lease.change(connection, ERRANDS, taken.claim, kind=kind)
