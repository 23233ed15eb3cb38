"""One result to one destination: objects made, sent over one association, and recorded in one transaction.

A process that dies between the destination's answer and our commit sends the objects again. Their UIDs are the
same, so the destination holds one.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects import postgresql, sqlite

from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.spool import Spool
from dicom_gateway.store_objects import StoreAnswer, store_objects
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.bounded import within
from worker.db.session import database_time, reading, time_of, writing
from worker.db.tables import instance, sent_object
from worker.errors import Undelivered
from worker.queue import errands, lease
from worker.queue.errands import Errand
from worker.queue.lease import ERRANDS, Claim
from worker.reporting import acceptance, faults, waiting
from worker.reporting.destinations import Destination
from worker.reporting.film_result import facts, film_of, film_result
from worker.reporting.objects import Make
from worker.reporting.waiting import WaitingResult
from worker.states import State

log = logging.getLogger("xrayq.report")

DROPPED = (faults.SILENT, faults.REPLACED, faults.NOT_CONFIGURED)
"""Nobody waits for these: when they end, no row is kept for a person."""


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """How results are sent; from the settings."""

    calling_ae: str
    """Ours."""
    hours: float
    """From when the film ended; then a result is given up."""
    first_wait: float = 10.0
    """Seconds before the second attempt, doubled with each, an hour at most."""
    answer_seconds: float = 30.0
    """For an association, and for each write to the network."""
    send_seconds: float = 120.0
    zone: tzinfo = UTC
    """The site's, for times of objects whose film names none."""
    """For all objects of a result."""

    @property
    def lease_seconds(self) -> float:
        """Longer than a result can take, or it would be sent twice."""
        return 60 + 2 * self.send_seconds


@dataclass(frozen=True, kw_only=True)
class ResultDelivery:
    """What sends results, made once for each worker. Its methods may be called from several threads."""

    database: Engine
    spool: Spool
    make: Make
    options: SendOptions

    def deliver(
        self,
        taken: Errand,
        destination: Destination,
        opened: Callable[[Callable[[], None]], None] = lambda _: None,
    ) -> str:
        """Send what an errand asks for, and record it, put it off or give it up. Returns why it did not arrive, or "".

        Args:
            opened: as of `store_objects`.

        Raises SQLAlchemyError; then the errand is taken again when its lease passes.
        """
        try:
            waits = waiting.read(taken)
        except ValueError:  # another release wrote it, and its workers take it
            errands.postpone(
                self.database, taken, now=time_of(self.database), first_wait=self.options.first_wait, payload=None
            )
            log.error("result not sent, will try again", extra={"reason": faults.UNREADABLE, "attempt": taken.attempt})
            return faults.UNREADABLE
        try:
            objects, digests = self._made(waits)
            answers = self._stored(objects, destination, opened)
        except Undelivered as failure:
            self.failed(taken, waits, str(failure))
            return str(failure)
        self._record(taken, waits, objects, digests, answers)
        return ""

    def failed(self, taken: Errand, waits: WaitingResult, reason: str) -> None:
        """Put it off, or give it up where it is too old, or nobody wants it any more."""
        now = time_of(self.database)
        extra = {"instance": waits.instance, "reason": reason, "attempt": taken.attempt, "subject": waits.destination}
        if reason not in (faults.SILENT, faults.REPLACED) and now - waits.since < timedelta(hours=self.options.hours):
            payload = replace(waits, reason=reason).as_dict()
            first = self.options.first_wait
            errands.postpone(self.database, taken, now=now, first_wait=first, payload=payload)
            log.warning("result not sent, will try again", extra=extra)
        elif self._end(taken, replace(waits, reason=reason)):
            log.error("result not sent, given up", extra=extra)

    def _made(self, waits: WaitingResult) -> tuple[list[Dataset], list[str]]:
        """The objects, and the digest of each. Raises Undelivered."""
        with reading(self.database) as connection:
            found = facts(connection, waits)
            if not acceptance.accepted(connection, [found.calling_ae]):
                raise Undelivered(faults.SILENT)
            if waiting.newer(connection, waits.instance, waits.destination):
                raise Undelivered(faults.REPLACED)
            outdated = waiting.earlier(connection, waits)
        if outdated:
            self._give_up_earlier(waits)
        film = film_of(self.spool, found.film_digest)
        try:
            objects = self.make(film_result(found, film, waits, self.options.zone), film)
            return objects, [_digest(made) for made in objects]
        except Undelivered:
            raise
        except Exception as error:  # the film's header may have any fault, and its text may hold a patient's name
            extra = {"instance": waits.instance, "reason": type(error).__name__}
            log.error("objects of a result not made", extra=extra)
            raise Undelivered(faults.NOT_MADE) from error

    def _give_up_earlier(self, waits: WaitingResult) -> None:
        """Results of earlier revisions: nobody wants them now. Raises Undelivered while one is on its way."""
        with writing(self.database) as connection:
            events, now = [], database_time(connection)
            for row in waiting.earlier(connection, waits):
                taken = row.lease_until is not None and row.lease_until > now
                if taken or not lease.remove(connection, ERRANDS, Claim(row_id=row.id, number=row.attempts)):
                    raise Undelivered(faults.EARLIER_WAITS)
                detail = {"reason": faults.REPLACED, "replaced_by": waits.instance, "destination": waits.destination}
                events.append(_event(Action.RESULT_UNDELIVERED, int(row.payload["instance"]), detail))
            trail.record_all(connection, events)

    def _stored(
        self, objects: Sequence[Dataset], destination: Destination, opened: Callable[[Callable[[], None]], None]
    ) -> list[StoreAnswer]:
        """Raises Undelivered where the destination does not hold each."""
        options = self.options
        send = partial(
            store_objects,
            destination.host,
            destination.port,
            objects,
            called_ae=destination.called_ae,
            calling_ae=options.calling_ae,
            timeout=options.answer_seconds,
            total=options.send_seconds,
            opened=opened,
        )
        try:
            answers = within(2 * options.send_seconds, send)
        except PeerUnavailable as failure:
            raise Undelivered(str(failure)) from None
        except TimeoutError:
            raise Undelivered(faults.NO_ANSWER) from None
        if reason := faults.of_answers(answers, len(objects)):
            raise Undelivered(reason)
        return answers

    def _record(
        self,
        taken: Errand,
        waits: WaitingResult,
        objects: Sequence[Dataset],
        digests: Sequence[str],
        answers: Sequence[StoreAnswer],
    ) -> None:
        with writing(self.database) as connection:
            if not errands.finish(connection, taken):
                return  # the lease passed, and another has it
            now = database_time(connection)
            for made, answer, digest in zip(objects, answers, digests, strict=True):
                _keep(connection, waits, made, answer, digest, now)
            errands.wake(connection, *waiting.after_earlier(waits.destination), now=now)
            detail = {
                "destination": waits.destination,
                "bundle": waits.bundle.digest,
                "objects": len(objects),
                "digests": list(digests),
                "attempts": taken.attempt,
            }
            if notes := [f"0x{answer.status:04X}" for answer in answers if answer.status]:
                detail["warnings"] = notes
            events = [_event(Action.RESULT_SENT, waits.instance, detail)]
            trail.record_all(connection, [*events, *_reported(connection, waits.instance)])
        log.info("result sent", extra={"instance": waits.instance, "subject": waits.destination, "count": len(objects)})

    def _end(self, taken: Errand, waits: WaitingResult) -> bool:
        """Give it up for its reason. False when the lease passed and another has it: it records what becomes of it."""
        with writing(self.database) as connection:
            now = database_time(connection)
            if waits.reason in DROPPED:
                ours = errands.finish(connection, taken)
            else:
                payload = waits.as_dict() | {"given_up": now.isoformat()}
                ours = errands.set_aside(connection, taken, waiting.LOST, payload)
            if ours:
                errands.wake(connection, *waiting.after_earlier(waits.destination), now=now)
                detail = {
                    "reason": waits.reason,
                    "attempts": taken.attempt,
                    "destination": waits.destination,
                    "bundle": waits.bundle.digest,
                }
                events = [_event(Action.RESULT_UNDELIVERED, waits.instance, detail)]
                if waits.reason == faults.NOT_CONFIGURED and waiting.was_sent(connection, waits.instance):
                    events += _reported(connection, waits.instance)
                trail.record_all(connection, events)
        return ours


