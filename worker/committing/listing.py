"""What became of requests for our storage commitment, for people."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, select

from dicom_gateway.commitment import CLASS_CONFLICT, DUPLICATE_TRANSACTION, NO_SUCH_OBJECT, PROCESSING_FAILURE
from dicom_gateway.errors import in_hexadecimal
from model.json_value import plain
from worker.committing.holding import SPOOL_AWAY
from worker.db.tables import commitment_request
from worker.reporting import faults

NO_ROUTE = "no_route"
WORDS = {
    NO_ROUTE: "its association ended before the report, and XRAYQ_COMMITMENT_TO has no address of it",
    SPOOL_AWAY: "the spool is not there, or cannot be read: nobody knows what it holds",
    faults.NOT_ACCEPTED: "it does not take storage commitment with us as SCP: let it take our reports",
    f"{faults.REJECTED}1_1_7": "it does not answer to the called AE title in XRAYQ_COMMITMENT_TO",
}


FAILURES = {
    NO_SUCH_OBJECT: "not held",
    CLASS_CONFLICT: "held under another SOP class",
    PROCESSING_FAILURE: "came, and its file is damaged or cannot be read",
    DUPLICATE_TRANSACTION: "not looked at: the AE used this transaction UID for other objects before",
}
"""By Failure Reason."""


class RequestState(StrEnum):
    WAITS = "waits"
    REPORTED = "reported"
    """The peer took the report."""
    GIVEN_UP = "given_up"


@dataclass(frozen=True, kw_only=True)
class ListedRequest:
    id: int
    calling_ae: str
    transaction_uid: str
    asked_at: datetime
    state: RequestState
    objects: int
    failed: Mapping[str, int]
    """Objects that we do not hold, by Failure Reason in hexadecimal; of one that waits, as far as it is known."""
    attempts: int
    """To report, that ended."""
    reason: str
    """Why the last of them failed, a code."""
    ended_at: datetime | None

    @property
    def why(self) -> str:
        """ "" before the first, and where it arrived."""
        return WORDS.get(self.reason) or faults.in_words(self.reason)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = plain(asdict(self), timespec="seconds")
        return found | {"why": self.why}


@dataclass(frozen=True, kw_only=True)
class ListedObject:
    sop_instance_uid: str
    sop_class_uid: str
    failure_reason: int | None
    """None: we hold it, or nobody looked yet."""

    @property
    def why(self) -> str:
        return "" if self.failure_reason is None else FAILURES[self.failure_reason]


@dataclass(frozen=True, kw_only=True)
class Unreported:
    """Requests of an AE that it has no report on."""

    calling_ae: str
    requests: int
    oldest: datetime
    """When the first of them was asked."""


def unreported(connection: Connection, *, late: datetime, given_up: datetime) -> list[Unreported]:
    """By AE, of those that waited before `late`, or were given up after `given_up`; the oldest first."""
    table = commitment_request
    oldest = func.min(table.c.asked_at)
    waits = table.c.given_up_at.is_(None) & (table.c.asked_at < late)
    query = (
        select(table.c.calling_ae, func.count(), oldest)
        .where(table.c.answered_at.is_(None), waits | (table.c.given_up_at > given_up))
        .group_by(table.c.calling_ae)
        .order_by(oldest)
    )
    return [
        Unreported(calling_ae=title, requests=number, oldest=first)
        for title, number, first in connection.execute(query)
    ]


def without_address(connection: Connection) -> set[str]:
    """AEs that left before a report, and had no address then."""
    table = commitment_request
    query = select(table.c.calling_ae).where(table.c.reason == NO_ROUTE, table.c.answered_at.is_(None)).distinct()
    return set(connection.execute(query).scalars())


def listed(connection: Connection, *, limit: int = 0) -> list[ListedRequest]:
    """The newest first.

    Args:
        limit: 0 is all.
    """
    query = select(commitment_request).order_by(commitment_request.c.id.desc()).limit(limit or None)
    return [_request(row) for row in connection.execute(query)]


def shown(connection: Connection, request_id: int) -> tuple[ListedRequest, list[ListedObject]] | None:
    """One request and its objects; None where there is none."""
    row = connection.execute(select(commitment_request).where(commitment_request.c.id == request_id)).one_or_none()
    if row is None:
        return None
    failed = row.failed or {}
    objects = [
        ListedObject(sop_instance_uid=uid, sop_class_uid=of_class, failure_reason=failed.get(uid))
        for uid, of_class in row.asked.items()
    ]
    return _request(row), objects


def _request(row: Row[Any]) -> ListedRequest:
    ended = row.answered_at or row.given_up_at
    state = RequestState.REPORTED if row.answered_at else RequestState.GIVEN_UP if ended else RequestState.WAITS
    return ListedRequest(
        id=row.id,
        calling_ae=row.calling_ae,
        transaction_uid=row.transaction_uid,
        asked_at=row.asked_at,
        state=state,
        objects=len(row.asked),
        failed=dict(sorted(Counter(in_hexadecimal(reason) for reason in (row.failed or {}).values()).items())),
        attempts=row.attempts,
        reason=row.reason,
        ended_at=ended,
    )
