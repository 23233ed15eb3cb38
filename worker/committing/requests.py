"""Requests for our storage commitment, and what became of them: rows of `commitment_request`, each with an errand while
it is not reported on.

Each change is one transaction with its audit event. Who asks the same transaction twice has two rows, and is reported
to twice: the first report may not have arrived.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from dicom_gateway.committing import CommitmentAnswer, CommitmentRequest
from dicom_gateway.errors import RequestTooLarge, in_hexadecimal
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.session import database_time, reading, writing
from worker.db.tables import commitment_request, errand
from worker.queue import errands
from worker.queue.errands import Errand, Kind

ASKED = Kind.COMMITMENT
MOST_WAITING = 1000
"""Requests of one AE that wait for their report."""
MOST_A_DAY = 5000
"""Requests of one AE within 24 hours: each is kept for KEPT_DAYS, with up to 1.4 MB of UIDs."""
KEPT_DAYS = 30
"""After which a request that ended is forgotten. The audit trail keeps its event."""


@dataclass(frozen=True, kw_only=True)
class KeptRequest:
    """A row, read by whoever has its errand."""

    taken: Errand
    calling_ae: str
    transaction_uid: str
    objects: Mapping[str, str]
    asked_at: datetime
    checked_at: datetime | None
    failed: Mapping[str, int]
    """As of `checked_at`."""
    duplicate: bool
    """The AE asked about other objects under this transaction UID before."""


def keep(engine: Engine, request: CommitmentRequest, *, lease_seconds: float) -> Errand:
    """Commit a request. Its errand is ours for so long.

    Raises SQLAlchemyError; RequestTooLarge where too many of this AE wait, or came within a day.
    """
    with writing(engine) as connection:
        now = database_time(connection)
        waiting = select(func.count()).where(errand.c.kind == ASKED, errand.c.destination == request.calling_ae)
        of_the_day = select(func.count()).where(
            commitment_request.c.calling_ae == request.calling_ae,
            commitment_request.c.asked_at > now - timedelta(days=1),
        )
        if connection.execute(waiting).scalar_one() >= MOST_WAITING:
            raise RequestTooLarge
        if connection.execute(of_the_day).scalar_one() >= MOST_A_DAY:
            raise RequestTooLarge
        row = {"calling_ae": request.calling_ae, "transaction_uid": request.transaction_uid}
        row_id = connection.execute(
            insert(commitment_request)
            .values(row | {"asked": dict(request.objects), "asked_at": now})
            .returning(commitment_request.c.id)
        ).scalar_one()
        taken = errands.add_taken(
            connection,
            ASKED,
            str(row_id),
            lease_until=now + timedelta(seconds=lease_seconds),
            now=now,
            destination=request.calling_ae,
        )
        detail = {"request": row_id, "objects": len(request.objects)}
        trail.record(
            connection, action=Action.COMMITMENT_ASKED, instance_id=None, actor=request.calling_ae, detail=detail
        )
    return taken


def read(engine: Engine, taken: Errand) -> KeptRequest:
    table = commitment_request
    with reading(engine) as connection:
        row = connection.execute(select(table).where(table.c.id == int(taken.key))).one()
        same = (table.c.calling_ae == row.calling_ae) & (table.c.transaction_uid == row.transaction_uid)
        first = connection.execute(select(table.c.asked).where(same).order_by(table.c.id).limit(1)).scalar_one()
    return KeptRequest(
        taken=taken,
        calling_ae=row.calling_ae,
        transaction_uid=row.transaction_uid,
        objects=row.asked,
        asked_at=row.asked_at,
        checked_at=row.checked_at,
        failed=row.failed or {},
        duplicate=first != row.asked,
    )


def checked(engine: Engine, taken: Errand, failed: Mapping[str, int]) -> None:
    """Keep what was found when the bytes were read."""
    with writing(engine) as connection:
        _change(connection, taken, checked_at=database_time(connection), failed=dict(failed))


def reported(engine: Engine, request: KeptRequest, answer: CommitmentAnswer, *, same_association: bool) -> bool:
    """The peer took the report. False where another has the errand by now, and reports once more."""
    with writing(engine) as connection:
        if not errands.finish(connection, request.taken):
            return False
        values = {"answered_at": database_time(connection), "reason": "", "failed": dict(answer.failed)}
        _change(connection, request.taken, attempts=request.taken.attempt, **values)
        reasons = Counter(in_hexadecimal(reason) for reason in answer.failed.values())
        detail = {
            "request": int(request.taken.key),
            "calling_ae": request.calling_ae,
            "held": len(answer.objects) - len(answer.failed),
            "failed": dict(sorted(reasons.items())),
            "association": "same" if same_association else "new",
            "attempts": request.taken.attempt,
        }
        _record(connection, Action.COMMITMENT_REPORTED, detail)
    return True


def put_off(engine: Engine, taken: Errand, reason: str, *, first_wait: float) -> None:
    """It did not arrive: it is tried again later."""
    with writing(engine) as connection:
        now = database_time(connection)
        if errands.put_off(connection, taken, now=now, first_wait=first_wait):
            _change(connection, taken, attempts=taken.attempt, reason=reason)


def hand_over(engine: Engine, taken: Errand) -> None:
    """Its association ended before the report: it is due at once, for whoever opens another."""
    with writing(engine) as connection:
        errands.hand_over(connection, taken, now=database_time(connection))


def give_up(engine: Engine, request: KeptRequest, reason: str) -> bool:
    """It is not reported to any more. False where another has the errand by now."""
    with writing(engine) as connection:
        if not errands.finish(connection, request.taken):
            return False
        _change(
            connection,
            request.taken,
            attempts=request.taken.attempt,
            reason=reason,
            given_up_at=database_time(connection),
        )
        detail = {
            "request": int(request.taken.key),
            "calling_ae": request.calling_ae,
            "objects": len(request.objects),
            "reason": reason,
            "attempts": request.taken.attempt,
        }
        _record(connection, Action.COMMITMENT_UNREPORTED, detail)
    return True


def forget(engine: Engine, now: datetime) -> None:
    """Requests that ended KEPT_DAYS ago."""
    ended = func.coalesce(commitment_request.c.answered_at, commitment_request.c.given_up_at)
    with writing(engine) as connection:
        connection.execute(delete(commitment_request).where(ended < now - timedelta(days=KEPT_DAYS)))


def _change(connection: Connection, taken: Errand, **values: Any) -> None:
    connection.execute(update(commitment_request).where(commitment_request.c.id == int(taken.key)).values(values))


def _record(connection: Connection, action: Action, detail: dict[str, Any]) -> None:
    trail.record(connection, action=action, instance_id=None, actor=Actor.GATEWAY, detail=detail)
