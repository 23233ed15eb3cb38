"""What became of results, for people: sent, waiting, or given up."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from model.json_value import plain
from worker.db.tables import errand
from worker.queue.lease import failed_attempts
from worker.reporting import faults, waiting
from worker.reporting.held import is_held
from worker.reporting.told import SENT
from worker.reporting.waiting import CONFIRM, EACH, LOST, WAITS, WaitingResult


class ResultState(StrEnum):
    WAITS = "waits"
    GIVEN_UP = "given_up"
    SENT = "sent"
    """The destination took it, and has not said more."""
    CONFIRMED = "confirmed"
    """It says that it holds each object."""
    UNCONFIRMED = "unconfirmed"
    """Sent, and given up before it said so."""


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
    committed_at: datetime | None
    """When the destination's storage commitment came."""
    found_at: datetime | None
    """When its answer to C-FIND had the object."""
    status_counts_at: datetime | None
    """Since when the status counts: it is not asked, or takes neither question."""
    failure_reason: int | None
    """(0008,1197) of its last report, where it does not commit."""


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
    """Why the last attempt failed, to send it or to have it confirmed, a code of `faults`."""
    objects: tuple[ListedObject, ...] = ()
    messages: tuple[ListedMessage, ...] = ()

    @property
    def why(self) -> str:
        """The reason in words."""
        return faults.in_words(self.reason)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = plain(asdict(self), timespec="seconds")
        return found | {"why": self.why}


def listed(connection: Connection, *, limit: int = 0) -> list[ListedResult]:
    """What waits or was given up, then what was sent, the newest first.

    Args:
        limit: of those sent; 0 is all.
    """
    rows = connection.execute(select(errand).where(errand.c.kind.in_(EACH)).order_by(errand.c.id)).all()
    sent = [result for table in SENT for result in _newest(connection, table, limit, _about(rows))]
    sent.sort(key=lambda result: result.at, reverse=True)
    return _both(rows, sent[: limit or None])


def undone(connection: Connection, destinations: Collection[str], *, limit: int) -> list[ListedResult]:
    """What a person may have to look at: given up, then what waits, those first that were tried most often.

    Args:
        destinations: names of those in force.
        limit: results at most.
    """
    kept = select(errand).where(errand.c.kind.in_((WAITS, LOST)))
    order = (errand.c.kind != LOST, errand.c.attempts.desc(), errand.c.id)
    rows = connection.execute(kept.order_by(*order).limit(limit)).all()
    return beside_settings(_waiting(rows), destinations)


def _newest(connection: Connection, table: Table, limit: int, about: dict[str, Row[Any]]) -> list[ListedResult]:
    """Of one table, the newest first."""
    newest = select(table).order_by(table.c.sent_at.desc(), table.c.id)
    # Rows of one result stand together: they were written in one transaction.
    grouped = groupby(connection.execute(newest.execution_options(yield_per=1000)), key=_result_of)
    return _sent([row for _, of_result in islice(grouped, limit or None) for row in of_result], about)


def beside_settings(results: Iterable[ListedResult], destinations: Collection[str]) -> list[ListedResult]:
    """What waits for a destination that is none of these says so: nobody tries, so there is no other reason."""
    return [
        replace(result, reason=faults.NOT_CONFIGURED)
        if result.state is ResultState.WAITS and result.destination not in destinations
        else result
        for result in results
    ]


def of_instance(connection: Connection, instance_id: int) -> list[ListedResult]:
    """As `listed`, of one instance."""
    waits = select(errand).where(errand.c.kind.in_(EACH), waiting.of_instance(instance_id))
    rows = connection.execute(waits.order_by(errand.c.id)).all()
    return _both(rows, _sent_of(connection, [instance_id], _about(rows)))


