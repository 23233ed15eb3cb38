"""One result to one destination: made, sent by the destination's adapter, and recorded in one transaction.

When a process dies between the destination's answer and our commit, the same is sent again, under the same UIDs or
message ID, so the destination holds one. Until then it counts as told (`perhaps`): where the film is corrected first,
what may have been told is taken back.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from dicom_gateway.spool import Spool
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.session import database_time, reading, time_of, writing
from worker.errors import Undelivered
from worker.queue import errands, lease
from worker.queue.errands import Errand
from worker.queue.lease import ERRANDS, Claim
from worker.reporting import acceptance, faults, order, perhaps, reported, waiting
from worker.reporting import confirm as confirming
from worker.reporting.adapters.adapter import Adapter, Opened, Outgoing, SendOptions, Sent
from worker.reporting.destinations import Destination
from worker.reporting.film_result import facts, film_of, film_result
from worker.reporting.told import was_sent
from worker.reporting.waiting import WaitingResult
from worker.reporting.withdrawn import flags_told
from worker.states import OPERATOR, State

log = logging.getLogger("xrayq.report")

UNWANTED = (faults.SILENT, faults.REPLACED, faults.NOT_TOLD)
"""These end a result at once."""
DROPPED = (faults.REPLACED, faults.NOT_TOLD, faults.NOT_CONFIGURED)
"""Nobody waits for these: when they end, no row is kept for a person."""


@dataclass(frozen=True, kw_only=True)
class ResultDelivery:
    """What sends results, made once for each worker. Its methods may be called from several threads."""

    database: Engine
    spool: Spool
    adapter_of: Callable[[Destination], Adapter]
    options: SendOptions

    def deliver(
        self,
        taken: Errand,
        destination: Destination,
        opened: Opened = lambda _: None,
    ) -> str:
        """Send what an errand asks for, and record it, put it off or give it up. Returns why it did not arrive, or "".

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
            adapter = self.adapter_of(destination)
            outgoing = self._outgoing(waits, destination, taken.attempt)
            if until := self._quiet_until(outgoing, destination):
                written = waits.written or waits.since
                self._put_off(taken, replace(waits, reason=faults.QUIET, since=until, written=written), until)
                return faults.QUIET
            with _not_made(waits.instance):
                made = adapter.make(outgoing)
        except Undelivered as failure:
            self.failed(taken, waits, str(failure))
            return str(failure)
        attempt = self._begin(taken, waits, made)
        if attempt is None:
            return ""
        try:
            sent = adapter.send(made, opened)
        except Undelivered as failure:
            if attempt.first and (failure.nothing_arrived or not faults.may_have_arrived(str(failure))):
                self._did_not_arrive(taken, waits)
            self.failed(taken, waits, str(failure))
            return str(failure)
        self._record(taken, waits, sent, destination)
        return ""

    def failed(self, taken: Errand, waits: WaitingResult, reason: str) -> None:
        """Put it off, or give it up where it is too old, or nobody wants it any more."""
        now = time_of(self.database)
        extra = {"instance": waits.instance, "reason": reason, "attempt": taken.attempt, "subject": waits.destination}
        if reason not in UNWANTED and now - waits.since < timedelta(hours=self.options.hours):
            payload = replace(waits, reason=reason).as_dict()
            first = self.options.first_wait
            errands.postpone(self.database, taken, now=now, first_wait=first, payload=payload)
            log.warning("result not sent, will try again", extra=extra)
        elif self._end(taken, replace(waits, reason=reason)):
            level = logging.INFO if reason in UNWANTED else logging.ERROR
            log.log(level, "result not sent, given up", extra=extra)

    def _outgoing(self, waits: WaitingResult, destination: Destination, attempt: int) -> Outgoing:
        """The result, where it may leave. Raises Undelivered."""
        with reading(self.database) as connection:
            outdated = order.earlier(connection, waits)  # before the facts: it ends with a row of what was sent
            found = facts(connection, waits)
            taken_out = (found.state, found.reason) == (State.INELIGIBLE, OPERATOR)
            senders = order.senders(connection, waits.instance) if taken_out else {found.calling_ae}
            if not acceptance.accepted(connection, senders):
                raise Undelivered(faults.SILENT)
            if order.newer(connection, waits.instance, waits.destination):
                raise Undelivered(faults.REPLACED)
            flagged_only = destination.due((), found.at) is None
            if flagged_only and order.ended_later(connection, waits.instance):  # it may go there, or have no flag
                raise Undelivered(faults.REPLACED)
        if outdated:
            self._give_up_earlier(waits)
        with reading(self.database) as connection:
            found = facts(connection, waits) if outdated else found
            corrects = order.corrects(connection, waits)
            told = flags_told(connection, waits.instance, waits.destination, on_its_way=False) if flagged_only else ()
        film = film_of(self.spool, found.film_digest)
        with _not_made(waits.instance):
            result = film_result(found, film, waits, self.options.zone)
        return Outgoing(waits=waits, result=result, film=film, attempt=attempt, corrects=corrects, told=told)

    def _quiet_until(self, outgoing: Outgoing, destination: Destination) -> datetime | None:
        """When the destination's quiet hours end; None where it may be told now.

        Raises Undelivered where it is told of none of the flags, as the settings changed, and none is taken back.
        """
        now = time_of(self.database)
        flags = [found.name for found in outgoing.result.findings if found.flag]
        due = destination.due(flags, now) or destination.due(outgoing.told, now)
        if due is None:
            raise Undelivered(faults.NOT_TOLD)
        return due if due > now else None

    def _put_off(self, taken: Errand, waits: WaitingResult, until: datetime) -> None:
        with writing(self.database) as connection:
            values = {"next_attempt_at": until, "lease_until": None, "payload": waits.as_dict()}
            lease.change(connection, ERRANDS, taken.claim, **values)

    def _begin(self, taken: Errand, waits: WaitingResult, made: Sequence[perhaps.Made]) -> "_Attempt | None":
        """Making may take long, and the lease is for sending. None where another has it by now.

        From here on it may have arrived.
        """
        with writing(self.database) as connection:
            now = database_time(connection)
            if not self._keep(connection, taken, now):
                return None
            return _Attempt(first=perhaps.begin(connection, waits, made, now))

    def _did_not_arrive(self, taken: Errand, waits: WaitingResult) -> None:
        with writing(self.database) as connection:
            if self._keep(connection, taken, database_time(connection)):  # else another may be sending it now
                perhaps.forget(connection, waits)

    def _keep(self, connection: Connection, taken: Errand, now: datetime) -> bool:
        until = now + timedelta(seconds=self.options.lease_seconds)
        return lease.change(connection, ERRANDS, taken.claim, lease_until=until)

    def _give_up_earlier(self, waits: WaitingResult) -> None:
        """Results of earlier revisions: nobody wants them now. Raises Undelivered while one is on its way."""
        with writing(self.database) as connection:
            events, now = [], database_time(connection)
            for row in order.earlier(connection, waits):
                taken = row.lease_until is not None and row.lease_until > now
                if taken or not lease.remove(connection, ERRANDS, Claim(row_id=row.id, number=row.attempts)):
                    raise Undelivered(faults.EARLIER_WAITS)
                detail = {"reason": faults.REPLACED, "replaced_by": waits.instance, "destination": waits.destination}
                events.append(_event(Action.RESULT_UNDELIVERED, int(row.payload["instance"]), detail))
            trail.record_all(connection, events)

    def _record(self, taken: Errand, waits: WaitingResult, sent: Sequence[Sent], destination: Destination) -> None:
        with writing(self.database) as connection:
            reported.lock(connection, [waits.instance])
            if not errands.finish(connection, taken):
                return  # the lease passed, and another has it
            now = database_time(connection)
            for one in sent:
                one.keep(connection, waits, now)
            perhaps.forget(connection, waits)
            if destination.confirmable and self.options.confirm:
                confirming.begin(connection, waits, now)
            errands.wake(connection, *waiting.after_earlier(waits.destination), now=now)
            detail = {
                "destination": waits.destination,
                "bundle": waits.bundle.digest,
                "objects": len(sent),
                "digests": [one.digest for one in sent],
                "attempts": taken.attempt,
            }
            if warnings := [warning for one in sent for warning in one.warnings]:
                detail["warnings"] = warnings
            events = [_event(Action.RESULT_SENT, waits.instance, detail)]
            trail.record_all(connection, [*events, *reported.reported(connection, waits.instance, Actor.WORKER)])
        log.info("result sent", extra={"instance": waits.instance, "subject": waits.destination, "count": len(sent)})

    def _end(self, taken: Errand, waits: WaitingResult) -> bool:
        """Give it up for its reason. False when the lease passed and another has it: it records what becomes of it."""
        with writing(self.database) as connection:
            reported.lock(connection, [waits.instance])
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
                if waits.reason == faults.NOT_CONFIGURED and was_sent(connection, waits.instance):
                    events += reported.reported(connection, waits.instance, Actor.WORKER)
                trail.record_all(connection, events)
        return ours


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    first: bool
    """Before it, nothing of this result can have arrived."""


@contextmanager
def _not_made(instance_id: int) -> Iterator[None]:
    """Any error is Undelivered: a film's header may have any fault, and the error's text a patient's name."""
    try:
        yield
    except Undelivered:
        raise
    except Exception as error:
        log.error("result not made", extra={"instance": instance_id, "reason": type(error).__name__})
        raise Undelivered(faults.NOT_MADE) from error


def _event(action: Action, instance_id: int | None, detail: dict[str, Any]) -> dict[str, Any]:
    return trail.event(action=action, instance_id=instance_id, actor=Actor.WORKER, detail=detail)
