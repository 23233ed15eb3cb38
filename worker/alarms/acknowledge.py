"""An alarm that somebody knows of and nobody can mend: listed, and no longer called wrong, until it gets worse."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, update

from worker.alarms import ledger
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.db.session import database_time, writing
from worker.db.tables import alarm
from worker.errors import NotFound

ACTION = "alarm_acknowledged"
MOST_CHARACTERS = 200
"""Of the reason."""


def acknowledge(engine: Engine, rule: str, subject: str, *, why: str, actor: str) -> dict[str, Any]:
    """Keep who knows, since when and why; audited. Of one that is acknowledged already, the new reason counts.

    Returns what is kept: at (ISO 8601), by, why, and the alarm's value and what it was about. Raises NotFound.
    """
    with writing(engine) as connection:
        ledger.take_turn(connection)
        opened = ledger.open_alarms(connection)
        row = opened.get((rule, subject))
        if row is None:
            raise NotFound(_not_open(rule, subject, opened))
        what = {"why": why, "value": row.value, "about": row.about}
        kept = {"at": database_time(connection).isoformat(timespec="seconds"), "by": actor} | what
        connection.execute(update(alarm).where(alarm.c.id == row.id).values(acknowledged=kept))
        detail = {"alarm": row.id, "rule": rule, "subject": subject} | what
        trail.record(connection, action=ACTION, instance_id=None, actor=actor, detail=detail)
    return kept


def of(connection: Connection, conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """Those of the conditions that are acknowledged: rule, subject, at, by, why."""
    opened = ledger.open_alarms(connection)
    found = []
    for one in conditions:
        row = opened.get((one.rule, one.subject))
        if row and row.acknowledged and one.is_known(row.acknowledged):
            found.append({"rule": one.rule, "subject": one.subject} | said(row.acknowledged))
    return found


def said(kept: dict[str, Any]) -> dict[str, str]:
    """What people read of it."""
    return {name: kept[name] for name in ("at", "by", "why")}


def _not_open(rule: str, subject: str, opened: Iterable[tuple[str, str]]) -> str:
    others = [of for other, of in opened if other == rule and of]
    if others and not subject:
        return f"{rule} is open for {', '.join(sorted(others))}: name one"
    name = f"{rule} {subject}".rstrip()
    return f"no open alarm {name}: 'xrayq alarm list' shows rule and subject of those that are"