def of_instances(connection: Connection, ids: Select[Any]) -> dict[int, list[ListedResult]]:
    """As `of_instance`, of those of these instances that have a result.

    Args:
        ids: selects them.
    """
    waits = select(errand).where(errand.c.kind.in_(EACH), errand.c.instance_id.in_(ids))
    rows = connection.execute(waits.order_by(errand.c.id)).all()
    found: dict[int, list[ListedResult]] = defaultdict(list)
    for result in _both(rows, _sent_of(connection, ids, _about(rows))):
        found[result.instance].append(result)
    return dict(found)


def _sent_of(
    connection: Connection, ids: Select[Any] | Sequence[int], about: dict[str, Row[Any]]
) -> list[ListedResult]:
    found = []
    for table in SENT:
        sent = select(table).where(table.c.instance_id.in_(ids)).order_by(table.c.id)
        found += _sent(connection.execute(sent).all(), about)
    return found


def _about(errands: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
    """Errands about what was sent, by key: it is to be confirmed, or was given up unconfirmed."""
    return {row.key: row for row in errands if row.kind == CONFIRM or (row.kind == LOST and row.payload.get("sent"))}


def _both(errands: Sequence[Row[Any]], sent: Sequence[ListedResult]) -> list[ListedResult]:
    """What is to be sent, then what was. An errand about what was sent is told there."""
    about = _about(errands)
    told = {waiting.key_of(one.instance, one.bundle_digest, one.destination) for one in sent}
    return [*_waiting(row for row in errands if row.key not in about or row.key not in told), *sent]


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
            state=_state(row),
            at=datetime.fromisoformat(row.payload["given_up"]) if lost else waits.written or waits.since,
            attempts=row.attempts if lost else failed_attempts(row),
            next_at=None if lost else row.next_attempt_at,
            reason=waits.reason,
        )


def _state(row: Row[Any]) -> ResultState:
    """Of an errand; what was sent may lie further back than what is listed."""
    if row.kind == LOST:
        return ResultState.UNCONFIRMED if row.payload.get("sent") else ResultState.GIVEN_UP
    return ResultState.SENT if row.kind == CONFIRM else ResultState.WAITS


def _sent(rows: Sequence[Row[Any]], about: dict[str, Row[Any]]) -> list[ListedResult]:
    """
    Args:
        rows: of `sent_object`.
        about: errands of what is not confirmed, by key.
    """
    found: dict[tuple[int, str, str], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[_result_of(row)].append(row)
    return [_one_sent(key, of_result, about.get(waiting.key_of(*key))) for key, of_result in found.items()]


def _one_sent(key: tuple[int, str, str], rows: Sequence[Row[Any]], about: Row[Any] | None) -> ListedResult:
    """`about`: its errand, where it is not confirmed."""
    objects = [row for row in rows if "sop_class_uid" in row._fields]
    said = bool(objects) and all(row.committed_at or row.found_at for row in objects)
    state = ResultState.CONFIRMED if said else ResultState.SENT
    waits = about if about is not None and about.kind == CONFIRM else None
    if about is not None and not waits:
        state = ResultState.UNCONFIRMED
    counts = bool(objects) and not said and all(map(is_held, objects))
    instance_id, bundle_digest, destination = key
    return ListedResult(
        instance=instance_id,
        bundle_digest=bundle_digest,
        destination=destination,
        state=state,
        at=max(row.sent_at for row in rows),
        attempts=0 if about is None else failed_attempts(about),
        next_at=waits.next_attempt_at if waits else None,
        reason=about.payload["reason"] if about is not None else faults.STATUS_COUNTS if counts else "",
        objects=tuple(map(_object, objects)),
        messages=tuple(_message(row) for row in rows if "message_id" in row._fields),
    )


def _object(row: Row[Any]) -> ListedObject:
    return ListedObject(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        digest=row.digest,
        status=row.status,
        committed_at=row.committed_at,
        found_at=row.found_at,
        status_counts_at=row.status_counts_at,
        failure_reason=row.failure_reason,
    )


def _message(row: Row[Any]) -> ListedMessage:
    return ListedMessage(kind=row.kind, message_id=row.message_id, digest=row.digest, answer=row.answer)
