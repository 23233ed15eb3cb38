"""Results that may have arrived: an attempt began, and how it ended is not known.

The worker was killed between the answer and its commit, the answer came after the deadline, or a PACS took one object
and refused the other. So the row is written before each attempt, and goes when the result was taken, or the attempt
ended so that nothing of it can have been. What may have been told counts as told: a correction takes it back.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from worker.db.tables import perhaps_sent
from worker.reporting.waiting import WaitingResult


@dataclass(frozen=True, kw_only=True)
class ObjectName:
    """What another object refers to it by."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


class Made(Protocol):
    """What is about to be sent."""

    @property
    def object_name(self) -> ObjectName | None:
        """None: it is a message."""


def begin(connection: Connection, waits: WaitingResult, made: Sequence[Made], now: datetime) -> bool:
    """Before an attempt. False where an earlier one may have arrived: then this one's end does not change that."""
    row = {"instance_id": waits.instance, "bundle_digest": waits.bundle.digest, "destination": waits.destination}
    row |= {"objects": [asdict(one.object_name) for one in made if one.object_name]}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(perhaps_sent).values(row | {"begun_at": now}).on_conflict_do_nothing()
    return connection.execute(new.returning(perhaps_sent.c.instance_id)).first() is not None


def forget(connection: Connection, waits: WaitingResult) -> None:
    """It was taken, or nothing of it can have arrived."""
    connection.execute(delete(perhaps_sent).where(*_is(waits)))


def _is(waits: WaitingResult) -> tuple[ColumnElement[bool], ...]:
    return (
        perhaps_sent.c.instance_id == waits.instance,
        perhaps_sent.c.bundle_digest == waits.bundle.digest,
        perhaps_sent.c.destination == waits.destination,
    )
