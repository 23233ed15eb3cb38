"""What became of results, for people: sent, waiting, or given up."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from model.json_value import plain
from worker.db.tables import errand, sent_object
from worker.queue.lease import failed_attempts
from worker.reporting import waiting
from worker.reporting.faults import in_words
from worker.reporting.waiting import LOST, WAITS


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
    group = (sent_object.c.instance_id, sent_object.c.bundle_digest, sent_object.c.destination)
    newest = select(*group, func.max(sent_object.c.sent_at).label("at")).group_by(*group)
    newest = newest.order_by(func.max(sent_object.c.sent_at).desc(), sent_object.c.instance_id.desc())
    which = (newest.limit(limit) if limit else newest).subquery()
    same = [sent_object.c[column.name] == which.c[column.name] for column in group]
    sent = select(sent_object).join(which, same[0] & same[1] & same[2]).order_by(which.c.at.desc(), sent_object.c.id)
    return [*map(_waiting, rows), *_sent(list(connection.execute(sent)))]


def of_instance(connection: Connection, instance_id: int) -> list[ListedResult]:
    """As `listed`, of one instance."""
    waits = select(errand).where(errand.c.kind.in_((WAITS, LOST)), waiting.of_instance(instance_id))
    rows = connection.execute(waits.order_by(errand.c.id)).all()
    sent = select(sent_object).where(sent_object.c.instance_id == instance_id)
    return [*map(_waiting, rows), *_sent(list(connection.execute(sent.order_by(sent_object.c.id))))]


def of_instances(connection: Connection, ids: Select[Any]) -> dict[int, list[ListedResult]]:
    """As `of_instance`, of those of these instances that have a result.

    Args:
        ids: selects them.
    """
    waits = select(errand).where(errand.c.kind.in_((WAITS, LOST)), errand.c.payload["instance"].as_integer().in_(ids))
    sent = select(sent_object).where(sent_object.c.instance_id.in_(ids))
    found: dict[int, list[ListedResult]] = defaultdict(list)
    for result in (
        *map(_waiting, connection.execute(waits.order_by(errand.c.id))),
        *_sent(list(connection.execute(sent.order_by(sent_object.c.id)))),
    ):
        found[result.instance].append(result)
    return dict(found)


def _waiting(row: Row[Any]) -> ListedResult:
    payload, lost = row.payload, row.kind == LOST
    return ListedResult(
        instance=payload["instance"],
        bundle_digest=payload["bundle"]["digest"],
        destination=payload["destination"],
        state=ResultState.GIVEN_UP if lost else ResultState.WAITS,
        at=datetime.fromisoformat(payload["given_up" if lost else "since"]),
        attempts=row.attempts if lost else failed_attempts(row),
        next_at=None if lost else row.next_attempt_at,
        reason=payload["reason"],
    )


def _sent(rows: list[Row[Any]]) -> list[ListedResult]:
    found: dict[tuple[int, str, str], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.instance_id, row.bundle_digest, row.destination].append(row)
    return [
        ListedResult(
            instance=instance_id,
            bundle_digest=bundle_digest,
            destination=destination,
            state=ResultState.SENT,
            at=max(row.sent_at for row in of_result),
            objects=tuple(
                ListedObject(
                    sop_class_uid=row.sop_class_uid,
                    sop_instance_uid=row.sop_instance_uid,
                    series_instance_uid=row.series_instance_uid,
                    digest=row.digest,
                    status=row.status,
                )
                for row in of_result
            ),
        )
        for (instance_id, bundle_digest, destination), of_result in found.items()
    ]
