"""Since when the oldest film waits for its score: one answer for alarms, doctor, status and the night's report."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from worker.audit.actions import Action
from worker.db.tables import audit_event, instance
from worker.states import State

CHUNK = 100
AGAIN = (Action.REQUEUED, Action.ADMITTED)
"""With which a film begins to wait long after it came."""


def oldest(connection: Connection) -> datetime | None:
    """Since it was received, requeued or admitted; films of a backfill are left out. None where none waits.

    A postponed batch makes it no younger.
    """
    again = (
        select(func.max(audit_event.c.at))
        .where(audit_event.c.instance_id == instance.c.id, audit_event.c.action.in_(AGAIN))
        .scalar_subquery()
    )
    waiting = select(instance.c.received_at, again).where(instance.c.state == State.RECEIVED, ~instance.c.backfilled)
    found: datetime | None = None
    with connection.execute(
        waiting.order_by(instance.c.received_at, instance.c.id), execution_options={"yield_per": CHUNK}
    ) as rows:
        for received_at, again_at in rows:
            if found and received_at >= found:
                break  # what follows came later still, and was requeued no earlier than it came
            since = max(received_at, again_at or received_at)
            found = min(found or since, since)
    return found