def _digest(made: Dataset) -> str:
    """SHA-256 of the data set in its own transfer syntax, without preamble and file meta."""
    syntax = made.file_meta.TransferSyntaxUID
    encoded = encode(made, syntax.is_implicit_VR, syntax.is_little_endian)
    if encoded is None:
        raise ValueError("a data set that cannot be encoded")
    return hashlib.sha256(encoded).hexdigest()


def _keep(
    connection: Connection, waits: WaitingResult, made: Dataset, answer: StoreAnswer, digest: str, now: datetime
) -> None:
    """A row for the object; where it was sent before, that row says when it was sent last."""
    key = {
        "instance_id": waits.instance,
        "bundle_digest": waits.bundle.digest,
        "destination": waits.destination,
        "sop_instance_uid": str(made.SOPInstanceUID),
    }
    values = {
        "sop_class_uid": str(made.SOPClassUID),
        "series_instance_uid": str(made.SeriesInstanceUID),
        "digest": digest,
        "sent_at": now,
        "status": answer.status,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(sent_object).values(key | values)
    connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=values))


def _reported(connection: Connection, instance_id: int) -> list[dict[str, Any]]:
    """A scored film of which no result waits, and none was given up, is reported: the event of it, else none.

    The film is locked first: of two destinations that answer at the same time the second one sees what the first did.
    """
    connection.execute(select(instance.c.id).where(instance.c.id == instance_id).with_for_update(key_share=True))
    if waiting.left(connection, instance_id):
        return []
    scored = update(instance).where(instance.c.id == instance_id, instance.c.state == State.SCORED)
    changed = connection.execute(scored.values(state=State.REPORTED)).rowcount == 1
    return [_event(Action.REPORTED, instance_id, {})] if changed else []


def _event(action: Action, instance_id: int | None, detail: dict[str, Any]) -> dict[str, Any]:
    return trail.event(action=action, instance_id=instance_id, actor=Actor.WORKER, detail=detail)
