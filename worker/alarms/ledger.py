"""The open alarms as rows: raised and cleared in one transaction with their audit events and errands."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from worker.alarms.change import AlarmState, Change
from worker.alarms.rules import BY_ID, Condition
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.session import database_time
from worker.db.tables import alarm
from worker.queue import errands
from worker.queue.errands import Kind

log = logging.getLogger("xrayq.alarm")

TURN_LOCK = 0x616C61726D  # "alarm": one at a time on PostgreSQL; on SQLite a writing transaction is alone anyway


def take_turn(connection: Connection) -> None:
    """Wait until no other process settles. What is looked at from here on cannot be older than what it committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(TURN_LOCK)))


def open_alarms(connection: Connection) -> dict[tuple[str, str], Any]:
    """Rows that are not cleared, by rule and subject."""
    rows = connection.execute(select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.id))
    return {(row.rule, row.subject): row for row in rows}


@dataclass(frozen=True, kw_only=True)
class LedgerWork:
    """What a look asks of the ledger."""

    new: list[Condition] = field(default_factory=list)
    stay: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Ids of open alarms, each with its columns that changed."""
    again: list[tuple[int, Condition]] = field(default_factory=list)
    """Of those, alarms that were acknowledged, and it is worse now."""
    over: list[tuple[Any, str]] = field(default_factory=list)
    """Rows of open alarms, each with a text that replaces its own where nothing was mended, else ""."""

    def __bool__(self) -> bool:
        return bool(self.new or self.stay or self.over)


def work(
    connection: Connection,
    looked_at: Collection[str | tuple[str, str]],
    conditions: Iterable[Condition],
    gone: Mapping[tuple[str, str], str] | None = None,
) -> LedgerWork:
    """What `settle` would do, with the same arguments."""
    broken = {(condition.rule, condition.subject): condition for condition in conditions}
    opened, gone = open_alarms(connection), gone or {}
    needed = LedgerWork()
    for place, condition in broken.items():
        row = opened.get(place)
        if row is None:
            needed.new.append(condition)
            continue
        values = {
            "value": condition.value,
            "threshold": condition.threshold,
            "text": condition.text,
            "about": list(condition.about),
        }
        if row.acknowledged and not condition.is_known(row.acknowledged):
            values["acknowledged"] = None
            needed.again.append((row.id, condition))
        if any(getattr(row, name) != value for name, value in values.items()):
            needed.stay.append((row.id, values))
    for place, row in opened.items():
        if place not in broken and (row.rule in looked_at or place in looked_at or place in gone):
            needed.over.append((row, gone.get(place, "")))
    return needed


def settle(
    connection: Connection,
    looked_at: Collection[str | tuple[str, str]],
    conditions: Iterable[Condition],
    channels: Collection[Kind],
    gone: Mapping[tuple[str, str], str] | None = None,
) -> list[Change]:
    """Raise what is new, follow what stays, clear what is over. The last thing its transaction does: it audits.

    One that was acknowledged and got worse is the same alarm, raised again: since when it stands is not forgotten.

    Args:
        looked_at: rules, or rules with one subject, whose conditions are all here; other alarms are left alone.
        channels: each change becomes an errand for each of them.
        gone: rule and subject of alarms that end though nothing was mended, with the text that says so.

    Returns:
        The changes, for `tell` after the commit.
    """
    take_turn(connection)
    needed = work(connection, looked_at, conditions, gone)
    now = database_time(connection)
    changes = []
    for condition in needed.new:
        values = asdict(condition) | {"raised_at": now}
        del values["counted"]
        key = connection.execute(insert(alarm).values(values).returning(alarm.c.id)).scalar_one()
        changes.append(_change(key, condition, AlarmState.RAISED, now))
    for key, values in needed.stay:
        connection.execute(update(alarm).where(alarm.c.id == key).values(values))
    # Where the first message still waits, that one goes out: it says the same alarm is there.
    changes += [_change(key, condition, AlarmState.RAISED, now) for key, condition in needed.again]
    for row, words in needed.over:
        text = words or row.text
        connection.execute(update(alarm).where(alarm.c.id == row.id).values(cleared_at=now, text=text))
        changes.append(replace(_change(row.id, row, AlarmState.CLEARED, now), text=text, gone=bool(words)))
    for change in changes:
        for channel in channels:
            errands.add(connection, channel, change.key, now, change.as_dict())
    trail.record_all(connection, [_event(change) for change in changes])
    return changes


def tell(changes: Iterable[Change]) -> None:
    """The log's line of each change."""
    for change in changes:
        extra = {"alarm": change.alarm, "rule": change.rule, "subject": change.subject, "value": change.value}
        log.log(
            logging.WARNING if change.state == AlarmState.RAISED else logging.INFO, f"alarm {change.state}", extra=extra
        )


@dataclass(frozen=True, kw_only=True)
class ListedAlarm:
    """An alarm's row, with what to do first."""

    id: int
    rule: str
    subject: str
    value: float
    threshold: float
    text: str
    raised_at: datetime
    cleared_at: datetime | None
    about: list[str] | None
    acknowledged: Mapping[str, Any] | None
    """As `acknowledge.KeptAcknowledgement`."""
    advice: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {
            "raised_at": self.raised_at.isoformat(timespec="seconds"),
            "cleared_at": self.cleared_at and self.cleared_at.isoformat(timespec="seconds"),
        }


def listed(connection: Connection, *, cleared: bool) -> list[ListedAlarm]:
    """Alarms, the open ones first, each part newest first. With `cleared`, also those that are over."""
    query = select(alarm).order_by(alarm.c.cleared_at.is_not(None), alarm.c.raised_at.desc(), alarm.c.id.desc())
    if not cleared:
        query = query.where(alarm.c.cleared_at.is_(None))
    return [
        ListedAlarm(**row._mapping, advice=BY_ID[row.rule].advice if row.rule in BY_ID else "")
        for row in connection.execute(query)
    ]


def _change(key: int, broken: Any, state: AlarmState, now: datetime) -> Change:
    """
    Args:
        broken: a condition or a row, which call these values the same.
    """
    return Change(
        alarm=key,
        rule=broken.rule,
        subject=broken.subject,
        state=state,
        value=broken.value,
        threshold=broken.threshold,
        text=broken.text,
        at=now.isoformat(timespec="microseconds"),
    )


def _event(change: Change) -> dict[str, Any]:
    detail = {name: getattr(change, name) for name in ("alarm", "rule", "subject", "value", "threshold")}
    gone = {"gone": True} if change.gone else {}
    return trail.event(
        action=Action(f"alarm_{change.state}"), instance_id=None, actor=Actor.RELAY, detail=detail | gone
    )
