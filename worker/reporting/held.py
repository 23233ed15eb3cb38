"""What destinations say that they hold: kept with each object, and what follows for the film.

Two processes write here: a worker that asked, and the gateway, to which a PACS reports. Both lock the films first.
"""

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.commitment import CLASS_CONFLICT, CommitmentReport
from dicom_gateway.errors import ReportRefusal
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.causes import cause
from worker.db.session import database_time, writing
from worker.db.tables import commitment, errand, sent_object
from worker.queue import errands
from worker.reporting import reported, waiting
from worker.reporting.destinations import called_ae_of
from worker.reporting.waiting import CONFIRM, LOST

log = logging.getLogger("xrayq.report")


@dataclass(frozen=True, kw_only=True)
class ResultKey:
    """One film's result at one destination."""

    instance: int
    bundle_digest: str
    destination: str

    @classmethod
    def of(cls, row: Row[Any]) -> "ResultKey":
        """Of a row of `sent_object`."""
        return cls(instance=row.instance_id, bundle_digest=row.bundle_digest, destination=row.destination)

    @property
    def objects(self) -> ColumnElement[bool]:
        return (
            (sent_object.c.instance_id == self.instance)
            & (sent_object.c.bundle_digest == self.bundle_digest)
            & (sent_object.c.destination == self.destination)
        )


def is_held(row: Row[Any]) -> bool:
    """Whether the destination says that it holds the object, or cannot be asked."""
    return bool(row.committed_at or row.found_at or row.status_counts_at)


def record_report(engine: Engine, report: CommitmentReport, reporter: str, actor: Actor) -> None:
    """Commit what a PACS reports of a transaction of ours.

    The same again changes nothing. Nothing is believed of a transaction that this AE was not asked for, nor of an
    object under another SOP Class than it was sent with.

    Args:
        reporter: AE title of who reports.

    Raises ReportRefusal where the database does not take it: then the PACS should send it again.
    """
    try:
        with writing(engine) as connection:
            row = connection.execute(
                select(commitment).where(commitment.c.transaction_uid == report.transaction_uid)
            ).one_or_none()
            asked = row is not None and called_ae_of(row.destination) == reporter
            ignored = _record(connection, row, report, actor) if row is not None and asked else 0
    except SQLAlchemyError as error:
        log.warning("report of storage commitment not kept", extra={"reason": cause(error)})
        raise ReportRefusal from None
    who = {"calling_ae": reporter}
    if row is None:
        log.warning("report of storage commitment on a transaction that is not ours", extra=who)
    elif not asked:
        extra = who | {"subject": row.destination}
        log.warning("report of storage commitment from an AE that was not asked: nothing of it counts", extra=extra)
    else:
        log.info("storage commitment reported", extra=who | {"count": len(report.held), "failed": len(report.failed)})
    if ignored:
        log.warning(
            "storage commitment under another SOP class than was sent: not counted", extra=who | {"count": ignored}
        )


def confirm(
    connection: Connection, keys: Collection[ResultKey], actor: Actor
) -> tuple[set[ResultKey], list[dict[str, Any]]]:
    """Results of which each object is held: their errands end, whoever has them. Which these are, and the events.

    The films are locked. What was given up unconfirmed counts too: an answer is never too late.
    """
    done, events = set(), []
    for key in sorted(keys, key=lambda key: (key.instance, key.destination, key.bundle_digest)):
        rows = connection.execute(select(sent_object).where(key.objects)).all()
        if not rows or not all(map(is_held, rows)):
            continue
        done.add(key)
        if not _end(connection, key):
            continue  # it was confirmed before, or is sent again now
        detail = {"destination": key.destination, "bundle": key.bundle_digest, "by": dict(Counter(map(_by, rows)))}
        told = trail.event(action=Action.RESULT_CONFIRMED, instance_id=key.instance, actor=actor, detail=detail)
        events += [told, *reported.reported(connection, key.instance, actor)]
    return done, events


def _record(connection: Connection, row: Row[Any], report: CommitmentReport, actor: Actor) -> int:
    """Of how many objects nothing counts.

    Args:
        row: of `commitment`.
    """
    now = database_time(connection)
    first = (commitment.c.transaction_uid == report.transaction_uid) & commitment.c.answered_at.is_(None)
    connection.execute(update(commitment).where(first).values(answered_at=now))
    about = set(row.asked) & (report.held | report.failed.keys())
    # What was sent again since is not what was asked about.
    objects = (
        (sent_object.c.destination == row.destination)
        & sent_object.c.sop_instance_uid.in_(about)
        & (sent_object.c.sent_at <= row.asked_at)
    )
    reported.lock(connection, connection.execute(select(sent_object.c.instance_id).where(objects)).scalars().all())
    named = connection.execute(select(sent_object).where(objects, sent_object.c.committed_at.is_(None))).all()
    rows = [one for one in named if _same_class(one, report)]
    for one in rows:
        failure = report.failed.get(one.sop_instance_uid)
        values = {"failure_reason": failure, "committed_at": None if failure is not None else now}
        connection.execute(update(sent_object).where(sent_object.c.id == one.id).values(values))
    keys = {ResultKey.of(one) for one in rows}
    done, events = confirm(connection, keys, actor)
    if waits := [_key(key) for key in keys - done]:
        errands.wake(connection, errand.c.kind == CONFIRM, errand.c.key.in_(waits), now=now)
    trail.record_all(connection, events)
    return len(named) - len(rows)


def _same_class(row: Row[Any], report: CommitmentReport) -> bool:
    """A PACS that has it under another class may name that one in its failure (PS3.3 C.14.1.1)."""
    conflict = report.failed.get(row.sop_instance_uid) == CLASS_CONFLICT
    return conflict or report.sop_classes.get(row.sop_instance_uid) == row.sop_class_uid


def _end(connection: Connection, key: ResultKey) -> bool:
    mine = errand.c.key == _key(key)
    unconfirmed = (errand.c.kind == LOST) & errand.c.payload["sent"].as_boolean()
    ended = connection.execute(delete(errand).where(mine, (errand.c.kind == CONFIRM) | unconfirmed))
    return ended.rowcount > 0


def _key(key: ResultKey) -> str:
    return waiting.key_of(key.instance, key.bundle_digest, key.destination)


def _by(row: Row[Any]) -> str:
    """What its being there rests on, the strongest first."""
    return "commitment" if row.committed_at else "query" if row.found_at else "status"
