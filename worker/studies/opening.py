"""What opens a study: something of it came, or a film of it changed. One statement in the transaction that does it.

A study is open while it has a time at which the relay looks at it (`due_at`). Whoever changes what its outcome is made
of sets that time here, and so locks the row: the relay sees the change, or comes after it. Rows are locked in the order
of their UIDs, and before the audit trail's lock, so that no two transactions wait for each other.

One row for each Study Instance UID, whoever sent its objects: the UID is what a PACS files the result by, and a study
often comes twice, from the device and from the PACS. A sender that uses another's UID takes part in that study, as it
may also send a revision of that sender's film. `xrayq outcome show` says which senders a study has.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, case, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from worker.db.columns import Timestamp
from worker.db.tables import instance, study_outcome
from worker.studies.outcome import StudyOutcome

QUIET = timedelta(minutes=5)
"""From the newest object of a study until it can be complete, unless XRAYQ_STUDY_SECONDS says otherwise."""
UNDECIDED = {"outcome": StudyOutcome.WAITING, "version": 0, "films": 0, "failed": 0, "other_objects": 0}


def arrived(connection: Connection, study: str, now: datetime, quiet: timedelta, *, moved_from: str = "") -> None:
    """A new object of the study is here, or a revision of one. One that names no study ("") opens none.

    Args:
        moved_from: the study to which the revision before belongs.
    """
    for uid in sorted({study, moved_from} - {""}):
        if uid == study:
            _receive(connection, uid, now, now + quiet)
        else:
            look_again(connection, instance.c.study_instance_uid == uid, now)


def films_changed(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Films ended, or wait again."""
    if ids:
        look_again(connection, instance.c.id.in_(ids), now)


def look_again(connection: Connection, which: ColumnElement[bool], now: datetime) -> None:
    """The studies of these instances are looked at once nothing more of them comes.

    One without a row gets it: a gateway of the release before wrote none.
    """
    uid, came = instance.c.study_instance_uid, instance.c.received_at
    row = {
        "study_instance_uid": uid,
        "first_received_at": func.min(came),
        "last_received_at": func.max(came),
        "quiet_until": func.max(came),
        "due_at": literal(now, Timestamp),
        **{name: literal(value) for name, value in UNDECIDED.items()},
    }
    studies = select(*row.values()).where(which, uid != "").group_by(uid).order_by(uid)
    new = _insert(connection).from_select(list(row), studies)
    connection.execute(_unless_there(new, due_at=_later(study_outcome.c.quiet_until, literal(now, Timestamp))))


def _receive(connection: Connection, uid: str, now: datetime, until: datetime) -> None:
    times = {"first_received_at": now, "last_received_at": now, "quiet_until": until, "due_at": until}
    new = _insert(connection).values({"study_instance_uid": uid} | times | UNDECIDED)
    until_then = _later(study_outcome.c.quiet_until, new.excluded.quiet_until)
    connection.execute(_unless_there(new, quiet_until=until_then, due_at=until_then))


def _insert(connection: Connection) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(study_outcome)


def _unless_there(new: Any, **values: ColumnElement[datetime]) -> Insert:
    """The new row; where the study has one, these values instead."""
    last = _later(study_outcome.c.last_received_at, new.excluded.last_received_at)
    found: Insert = new.on_conflict_do_update(
        index_elements=["study_instance_uid"], set_={"last_received_at": last, **values}
    )
    return found


def _later(one: ColumnElement[datetime], other: ColumnElement[datetime]) -> ColumnElement[datetime]:
    return case((one > other, one), else_=other)
