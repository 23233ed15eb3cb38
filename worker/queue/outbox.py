"""The relay: due outbox rows, leased and published in batches of ids.

A film that came by itself waits for one film of a backfill at most: what is published cannot be overtaken, so of those
there are LOW_IN_FLIGHT at a time, and none is published while a live film waits or is at work; but where live films
never end, one after each LONGEST_TURN.

The database is the queue; Redis only carries. A message may be lost, doubled or flushed: when the lease passes without
a result the row is published again, and the task looks at the row before it works.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from worker.db.causes import cause
from worker.db.session import time_of, writing
from worker.db.tables import instance, outbox
from worker.errors import PublishError
from worker.queue import lease
from worker.queue.lease import OUTBOX
from worker.queue.retry import SUSPECT_ATTEMPTS, back_off
from worker.states import Priority, State

log = logging.getLogger("xrayq.relay")

LONGEST_PAUSE = 5.0
LOW_IN_FLIGHT = 1
"""Films of a lower priority that are published and not yet finished. Beside a backfill of 100 films a minute live films
took 3.3 times as long with two (p95, two cores)."""
LONGEST_TURN = timedelta(minutes=1)
"""Since a film of a lower priority was published, after which one goes ahead of the live ones."""
SLACK = timedelta(minutes=1)
"""A film received while this query runs is later than `now`; up to a minute is not the future."""

IS_LIVE = outbox.c.priority == Priority.LIVE.value

Claims = dict[int, int]
"""A message: instance id -> how often its row had been claimed when it was published. A task takes the row only while
that still holds, so an old or doubled message does nothing."""


@dataclass(frozen=True, kw_only=True)
class RelayOptions:
    """How much the relay sends, and how often it looks; from the settings."""

    batch_size: int
    """Films in one message."""
    max_in_flight: int
    """Leased rows at any time, so that a long backlog waits in the database and not in Redis."""
    lease_seconds: float
    poll_seconds: float


@dataclass(kw_only=True)
class LowTurn:
    """When this relay published a film of a lower priority last, or began to look."""

    at: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        self.at = self.at or now
        return now - self.at >= LONGEST_TURN


def relay(
    engine: Engine,
    publish: Callable[[Claims], None],
    options: RelayOptions,
    stopping: Callable[[], bool],
    turned: Callable[[str], None] = lambda _: None,
) -> None:
    """Publish until `stopping()`. Outlives the database and the broker being away.

    Args:
        publish: sends one message, or raises PublishError.
        turned: called after each look at the outbox, with what kept it from publishing or "".
    """
    failures, turn = 0, LowTurn()
    while not stopping():
        try:
            published = relay_once(engine, publish, options, turn)
            turned("")
            failures = 0
            pause = 0.0 if published == options.batch_size else options.poll_seconds
        except (SQLAlchemyError, PublishError) as error:
            failures += 1
            pause = back_off(2 * options.poll_seconds, failures, LONGEST_PAUSE)
            reason = f"Redis: {error}" if isinstance(error, PublishError) else cause(error)
            turned(reason)
            log.warning("cannot publish, will try again", extra={"reason": reason})
        if pause:
            time.sleep(pause)


def relay_once(
    engine: Engine, publish: Callable[[Claims], None], options: RelayOptions, turn: LowTurn | None = None
) -> int:
    """Lease and publish at most one batch. Returns how many rows. On PublishError the lease is given back."""
    leased = lease_batch(engine, options, time_of(engine), turn)
    if not leased:
        return 0
    try:
        publish(leased)
    except PublishError:
        _release(engine, leased)
        raise
    log.debug("published", extra={"count": len(leased)})
    return len(leased)


def lease_batch(engine: Engine, options: RelayOptions, now: datetime, turn: LowTurn | None = None) -> Claims:
    """Due rows of one priority, oldest first, now leased. Rows another relay holds are skipped.

    Args:
        now: the database's time.
        turn: of films of a lower priority, kept from call to call; None: they wait for every live one.
    """
    turn = turn or LowTurn()
    if not lease.any_due(engine, OUTBOX, now):
        return {}
    with writing(engine) as connection:
        live, low = _in_flight(connection, now)
        waiting = _count(connection, lease.is_due(OUTBOX, now), IS_LIVE)
        long_due: ColumnElement[bool] = ~IS_LIVE & (outbox.c.next_attempt_at <= now - LONGEST_TURN)
        if turn.is_over(now) and low < LOW_IN_FLIGHT and _count(connection, lease.is_due(OUTBOX, now), long_due):
            # Also beyond max_in_flight: that is full of live ones.
            which, room, busy = long_due, LOW_IN_FLIGHT - low, False
        elif waiting:
            which, room = IS_LIVE, min(options.batch_size, options.max_in_flight - live - low)
            busy = waiting < options.batch_size <= live
        else:
            which, room = ~IS_LIVE, min(LOW_IN_FLIGHT - low, options.max_in_flight - live - low)
            busy = live > 0
        if room <= 0 or busy:
            return {}  # workers are busy: let the batch fill
        rows = lease.oldest_due(connection, OUTBOX, now, room, which)
        if any(row.priority != Priority.LIVE for row in rows):
            turn.at = now
        if suspect := next((row for row in rows if row.attempts >= SUSPECT_ATTEMPTS), None):
            rows = [suspect]
        lease.hold(connection, OUTBOX, [row.id for row in rows], now + timedelta(seconds=options.lease_seconds))
        return {row.instance_id: row.claims for row in rows}


def _in_flight(connection: Connection, now: datetime) -> tuple[int, int]:
    """Leased rows: live ones, and others."""
    held = outbox.c.lease_until > now
    both = select(func.count().filter(IS_LIVE), func.count().filter(~IS_LIVE)).select_from(outbox).where(held)
    live, low = connection.execute(both).one()
    return live, low


def _count(connection: Connection, *which: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(outbox).where(*which)).scalar_one())


def add(connection: Connection, instance_id: int, due: datetime, priority: Priority = Priority.LIVE) -> None:
    """Put a film in the queue, in the transaction that makes it wait. `due` is of the database's clock."""
    row = {"kind": "score", "instance_id": instance_id, "next_attempt_at": due, "priority": priority.value}
    connection.execute(insert(outbox), row)


def ahead(connection: Connection, now: datetime) -> int:
    """Waiting films with a time of receipt in the future. A clock was ahead and is right again."""
    waits = select(func.count()).select_from(instance).where(instance.c.state == State.RECEIVED)
    return int(connection.execute(waits.where(instance.c.received_at > now + SLACK)).scalar_one())


def _release(engine: Engine, leased: Claims) -> None:
    """Give back what the broker did not take. It may have taken it without saying so: what a worker has is kept."""
    with writing(engine) as connection:
        for instance_id, claims in leased.items():
            lease.let_go(connection, OUTBOX, claims, outbox.c.instance_id == instance_id)
