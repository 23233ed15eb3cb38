"""The open alarms as rows: raised and cleared in one transaction with their audit events and errands."""

import logging
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from worker import errands, trail
from worker.alarms.change import Change, State
from worker.alarms.rules import BY_ID, Condition
from worker.db.tables import alarm
from worker.errands import Kind

log = logging.getLogger("xrayq.alarm")

ACTOR = "relay"
TURN_LOCK = 0x616C61726D  # "alarm": one at a time on PostgreSQL; on SQLite a writing transaction is alone anyway


def take_turn(connection: Connection) -> None:
    """Wait until no other process settles. What is looked at from here on cannot be older than what it committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(TURN_LOCK)))


def open_alarms(connection: Connection) -> dict[tuple[str, str], Any]:
    """Rows that are not cleared, by rule and subject."""
    rows = connection.execute(select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.id))
    return {(row.rule, row.subject): row for row in rows}


def settle(
    connection: Connection, looked_at: Collection[str], conditions: Iterable[Condition], channels: Collection[Kind]
) -> list[Change]:
    """Raise what is new, follow what stays, clear what is gone. The last thing its transaction does: it audits.

    Args:
        looked_at: rules whose conditions are all here; alarms of other rules are left alone.
        channels: each change becomes an errand for each of them.

    Returns:
        The changes, for `tell` after the commit.
    """
    take_turn(connection)
    found = {(one.rule, one.subject): one for one in conditions}
    opened = open_alarms(connection)
    now = datetime.now(UTC)
    changes = []
    for place, one in found.items():
        values = {"value": one.value, "threshold": one.threshold, "text": one.text}
        if place not in opened:
            row = values | {"rule": one.rule, "subject": one.subject, "raised_at": now}
            key = connection.execute(insert(alarm).values(row).returning(alarm.c.id)).scalar_one()
            changes.append(_change(key, one, State.RAISED, now))
        elif any(getattr(opened[place], name) != value for name, value in values.items()):
            connection.execute(update(alarm).where(alarm.c.id == opened[place].id).values(values))
    for place, row in opened.items():
        if row.rule in looked_at and place not in found:
            connection.execute(update(alarm).where(alarm.c.id == row.id).values(cleared_at=now))
            changes.append(_change(row.id, row, State.CLEARED, now))
    for change in changes:
        for channel in channels:
            errands.add(connection, channel, change.key, now, change.as_dict())
    trail.record_all(connection, [_event(change) for change in changes])
    return changes


def tell(changes: Iterable[Change]) -> None:
    """The log's line of each change."""
    for change in changes:
        extra = {"alarm": change.alarm, "rule": change.rule, "subject": change.subject, "value": change.value}
        log.warning(f"alarm {change.state}", extra=extra)


def listed(connection: Connection, *, cleared: bool) -> list[dict[str, Any]]:
    """Alarms, JSON-ready, the open ones first, each part newest first. With `cleared`, also those that are over."""
    query = select(alarm).order_by(alarm.c.cleared_at.is_not(None), alarm.c.raised_at.desc(), alarm.c.id.desc())
    if not cleared:
        query = query.where(alarm.c.cleared_at.is_(None))
    return [
        dict(row._mapping)
        | {
            "raised_at": row.raised_at.isoformat(timespec="seconds"),
            "cleared_at": row.cleared_at and row.cleared_at.isoformat(timespec="seconds"),
            "advice": BY_ID[row.rule].advice if row.rule in BY_ID else "",
        }
        for row in connection.execute(query)
    ]


def _change(key: int, of: Any, state: State, now: datetime) -> Change:
    """Of a condition or of a row, which call these values the same."""
    return Change(
        alarm=key,
        rule=of.rule,
        subject=of.subject,
        state=state.value,
        value=of.value,
        threshold=of.threshold,
        text=of.text,
        at=now.isoformat(timespec="microseconds"),
    )


def _event(change: Change) -> dict[str, Any]:
    detail = {name: getattr(change, name) for name in ("alarm", "rule", "subject", "value", "threshold")}
    return trail.event(action=f"alarm_{change.state}", instance_id=None, actor=ACTOR, detail=detail)
