"""Audit events: one row for each change of an instance's life, written in the transaction that makes the change."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert

from worker.db.tables import audit_event


def record(
    connection: Connection, *, action: str, instance_id: int | None, actor: str, detail: dict[str, Any] | None = None
) -> None:
    record_all(connection, [event(action=action, instance_id=instance_id, actor=actor, detail=detail)])


def event(*, action: str, instance_id: int | None, actor: str, detail: dict[str, Any] | None = None) -> dict[str, Any]:
    """A row for `record_all`. `detail` holds codes and digests, never patient data."""
    return {
        "at": datetime.now(UTC),
        "action": action,
        "instance_id": instance_id,
        "actor": actor,
        "detail": detail or {},
    }


def record_all(connection: Connection, events: list[dict[str, Any]]) -> None:
    if events:
        connection.execute(insert(audit_event), events)
