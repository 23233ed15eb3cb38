"""Bring each change to each channel until it arrives or is given up, an alarm's beginning before its end.

A process that dies between the server's answer and our commit sends the message again; its identity (Message-ID,
webhook-id) stays the same. Every failure is tried again, a refusal (SMTP 5xx, HTTP 4xx) like a silence: a wrong
password or URL is mended within hours, and a dozen requests harm nobody.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Engine, select

from worker.alarms.change import AlarmState, Change, Send, key_of, key_parts
from worker.alarms.faults import NOT_CONFIGURED, RAISED_WAITS, UNREADABLE
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.session import reading, time_of, writing
from worker.db.tables import errand
from worker.errors import Undelivered
from worker.queue import errands
from worker.queue.errands import Errand, Kind

log = logging.getLogger("xrayq.alarm")

DELIVERED, GIVEN_UP = Action.ALARM_DELIVERED, Action.ALARM_UNDELIVERED
"""Audit events of a message, a test's too."""
LEASE_SECONDS = 300.0
"""Must exceed `channels.deadline.TOTAL`, or a message under way is sent twice."""


@dataclass(frozen=True, kw_only=True)
class DeliveryOptions:
    attempts: int
    """Then it is given up; the alarm itself stays in the database and the log."""
    first_wait: float = 10.0
    """Seconds before the second attempt, doubled with each, an hour at most: 12 attempts take 3.4 hours."""


def deliver_due(engine: Engine, kind: Kind, send: Send, options: DeliveryOptions) -> int:
    """Everything of this channel that is due. Returns how many messages were tried."""
    tried = 0
    while message := errands.take(engine, (kind,), now=time_of(engine), lease_seconds=LEASE_SECONDS):
        deliver(engine, message, send, options)
        tried += 1
    return tried


def not_configured(_change: Change) -> int:
    """The channel of messages that were written before it was taken out of the settings."""
    raise Undelivered(NOT_CONFIGURED)


def deliver(engine: Engine, message: Errand, send: Send, options: DeliveryOptions) -> None:
    """Send one message, and record what became of it: delivered, given up, or put off."""
    try:
        change = Change.read(message.payload)
    except ValueError:  # a release that is older or newer wrote it
        if _finish(engine, message, GIVEN_UP, {"reason": UNREADABLE, "attempts": message.attempt}):
            log.error("not delivered, given up", extra={"channel": message.kind.value, "reason": UNREADABLE})
        return
    extra = {"channel": message.kind.value, "alarm": change.alarm, "state": change.state, "attempt": message.attempt}
    try:
        if _overtakes(engine, message.kind, change):
            raise Undelivered(RAISED_WAITS)
        refused = send(change)
    except Undelivered as failure:
        reason = str(failure)
        if message.attempt < options.attempts:
            payload = replace(change, to=failure.to or change.to).as_dict()
            errands.postpone(engine, message, now=time_of(engine), first_wait=options.first_wait, payload=payload)
            log.warning("cannot deliver, will try again", extra=extra | {"reason": reason})
        elif _finish(engine, message, GIVEN_UP, {"reason": reason, "attempts": message.attempt}):
            log.error("not delivered, given up", extra=extra | {"reason": reason})
        return
    if _finish(engine, message, DELIVERED, {"refused": refused} if refused else {}):
        log.info("delivered", extra=extra)
        if refused:
            log.warning("some recipients refused", extra=extra | {"count": refused})


def tested(engine: Engine, kind: Kind, actor: str) -> None:
    """Record that a test message arrived: `undelivered.outages` takes the channel as mended."""
    detail = {"channel": kind.value, "alarm": 0, "state": AlarmState.TEST.value}
    with writing(engine) as connection:
        trail.record(connection, action=DELIVERED, instance_id=None, actor=actor, detail=detail)


def _overtakes(engine: Engine, kind: Kind, change: Change) -> bool:
    """Whether the alarm's end would arrive before its beginning, which still waits."""
    if change.state != AlarmState.CLEARED:
        return False
    earlier = select(errand.c.id).where(errand.c.kind == kind, errand.c.key == key_of(change.alarm, AlarmState.RAISED))
    with reading(engine) as connection:
        return connection.execute(earlier).first() is not None


def _finish(engine: Engine, message: Errand, action: Action, more: Mapping[str, str | int]) -> bool:
    """False when the lease passed and another process has the errand: it records what becomes of it."""
    alarm, state = key_parts(message.key)
    detail = {"channel": message.kind.value, "alarm": alarm, "state": state} | dict(more)
    with writing(engine) as connection:
        ours = errands.finish(connection, message)
        if ours:
            trail.record(connection, action=action, instance_id=None, actor=Actor.RELAY, detail=detail)
    return ours
