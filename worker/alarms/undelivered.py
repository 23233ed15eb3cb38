"""Messages that did not arrive. Status and report show them, because a mail cannot."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, select

from worker.alarms.change import AlarmState
from worker.alarms.deliver import DELIVERED, GIVEN_UP
from worker.alarms.faults import NOT_CONFIGURED, in_words
from worker.db.span import Span
from worker.db.tables import alarm, audit_event, errand
from worker.queue.errands import Kind
from worker.queue.lease import failed_attempts

CHANNELS = (Kind.MAIL, Kind.WEBHOOK)
SHOWN_FOR = timedelta(days=7)
"""So long a message that was given up is shown, unless a later one arrives on the same channel."""


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A channel on which messages do not arrive."""

    channel: str
    failing: int
    """Messages that failed and are tried again."""
    attempts: int
    """Failed attempts of the message that was tried most."""
    next_at: datetime | None
    """Time of the next try."""
    given_up: int
    """Messages, since the last that arrived."""
    given_up_at: datetime | None
    """Time of the last of them."""
    reason: str
    """Why the last was given up, a code of `faults`; "" while none was."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        times = {
            name: moment and moment.isoformat(timespec="seconds")
            for name, moment in (("next_at", self.next_at), ("given_up_at", self.given_up_at))
        }
        return asdict(self) | times

    @property
    def why(self) -> str:
        return in_words(self.reason)


@dataclass(frozen=True, kw_only=True)
class LostMessage:
    """A message about an alarm that was given up."""

    at: datetime
    channel: str
    state: AlarmState
    reason: str
    """A code of `faults`."""
    rule: str
    """Of the alarm, "" where that is gone, like `subject`."""
    subject: str


def outages(connection: Connection, now: datetime) -> tuple[Outage, ...]:
    """Channels on which something does not arrive now; empty when all is well.

    Of a channel that was taken out of the settings, what was given up for that is no fault.
    """
    failing, lost = _failing(connection), _since_the_last_that_arrived(connection, now)
    return tuple(_outage(kind, failing[kind], lost[kind]) for kind in CHANNELS if failing[kind] or lost[kind])


def given_up(connection: Connection, span: Span) -> tuple[LostMessage, ...]:
    """Messages that were given up in the span, oldest first."""
    events = connection.execute(_events(GIVEN_UP).where(span.covers(audit_event.c.at)).order_by(audit_event.c.id)).all()
    about = select(alarm.c.id, alarm.c.rule, alarm.c.subject)
    rows = connection.execute(about.where(alarm.c.id.in_({event.detail["alarm"] for event in events})))
    alarms = {row.id: (row.rule, row.subject) for row in rows}
    messages = []
    for event in events:
        rule, subject = alarms.get(event.detail["alarm"], ("", ""))
        messages.append(
            LostMessage(
                at=event.at,
                channel=event.detail["channel"],
                state=AlarmState(event.detail["state"]),
                reason=event.detail["reason"],
                rule=rule,
                subject=subject,
            )
        )
    return tuple(messages)


def _failing(connection: Connection) -> dict[str, list[Any]]:
    rows = connection.execute(
        select(errand.c.kind, errand.c.attempts, errand.c.lease_until, errand.c.next_attempt_at).where(
            errand.c.kind.in_(CHANNELS), errand.c.attempts > 0
        )
    )
    failing: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        if failed_attempts(row):
            failing[row.kind].append(row)
    return failing


def _since_the_last_that_arrived(connection: Connection, now: datetime) -> dict[str, list[Any]]:
    """Events of messages that were given up, newest first."""
    newest = _events(DELIVERED, GIVEN_UP).where(audit_event.c.at > now - SHOWN_FOR).order_by(audit_event.c.id.desc())
    lost: dict[str, list[Any]] = defaultdict(list)
    arrived = set()
    for event in connection.execute(newest):
        channel = event.detail["channel"]
        if event.action == DELIVERED:
            arrived.add(channel)
        elif channel not in arrived and event.detail["reason"] != NOT_CONFIGURED:
            lost[channel].append(event)
    return lost


def _events(*actions: str) -> Select[Any]:
    """Few rows are about no film, and the index on instance_id finds them."""
    return select(audit_event.c.at, audit_event.c.action, audit_event.c.detail).where(
        audit_event.c.instance_id.is_(None), audit_event.c.action.in_(actions)
    )


def _outage(kind: Kind, failing: list[Any], lost: list[Any]) -> Outage:
    return Outage(
        channel=kind.value,
        failing=len(failing),
        attempts=max(map(failed_attempts, failing), default=0),
        next_at=min((row.next_attempt_at for row in failing), default=None),
        given_up=len(lost),
        given_up_at=lost[0].at if lost else None,
        reason=lost[0].detail["reason"] if lost else "",
    )
