"""What tests of alarms share: rows of films that came at a time, limits, a change, and what is in the database."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select

from worker.alarms import ledger
from worker.alarms.change import AlarmState, Change
from worker.alarms.limits import AlarmLimits
from worker.alarms.rules import RULES, Condition, When
from worker.db.session import reading, writing
from worker.db.tables import alarm, audit_event, errand, instance
from worker.queue.errands import Kind
from worker.receiving.refusals import Refusals
from worker.settings import Settings

BOTH = (Kind.MAIL, Kind.WEBHOOK)
LIVE = frozenset(rule.id for rule in RULES if rule.when is When.LIVE)
AT = "2026-11-20T12:00:00.000000+00:00"


def limits(**other: Any) -> AlarmLimits:
    usual: dict[str, Any] = {
        "backlog_seconds": 600,
        "dead_letters": 1,
        "spool": Path("/nowhere"),
        "spool_mib": 100,
        "refusals": 20,
        "quarantine_films": 1,
        "silent_films": 10,
        "report_hours": 3,
        "report_time": time(1),
        "zone": Settings().zone,
        "since": datetime(2026, 1, 1, tzinfo=UTC),
        "result_minutes": 60,
        "not_received": 1,
        "host": "relay1",
    }
    return AlarmLimits(**usual | other)


def condition(rule: str = "backlog", subject: str = "", value: float = 700, threshold: float = 600) -> Condition:
    return Condition(rule=rule, subject=subject, value=value, threshold=threshold, text=f"{rule} is {value}")


def change(state: str = AlarmState.RAISED, **other: Any) -> Change:
    usual: dict[str, Any] = {"alarm": 7, "rule": "sender_silent", "subject": "CR1", "value": 12, "threshold": 10}
    return Change(**usual | {"state": AlarmState(state), "text": "CR1 sent no new film since noon", "at": AT} | other)


def refused(database: Engine, **statuses: list[int]) -> None:
    """C-STOREs that a gateway refused, by AE."""
    counts = Refusals()
    for calling_ae, of_ae in statuses.items():
        for status in of_ae:
            counts.stored(calling_ae, status, 0, 0.0)
    counts.write(database)


def contexts_refused(database: Engine, calling_ae: str, *sop_classes: str) -> None:
    counts = Refusals()
    for sop_class in sop_classes:
        counts.context_refused(calling_ae, sop_class, "abstract_syntax")
    counts.write(database)


def settled(database: Engine, *found: Condition, rules: Collection[str] = LIVE) -> list[Change]:
    with writing(database) as connection:
        return ledger.settle(connection, rules, found, BOTH)


def arrived(database: Engine, calling_ae: str, times: Iterable[datetime], state: str = "scored") -> None:
    """Films of an AE by when they were received: rows alone, no files."""
    empty = dict.fromkeys(
        ("sop_class_uid", "transfer_syntax_uid", "study_instance_uid", "series_instance_uid", "digest"), ""
    ) | dict.fromkeys(("called_ae", "modality", "body_part", "view_position"), "")
    rows = [
        empty
        | {"sop_instance_uid": f"{calling_ae}.{at.astimezone(UTC):%Y%m%d%H%M%S}", "revision": 1, "size": 1}
        | {"calling_ae": calling_ae, "state": state, "received_at": at, "finished_at": at}
        for at in times
    ]
    with writing(database) as connection:
        connection.execute(insert(instance), rows)


def alarms(database: Engine) -> list[Any]:
    return _rows(database, alarm)


def errand_keys(database: Engine) -> list[tuple[str, str]]:
    return [(row.kind, row.key) for row in _rows(database, errand)]


def audited(database: Engine) -> list[tuple[str, dict[str, Any]]]:
    """Action and detail of every event about an alarm."""
    return [(row.action, row.detail) for row in _rows(database, audit_event) if row.action.startswith("alarm")]


def _rows(database: Engine, table: Any) -> list[Any]:
    with reading(database) as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))
