"""Messages that may have arrived: an attempt began, and how it ended is not known.

The worker was killed between the answer and its commit, or the answer came after the deadline. A receiver of messages
cannot be asked later if it has one, as a PACS can. So the row is written before each attempt, and goes when the message
was taken, or the attempt ended so that it cannot have been. What may have been told counts as told: a correction takes
it back.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from worker.db.tables import perhaps_sent
from worker.reporting.waiting import WaitingResult


def begin(connection: Connection, waits: WaitingResult, now: datetime) -> bool:
    """Before an attempt. False where an earlier one may have arrived: then this one's end does not change that."""
    row = {"instance_id": waits.instance, "bundle_digest": waits.bundle.digest, "destination": waits.destination}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(perhaps_sent).values(row | {"begun_at": now}).on_conflict_do_nothing()
    return connection.execute(new.returning(perhaps_sent.c.instance_id)).first() is not None


def forget(connection: Connection, waits: WaitingResult) -> None:
    """It was taken, or it cannot have arrived."""
    connection.execute(delete(perhaps_sent).where(*_is(waits)))


def _is(waits: WaitingResult) -> tuple[ColumnElement[bool], ...]:
    return (
        perhaps_sent.c.instance_id == waits.instance,
        perhaps_sent.c.bundle_digest == waits.bundle.digest,
        perhaps_sent.c.destination == waits.destination,
    )
