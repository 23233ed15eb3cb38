"""A result of which the destination does not say that it holds it: sent again, given up, or asked about later."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from dicom_gateway.commitment import CLASS_CONFLICT, NO_SUCH_OBJECT
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.tables import sent_object
from worker.queue import errands
from worker.queue.errands import Errand
from worker.queue.retry import back_off
from worker.reporting import faults, held, reported, waiting
from worker.reporting.adapters.adapter import SendOptions
from worker.reporting.held import ResultKey
from worker.reporting.waiting import LOST, WAITS, WaitingResult

MOST_RESENDS = 3
GONE = (NO_SUCH_OBJECT, CLASS_CONFLICT)
"""Failure Reasons that only sending can mend."""


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """How a PACS is asked."""

    report_seconds: float = 3.0
    """For its report on the same association; later it comes on another."""
    ask_again_seconds: float = 600.0
    """After which storage commitment is asked for anew, where no report came."""
    missing_seconds: float = 900.0
    """After which a result is sent again that C-FIND does not find: a PACS may take its time to file it."""
    resend_seconds: float = 60.0
    """Before the first sending again, doubled with each."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A result that is asked about."""

    taken: Errand
    waits: WaitingResult
    objects: tuple[Row[Any], ...]
    """Rows of `sent_object`, each with its study."""

    @property
    def key(self) -> ResultKey:
        waits = self.waits
        return ResultKey(instance=waits.instance, bundle_digest=waits.bundle.digest, destination=waits.destination)


@dataclass(kw_only=True)
class Said:
    """What came of asking, by row of `sent_object`."""

    found: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    """It looked, and has no such object."""
    unasked: set[int] = field(default_factory=set)
    """There was no time left to ask: they are due at once."""
    status_counts: set[int] = field(default_factory=set)
    committing_since: datetime | None = None
    """It promised a report on what it was asked for then."""
    committing: set[int] = field(default_factory=set)
    reason: str = ""
    """Why something has no answer, a code of `faults`."""
    asked_by_find: bool = False


def follow(
    connection: Connection, one: Asked, said: Said, now: datetime, *, send: SendOptions, options: ConfirmOptions
) -> list[dict[str, Any]]:
    """Sent again, given up, or put off: the events of it. Nothing where another has the errand by now."""
    if said.reason == faults.NOT_CONFIGURED:
        return _give_up(connection, one.taken, replace(one.waits, reason=said.reason), now)
    rows = connection.execute(select(sent_object).where(one.key.objects)).all()
    open_ = [row for row in rows if not held.is_held(row)]
    gone = any(row.failure_reason in GONE for row in open_)
    missing = any(row.id in said.missing for row in open_)
    refused = any(row.failure_reason is not None for row in open_)
    reasons = ((gone, faults.NOT_HELD), (missing, faults.NOT_FOUND), (refused, faults.NOT_COMMITTED))
    waits = replace(one.waits, reason=next((reason for so, reason in reasons if so), said.reason))
    if any(row.id in said.committing for row in open_):
        waits = replace(waits, committing_since=said.committing_since)
    long = timedelta(seconds=options.missing_seconds)
    if waits.resends < MOST_RESENDS and (gone or (missing and all(now - row.sent_at >= long for row in open_))):
        return _send_again(connection, one.taken, waits, now, options)
    if now - waits.since >= timedelta(hours=send.hours):
        return _give_up(connection, one.taken, waits, now)
    unasked = any(row.id in said.unasked for row in open_)
    wait = 0.0 if unasked else send.first_wait
    errands.put_off(connection, one.taken, now=now, first_wait=wait, payload=waits.as_dict())
    return []


def _send_again(
    connection: Connection, taken: Errand, waits: WaitingResult, now: datetime, options: ConfirmOptions
) -> list[dict[str, Any]]:
    """The same objects, under the same UIDs."""
    if not errands.finish(connection, taken):
        return []
    wait = back_off(options.resend_seconds, waits.resends + 1, errands.LONGEST_WAIT)
    again = replace(waits, resends=waits.resends + 1, committing_since=None)
    waiting.add(connection, WAITS, again, now + timedelta(seconds=wait))
    return [_event(Action.RESULT_RESENT, waits, resends=again.resends)]


def _give_up(connection: Connection, taken: Errand, waits: WaitingResult, now: datetime) -> list[dict[str, Any]]:
    """It is kept for a person, unless the destination is in the settings no more: then its status counts."""
    if waits.reason == faults.NOT_CONFIGURED:
        ended = errands.finish(connection, taken)
        rest = reported.reported(connection, waits.instance, Actor.WORKER) if ended else []
    else:
        payload = waits.as_dict() | {"given_up": now.isoformat(), "sent": True}
        ended, rest = errands.set_aside(connection, taken, LOST, payload), []
    return [_event(Action.RESULT_UNCONFIRMED, waits, attempts=taken.attempt), *rest] if ended else []


def _event(action: Action, waits: WaitingResult, **more: Any) -> dict[str, Any]:
    detail = {"destination": waits.destination, "bundle": waits.bundle.digest, "reason": waits.reason} | more
    return trail.event(action=action, instance_id=waits.instance, actor=Actor.WORKER, detail=detail)
