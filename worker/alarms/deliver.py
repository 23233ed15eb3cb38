"""Bring each change to each channel: at least once, and in the order in which an alarm was raised and cleared.

A process that dies between the server's answer and our commit sends the message again; its identity (Message-ID,
Idempotency-Key) stays the same. Every failure is tried again, a refusal (SMTP 5xx, HTTP 4xx) like a silence: a wrong
password or URL is mended within hours, and a dozen requests harm nobody.
"""

import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from worker import errands, trail
from worker.alarms.change import Change, Send, State, Undelivered, key_of
from worker.alarms.ledger import ACTOR
from worker.db.session import reading, time_of, writing
from worker.db.tables import errand
from worker.errands import Errand, Kind

log = logging.getLogger("xrayq.alarm")

LEASE_SECONDS = 300.0
"""Longer than a delivery takes: each answer of a server may take ten seconds, and a mail needs a handful of them."""


@dataclass(frozen=True, kw_only=True)
class DeliveryOptions:
    attempts: int
    """Then it is given up; the alarm itself stays in the database and the log."""
    first_wait: float = 10.0
    """Seconds before the second attempt, doubled with each, an hour at most: 12 attempts take 3.4 hours."""


def deliver_due(engine: Engine, kind: Kind, send: Send, options: DeliveryOptions) -> int:
    """Everything of this channel that is due. Returns how many messages were tried."""
    tried = 0
    while one := errands.take(engine, (kind,), now=time_of(engine), lease_seconds=LEASE_SECONDS):
        deliver(engine, one, send, options)
        tried += 1
    return tried


def not_configured(_change: Change) -> int:
    """The channel of messages that were written before it was taken out of the settings."""
    raise Undelivered("not_configured")


def deliver(engine: Engine, one: Errand, send: Send, options: DeliveryOptions) -> None:
    change = Change(**one.payload)
    extra = {"channel": one.kind.value, "alarm": change.alarm, "state": change.state, "attempt": one.attempt}
    try:
        if _overtakes(engine, one.kind, change):
            raise Undelivered("raised_waits")
        refused = send(change)
    except Undelivered as failure:
        reason = str(failure)
        if one.attempt < options.attempts:
            errands.postpone(engine, one, now=time_of(engine), first_wait=options.first_wait)
            log.warning("cannot deliver, will try again", extra=extra | {"reason": reason})
        elif _finish(engine, one, change, "alarm_undelivered", {"reason": reason, "attempts": one.attempt}):
            log.error("not delivered, given up", extra=extra | {"reason": reason})
        return
    if _finish(engine, one, change, "alarm_delivered", {"refused": refused} if refused else {}):
        log.info("delivered", extra=extra)
        if refused:
            log.warning("some recipients refused", extra=extra | {"count": refused})


def _overtakes(engine: Engine, kind: Kind, change: Change) -> bool:
    """Whether the alarm's end would arrive before its beginning, which still waits."""
    if change.state != State.CLEARED:
        return False
    earlier = select(errand.c.id).where(errand.c.kind == kind, errand.c.key == key_of(change.alarm, State.RAISED))
    with reading(engine) as connection:
        return connection.execute(earlier).first() is not None


def _finish(engine: Engine, one: Errand, change: Change, action: str, more: dict[str, Any]) -> bool:
    """False when the lease passed and another process has the errand: it records what becomes of it."""
    detail = {"channel": one.kind.value, "alarm": change.alarm, "state": change.state} | more
    with writing(engine) as connection:
        ours = errands.finish(connection, one)
        if ours:
            trail.record(connection, action=action, instance_id=None, actor=ACTOR, detail=detail)
    return ours
