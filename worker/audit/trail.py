"""Audit events: one row for each change of state, written in the transaction that makes the change, never altered.

Each row holds the digest of the row before and its own, so a row that was altered, removed or slipped in breaks the
chain there. Who can write the database can also compute a new chain: keep the head's digest elsewhere
(`xrayq audit export`, the nightly report), and `xrayq audit verify --head` finds that too.

The event that tells of a score holds the score's digest: `worker.audit.score_check` holds the two together.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select

from worker.audit import score_check
from worker.audit.actions import Action
from worker.audit.score_check import ScoreCheck
from worker.db.session import database_time, snapshot
from worker.db.tables import audit_event, instance

FIRST = "0" * 64
"""What the first row holds as the digest before it."""
CHAIN_LOCK = 0x7872617971  # "xrayq": one writer at a time on PostgreSQL; on SQLite a transaction is alone anyway
CHUNK = 5000
ARRIVALS = (Action.RECEIVED, Action.REVISION)
"""Actions with which a film's way begins."""


@dataclass(frozen=True, kw_only=True)
class ChainCheck:
    """What verifying found."""

    rows: int
    """Number of whole rows, from the first on."""
    head: str
    """Digest of the last whole row."""
    broken: int | None = None
    """Id of the first row that is not."""
    fault: str = ""
    scores: ScoreCheck = field(default_factory=ScoreCheck)

    @property
    def whole(self) -> bool:
        """Whether the chain is, and every score that can be checked is as it was written."""
        return not self.fault and not self.scores.wrong

    def as_dict(self) -> dict[str, Any]:
        return {"whole": self.whole} | asdict(self) | {"scores": self.scores.as_dict()}


def record(
    connection: Connection, *, action: Action, instance_id: int | None, actor: str, detail: dict[str, Any] | None = None
) -> None:
    """Append one event, as `record_all` does."""
    record_all(connection, [event(action=action, instance_id=instance_id, actor=actor, detail=detail)])


def event(
    *, action: Action, instance_id: int | None, actor: str, detail: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A row for `record_all`, which says when.

    `detail` holds codes and digests, never patient data. Free text is kept where an operator gives a reason: for an
    acknowledgement, for a device; the command asks for no patient data.
    """
    return {
        "action": action,
        "instance_id": instance_id,
        "actor": actor,
        "detail": detail or {},
    }


def record_all(connection: Connection, events: list[dict[str, Any]]) -> None:
    """Append to the chain. The last thing a transaction does: other writers wait from here to its commit.

    The time is the database's, asked for when the chain is ours: it rises along the chain.
    """
    if not events:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(CHAIN_LOCK)))
    previous, now = _head(connection)
    rows = []
    for event_ in events:
        row = {"at": now} | event_
        digest = digest_of(previous, row)
        rows.append(row | {"previous": previous, "digest": digest})
        previous = digest
    connection.execute(insert(audit_event), rows)


def digest_of(previous: str, row: dict[str, Any]) -> str:
    """SHA-256 over the digest before and the row's content, hex."""
    return hashlib.sha256(content_of(previous, row)).hexdigest()


def content_of(previous: str, row: dict[str, Any]) -> bytes:
    """What a row's digest is made of: the digest before and the row's content, as JSON with sorted keys."""
    content = {
        "previous": previous,
        "at": row["at"].astimezone(UTC).isoformat(timespec="microseconds"),
        **{name: row[name] for name in ("action", "instance_id", "actor", "detail")},
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def verify(engine: Engine, *, head: str = "") -> ChainCheck:
    """Check every row of the chain, and that every instance has its arrival in it: a trail that was emptied has none.
    Then every score, also where the chain is broken: a row that can never be mended shall not hide one.

    Args:
        head: a digest kept elsewhere, which the chain must hold; at least twelve characters of it.
    """
    return replace(_chain(engine, head), scores=score_check.check(engine))


def events(engine: Engine) -> Iterator[Row[Any]]:
    """Every row, oldest first, a chunk at a time."""
    last = 0
    while True:
        with snapshot(engine) as connection:
            rows = connection.execute(
                select(audit_event).where(audit_event.c.id > last).order_by(audit_event.c.id).limit(CHUNK)
            ).all()
        yield from rows
        if len(rows) < CHUNK:
            return
        last = rows[-1].id


def as_dict(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping) | {"at": row.at.isoformat(timespec="microseconds")}


def _chain(engine: Engine, head: str) -> ChainCheck:
    previous, rows, seen = FIRST, 0, not head
    for row in events(engine):
        fault = _fault(row, previous)
        if fault:
            return ChainCheck(rows=rows, head=previous, broken=row.id, fault=fault)
        previous, rows = row.digest, rows + 1
        seen = seen or previous.startswith(head)
    fault = "" if seen else f"no row has the digest {head[:12]}: the end was cut, or the chain computed anew"
    return ChainCheck(rows=rows, head=previous, fault=fault or _missing(engine))


def _head(connection: Connection) -> tuple[str, datetime]:
    """The newest digest, and the database's time. In one round trip: the chain's next writer waits for it."""
    newest = select(audit_event.c.digest).where(audit_event.c.digest != "").order_by(audit_event.c.id.desc()).limit(1)
    if connection.dialect.name != "postgresql":
        return connection.execute(newest).scalar_one_or_none() or FIRST, database_time(connection)
    head, now = connection.execute(select(newest.scalar_subquery(), func.clock_timestamp())).one()
    return head or FIRST, now.astimezone(UTC)


def _missing(engine: Engine) -> str:
    """What the instances say that the trail must hold."""
    arrival = select(audit_event.c.id).where(
        audit_event.c.instance_id == instance.c.id, audit_event.c.action.in_(ARRIVALS)
    )
    with snapshot(engine) as connection:
        first = connection.execute(select(instance.c.id).where(~arrival.exists()).order_by(instance.c.id).limit(1))
        key = first.scalar_one_or_none()
    return "" if key is None else f"it has no arrival of instance {key}: rows were removed"


def _fault(row: Row[Any], previous: str) -> str:
    if not row.digest:
        return "it has no digest: it was altered, or written past xrayq"
    if row.previous != previous:
        return "the row before it was removed, altered or slipped in"
    if row.digest != digest_of(previous, row._asdict()):
        return "its content was altered"
    return ""
