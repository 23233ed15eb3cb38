"""What destinations have of a film: what they took, and what may have arrived."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, select, union

from worker.db.tables import errand, perhaps_sent, sent_message, sent_object
from worker.reporting.waiting import LOST, WAITS, of_instance

SENT = (sent_object, sent_message)
"""What destinations have, a row each."""


def was_sent(connection: Connection, instance_id: int, destination: str = "") -> bool:
    """Whether a destination, or this one, has something of the instance."""
    for table in SENT:
        query = select(table.c.id).where(table.c.instance_id == instance_id)
        if destination:
            query = query.where(table.c.destination == destination)
        if connection.execute(query.limit(1)).first():
            return True
    return False


def messages(instances: Select[Any] | Collection[int], destination: str) -> CompoundSelect[Any]:
    """(instance_id, bundle_digest) of messages that the destination took or may have, of these instances."""
    return union(
        *(
            select(table.c.instance_id, table.c.bundle_digest).where(
                table.c.destination == destination, table.c.instance_id.in_(instances)
            )
            for table in (sent_message, perhaps_sent)
        )
    )


def may_have(connection: Connection, instances: Select[Any], destination: str) -> bool:
    """Whether the destination has something of these instances, or may have."""
    objects = select(sent_object.c.id).where(
        sent_object.c.destination == destination, sent_object.c.instance_id.in_(instances)
    )
    return any(connection.execute(query.limit(1)).first() for query in (objects, messages(instances, destination)))


def bundle_of(connection: Connection, instance_id: int) -> str:
    """Digest of the bundle whose result of the instance waits, was given up, or was sent last; "" where none was."""
    payload = connection.execute(
        select(errand.c.payload).where(errand.c.kind.in_((WAITS, LOST)), of_instance(instance_id)).limit(1)
    ).scalar_one_or_none()
    if payload:
        return str(payload["bundle"]["digest"])
    sent = [
        row
        for table in SENT
        for row in connection.execute(
            select(table.c.sent_at, table.c.bundle_digest)
            .where(table.c.instance_id == instance_id)
            .order_by(table.c.sent_at.desc())
            .limit(1)
        )
    ]
    return str(max(sent, key=lambda row: row.sent_at).bundle_digest) if sent else ""
