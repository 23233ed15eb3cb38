"""What destinations have of a film: what they took."""

from sqlalchemy import Connection, select

from worker.db.tables import errand, sent_message, sent_object
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
