"""Brings the audit trail to the site's audit repository: in order, at least once.

One row of the database, the feed, says up to which audit event the repository has everything. Rows of the trail get
rising ids in the order of their commits, for its writers wait for one another (`trail.record_all`); so nothing is ever
committed behind the feed. A batch is

    taken      under a lease, and its last event is written down: tried again, it is the same batch, byte for byte
    sent       over a connection of its own
    recorded   the feed moves to its end

Who dies in between leaves the lease, and the next sends the batch again. Nothing is given up: a repository that is away
for a month gets a month of messages, for the trail keeps them. The alarm `audit_repository` tells of it.
"""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite

from model.json_value import plain
from worker.audit_messages.from_trail import messages_of, rows_between
from worker.audit_messages.message import Source, to_xml
from worker.audit_messages.syslog import to_syslog
from worker.audit_messages.transfers import PatientOf
from worker.audit_messages.transport import Repository
from worker.db.session import database_time, reading, writing
from worker.db.tables import audit_event, audit_feed
from worker.errors import Undelivered
from worker.queue import lease
from worker.queue.lease import Claim, Work
from worker.queue.retry import back_off

log = logging.getLogger("xrayq.audit")

FEED = Work(table=audit_feed, number=audit_feed.c.takes)
ONLY = 1
"""Id of the feed's one row."""


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    source: Source
    patient_of: PatientOf
    gather_seconds: float = 10.0
    """Age of the youngest event that is sent: what comes of one study within that is one message."""
    rows: int = 500
    """Audit events in a batch, at most."""
    lease_seconds: float = 180.0
    """Must exceed the time that sending may take, or a batch that is under way is sent twice."""
    first_wait: float = 5.0
    longest_wait: float = 300.0
    """Seconds before the next attempt, doubled with each failure."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Events that are to be sent, now leased to us."""

    claim: Claim
    after: int
    until: int
    failures: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the repository has the trail."""

    waiting: int
    """Audit events that it does not have yet, at most: not every one makes a message."""
    oldest_at: datetime | None
    """When the oldest of them was written."""
    failures: int
    reason: str
    """Of the last failure, a reason of `transport.WORDS`; "" after a success."""
    handed_over_at: datetime | None
    next_attempt_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        fields: dict[str, Any] = plain(asdict(self), timespec="auto")
        return fields

    def behind_seconds(self, now: datetime) -> float:
        return max(0.0, (now - self.oldest_at).total_seconds()) if self.oldest_at else 0.0


def begin(connection: Connection) -> None:
    """Make the feed, where there is none: it begins with what comes from now on."""
    head = connection.execute(select(func.max(audit_event.c.id))).scalar_one() or 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"id": ONLY, "last_id": head, "next_attempt_at": database_time(connection)}
    connection.execute(dialect.insert(audit_feed).values(row).on_conflict_do_nothing(index_elements=["id"]))


def standing(connection: Connection) -> Standing | None:
    """None where there never was a repository."""
    feed = connection.execute(select(audit_feed)).one_or_none()
    if feed is None:
        return None
    head = connection.execute(select(func.max(audit_event.c.id))).scalar_one() or 0
    first = select(audit_event.c.at).where(audit_event.c.id > feed.last_id).order_by(audit_event.c.id).limit(1)
    return Standing(
        waiting=max(0, head - feed.last_id),
        oldest_at=connection.execute(first).scalar_one_or_none(),
        failures=feed.failures,
        reason=feed.reason,
        handed_over_at=feed.handed_over_at,
        next_attempt_at=feed.next_attempt_at,
    )


def newest(engine: Engine, events: int, options: FeedOptions) -> list[str]:
    """The XML of what the newest events of the trail make, oldest first."""
    with reading(engine) as connection:
        head = connection.execute(select(func.max(audit_event.c.id))).scalar_one() or 0
        rows = rows_between(connection, head - events, head)
        messages = messages_of(connection, rows, options.source, options.patient_of)
    return [to_xml(message, options.source).decode() for message in messages]


def send_due(engine: Engine, repository: Repository, options: FeedOptions) -> int:
    """All that is due. Returns how many batches were tried."""
    tried = 0
    while batch := take(engine, options):
        tried += 1
        if not _send(engine, batch, repository, options):
            break
    return tried


def take(engine: Engine, options: FeedOptions) -> Batch | None:
    """The next batch, or the one that was on its way; None where there is nothing, or another has it."""
    with reading(engine) as connection:
        if _next(connection, options) is None:
            return None
    with writing(engine) as connection:
        now = database_time(connection)
        found = lease.oldest_due(connection, FEED, now, 1)
        until = _next(connection, options)
        if not found or until is None:
            return None
        feed = found[0]
        held = now + timedelta(seconds=options.lease_seconds)
        claim = lease.take(connection, FEED, feed.id, feed.takes, lease_until=held, until_id=until)
        return Batch(claim=claim, after=feed.last_id, until=until, failures=feed.failures) if claim else None


def _next(connection: Connection, options: FeedOptions) -> int | None:
    """Where the next batch ends; None where none is due."""
    now = database_time(connection)
    feed = connection.execute(select(audit_feed).where(lease.is_due(FEED, now))).one_or_none()
    if feed is None or feed.until_id is not None:
        return feed.until_id if feed else None
    old_enough = audit_event.c.at <= now - timedelta(seconds=options.gather_seconds)
    events = (
        select(audit_event.c.id)
        .where(audit_event.c.id > feed.last_id, old_enough)
        .order_by(audit_event.c.id)
        .limit(options.rows)
        .subquery()
    )
    until: int | None = connection.execute(select(func.max(events.c.id))).scalar_one()
    return until


def _send(engine: Engine, batch: Batch, repository: Repository, options: FeedOptions) -> bool:
    """False where it did not arrive."""
    with reading(engine) as connection:
        rows = rows_between(connection, batch.after, batch.until)
        messages = messages_of(connection, rows, options.source, options.patient_of)
    try:
        if messages:
            repository.send([to_syslog(message, options.source) for message in messages])
    except Undelivered as failure:
        _put_off(engine, batch, str(failure), options)
        return False
    with writing(engine) as connection:
        now = database_time(connection)
        arrived: dict[str, Any] = {"failures": 0, "reason": "", "handed_over_at": now} if messages else {}
        ended = {"last_id": batch.until, "until_id": None, "lease_until": None, "next_attempt_at": now}
        lease.change(connection, FEED, batch.claim, **(ended | arrived))
    if batch.failures and messages:
        log.info("audit messages arrive again", extra={"count": len(messages)})
    return True


def _put_off(engine: Engine, batch: Batch, reason: str, options: FeedOptions) -> None:
    """What follows waits too: the order of the trail is kept."""
    failures = batch.failures + 1
    wait = timedelta(seconds=back_off(options.first_wait, failures, options.longest_wait))
    with writing(engine) as connection:
        due = database_time(connection) + wait
        values = {"failures": failures, "reason": reason, "lease_until": None, "next_attempt_at": due}
        lease.change(connection, FEED, batch.claim, **values)
    log.warning("audit messages did not arrive, will try again", extra={"reason": reason, "attempt": failures})
