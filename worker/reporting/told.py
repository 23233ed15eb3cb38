"""What destinations have of a film: what they took, and what may have arrived."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, Table, select, union

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


Message = tuple[int, str]
"""Instance, and digest of the bundle."""


def last_told(
    connection: Connection, revisions: Select[Any], destination: str, on_its_way: Collection[Message] = ()
) -> list[Message]:
    """What the destination was told last of these revisions of a film: the newest message that it took, and behind it
    those that may have arrived. Whether the last of them did, and took back what the one before said, nobody knows.

    Args:
        on_its_way: messages that wait: they may arrive any moment.
    """
    took, perhaps = (
        [(row.instance_id, row.bundle_digest) for row in connection.execute(_messages(table, revisions, destination))]
        for table in (sent_message, perhaps_sent)
    )
    newest = max((key for key, _ in took), default=0)  # a later revision has a higher id
    return [
        *(message for message in took if message[0] == newest),
        *(message for message in dict.fromkeys((*perhaps, *on_its_way)) if message[0] > newest),
    ]


def _messages(table: Table, revisions: Select[Any], destination: str) -> Select[Any]:
    query = select(table.c.instance_id, table.c.bundle_digest).order_by(table.c.instance_id)
    return query.where(table.c.destination == destination, table.c.instance_id.in_(revisions))


def had_by(connection: Connection, instances: Select[Any]) -> frozenset[str]:
    """Names of the destinations that have something of these instances, or may have, or for which it waits.

    One statement: one transaction makes what waits what was sent, and between two looks it would be seen as neither.
    """
    waits = select(errand.c.destination).where(errand.c.kind == WAITS, errand.c.instance_id.in_(instances))
    tables = (sent_object, sent_message, perhaps_sent)
    have = (select(table.c.destination).where(table.c.instance_id.in_(instances)) for table in tables)
    return frozenset(connection.execute(union(waits, *have)).scalars())


def may_have(connection: Connection, instances: Select[Any], destination: str) -> bool:
    """Whether the destination has something of these instances, or may have."""
    objects = select(sent_object.c.id).where(
        sent_object.c.destination == destination, sent_object.c.instance_id.in_(instances)
    )
    if last_told(connection, instances, destination):
        return True
    return connection.execute(objects.limit(1)).first() is not None


def bundle_of(connection: Connection, instance_id: int) -> str:
    """Digest of the bundle whose result of the instance waits, was given up, was sent last, or may have arrived; ""
    where none did."""
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
    if sent:
        return str(max(sent, key=lambda row: row.sent_at).bundle_digest)
    perhaps = select(perhaps_sent.c.bundle_digest).where(perhaps_sent.c.instance_id == instance_id)
    return connection.execute(perhaps.order_by(perhaps_sent.c.begun_at.desc()).limit(1)).scalar_one_or_none() or ""
