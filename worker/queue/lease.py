"""How rows are shared out among processes: due, taken under a lease, fenced by a number. Outbox and errands use it.

A row is due when its time has come and nobody holds it. Who takes it writes until when it is held; a process that dies
leaves it to the next when that passes. Each `take` adds one to the row's number, and every later statement of the taker
asks for the number that it wrote: who was too slow, and lost the row to another, changes nothing.

The relay takes no film. It holds the row (`hold`) while the message is under way, and the number stays: the worker that
gets the message takes the row by that number. `attempts` of a film is no part of this; `worker.scoring.task` counts it.

All times are of the database's clock (`worker.db.session.database_time`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, Row, Table, and_, delete, or_, select, update

from worker.db.session import reading
from worker.db.tables import errand, outbox


@dataclass(frozen=True, kw_only=True)
class Work:
    """A table of rows to be done, with the columns id, next_attempt_at and lease_until."""

    table: Table
    number: Column[Any]
    """Counts how often a row was taken."""
    first: tuple[Column[Any], ...] = ()
    """What goes before the time in the order of rows."""


OUTBOX = Work(table=outbox, number=outbox.c.claims, first=(outbox.c.priority,))
ERRANDS = Work(table=errand, number=errand.c.attempts)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A row that we took."""

    row_id: int
    number: int
    """The row's number after this taking: 1 for the first."""


def is_due(work: Work, now: datetime) -> ColumnElement[bool]:
    """The rows whose time has come and that nobody holds."""
    table = work.table
    return and_(table.c.next_attempt_at <= now, or_(table.c.lease_until.is_(None), table.c.lease_until <= now))


def failed_attempts(row: Any) -> int:
    """Attempts of an errand's row but the one that is under way."""
    return int(row.attempts) - (row.lease_until is not None)


def any_due(engine: Engine, work: Work, now: datetime, *which: ColumnElement[bool]) -> bool:
    """Whether there is anything to do: the common answer is no, and no writer's lock is taken to find out."""
    with reading(engine) as connection:
        query = select(work.table.c.id).where(is_due(work, now), *which).limit(1)
        return connection.execute(query).first() is not None


def oldest_due(
    connection: Connection, work: Work, now: datetime, most: int, *which: ColumnElement[bool]
) -> Sequence[Row[Any]]:
    """Due rows, oldest first of each priority, locked until the transaction ends. Those that another has locked are
    skipped."""
    return connection.execute(
        select(work.table)
        .where(is_due(work, now), *which)
        .order_by(*work.first, work.table.c.next_attempt_at, work.table.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()


def take(connection: Connection, work: Work, row_id: int, before: int, **values: Any) -> Claim | None:
    """Take a row whose number is `before`, and write `values`. None when another took it since."""
    mine = Claim(row_id=row_id, number=before + 1)
    taken = connection.execute(
        update(work.table)
        .where(work.table.c.id == row_id, work.number == before)
        .values({work.number.name: mine.number, **values})
    )
    return mine if taken.rowcount == 1 else None


def hold(connection: Connection, work: Work, row_ids: Collection[int], until: datetime) -> None:
    """Keep others from rows that `oldest_due` locked in this transaction. Nobody has taken them: their numbers stay."""
    connection.execute(update(work.table).where(work.table.c.id.in_(row_ids)).values(lease_until=until))


def let_go(connection: Connection, work: Work, number: int, *which: ColumnElement[bool]) -> None:
    """Free rows that were held, where their number is still this one: what was taken since is kept."""
    connection.execute(update(work.table).where(work.number == number, *which).values(lease_until=None))


def change(connection: Connection, work: Work, claim: Claim, **values: Any) -> bool:
    """Keep a row for longer, or give it back for later. False when another took it since: nothing is changed."""
    return connection.execute(update(work.table).where(_is(work, claim)).values(**values)).rowcount == 1


def remove(connection: Connection, work: Work, claim: Claim) -> bool:
    """It is done. False when another took it since: then nothing of ours may be committed."""
    return connection.execute(delete(work.table).where(_is(work, claim))).rowcount == 1


def _is(work: Work, claim: Claim) -> ColumnElement[bool]:
    return and_(work.table.c.id == claim.row_id, work.number == claim.number)
