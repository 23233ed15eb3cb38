"""What became of results, for people: sent, waiting, or given up."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from model.json_value import plain
from worker.db.tables import errand
from worker.queue.lease import failed_attempts
from worker.reporting import waiting
from worker.reporting.faults import in_words
from worker.reporting.waiting import LOST, SENT, WAITS, WaitingResult


class ResultState(StrEnum):
    WAITS = "waits"
    GIVEN_UP = "given_up"
    SENT = "sent"


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    """An object that a destination holds."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    digest: str
    """SHA-256 of the data set."""
    status: int
    """Of the C-STORE-RSP: 0, or a warning."""


@dataclass(frozen=True, kw_only=True)
class ListedMessage:
    """A message that a destination took."""

    kind: str
    """hl7, webhook or mail."""
    message_id: str
    digest: str
    """SHA-256 of the message."""
    answer: str


@dataclass(frozen=True, kw_only=True)
class ListedResult:
    """One film's result at one destination."""

    instance: int
    bundle_digest: str
    destination: str
    state: ResultState
    at: datetime
    """Sent, given up, or written for sending."""
    attempts: int = 0
    """That failed, of what waits or was given up."""
    next_at: datetime | None = None
    reason: str = ""
    """Why the last attempt failed, a code of `faults`."""
    objects: tuple[ListedObject, ...] = ()
    messages: tuple[ListedMessage, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = plain(asdict(self), timespec="seconds")
        return found | {"why": in_words(self.reason)}


def listed(connection: Connection, *, limit: int = 0) -> list[ListedResult]:
    """What waits or was given up, then what was sent, the newest first.

    Args:
        limit: of those sent; 0 is all.
    """
    rows = connection.execute(select(errand).where(errand.c.kind.in_((WAITS, LOST))).order_by(errand.c.id)).all()
    sent = [result for table in SENT for result in _newest(connection, table, limit)]
    sent.sort(key=lambda result: result.at, reverse=True)
    return [*_waiting(rows), *sent[: limit or None]]


def _newest(connection: Connection, table: Table, limit: int) -> list[ListedResult]:
    """Of one table, the newest first."""
    newest = select(table).order_by(table.c.sent_at.desc(), table.c.id)
    # Rows of one result stand together: they were written in one transaction.
    grouped = groupby(connection.execute(newest.execution_options(yield_per=1000)), key=_result_of)
    return _sent([row for _, of_result in islice(grouped, limit or None) for row in of_result])


def of_instance(connection: Connection, instance_id: int) -> list[ListedResult]:
    """As `listed`, of one instance."""
    waits = select(errand).where(errand.c.kind.in_((WAITS, LOST)), waiting.of_instance(instance_id))
    rows = connection.execute(waits.order_by(errand.c.id)).all()
    sent = [
        result
        for table in SENT
        for result in _sent(
            list(connection.execute(select(table).where(table.c.instance_id == instance_id).order_by(table.c.id)))
        )
    ]
    return [*_waiting(rows), *sent]


def _result_of(row: Row[Any]) -> tuple[int, str, str]:
    return row.instance_id, row.bundle_digest, row.destination


def _waiting(rows: Iterable[Row[Any]]) -> Iterator[ListedResult]:
    """But what a later release wrote, and this one cannot read."""
    for row in rows:
        try:
            waits = WaitingResult.read(row.payload)
        except ValueError:
            continue
        lost = row.kind == LOST
        yield ListedResult(
            instance=waits.instance,
            bundle_digest=waits.bundle.digest,
            destination=waits.destination,
            state=ResultState.GIVEN_UP if lost else ResultState.WAITS,
            at=datetime.fromisoformat(row.payload["given_up"]) if lost else waits.since,
            attempts=row.attempts if lost else failed_attempts(row),
            next_at=None if lost else row.next_attempt_at,
            reason=waits.reason,
        )


def _sent(rows: list[Row[Any]]) -> list[ListedResult]:
    found: dict[tuple[int, str, str], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[_result_of(row)].append(row)
    return [
        ListedResult(
            instance=instance_id,
            bundle_digest=bundle_digest,
            destination=destination,
            state=ResultState.SENT,
            at=max(row.sent_at for row in of_result),
            objects=tuple(_object(row) for row in of_result if "sop_class_uid" in row._fields),
            messages=tuple(_message(row) for row in of_result if "message_id" in row._fields),
        )
        for (instance_id, bundle_digest, destination), of_result in found.items()
    ]


def _object(row: Row[Any]) -> ListedObject:
    return ListedObject(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        digest=row.digest,
        status=row.status,
    )


def _message(row: Row[Any]) -> ListedMessage:
    return ListedMessage(kind=row.kind, message_id=row.message_id, digest=row.digest, answer=row.answer)
