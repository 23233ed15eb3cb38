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

from sqlalchemy import Connection, bindparam, text

from worker.db.columns import Timestamp

QUIET = timedelta(minutes=5)
"""From the newest object of a study until it can be complete, unless XRAYQ_STUDY_SECONDS says otherwise."""

# As text, for SQLAlchemy builds an ON CONFLICT anew each time, and that took a quarter of a film's transaction.
ARRIVED = text("""
    INSERT INTO study_outcome (study_instance_uid, first_received_at, last_received_at, quiet_until, due_at,
        outcome, version, films, failed, other_objects)
    VALUES (:uid, :now, :now, :until, :until, 'waiting', 0, 0, 0, 0)
    ON CONFLICT (study_instance_uid) DO UPDATE SET
        last_received_at = CASE WHEN study_outcome.last_received_at > excluded.last_received_at
            THEN study_outcome.last_received_at ELSE excluded.last_received_at END,
        quiet_until = CASE WHEN study_outcome.quiet_until > excluded.quiet_until
            THEN study_outcome.quiet_until ELSE excluded.quiet_until END,
        due_at = CASE WHEN study_outcome.quiet_until > excluded.quiet_until
            THEN study_outcome.quiet_until ELSE excluded.quiet_until END
    """).bindparams(bindparam("now", type_=Timestamp), bindparam("until", type_=Timestamp))
CHANGED = text("""
    INSERT INTO study_outcome (study_instance_uid, first_received_at, last_received_at, quiet_until, due_at,
        outcome, version, films, failed, other_objects)
    SELECT study_instance_uid, min(received_at), max(received_at), max(received_at), :now, 'waiting', 0, 0, 0, 0
    FROM instance WHERE id IN :ids AND study_instance_uid <> ''
    GROUP BY study_instance_uid ORDER BY study_instance_uid
    ON CONFLICT (study_instance_uid) DO UPDATE SET
        last_received_at = CASE WHEN study_outcome.last_received_at > excluded.last_received_at
            THEN study_outcome.last_received_at ELSE excluded.last_received_at END,
        due_at = CASE WHEN study_outcome.quiet_until > excluded.due_at
            THEN study_outcome.quiet_until ELSE excluded.due_at END
    """).bindparams(bindparam("now", type_=Timestamp), bindparam("ids", expanding=True))


def arrived(
    connection: Connection, study: str, now: datetime, quiet: timedelta, *, before: tuple[int, str] | None = None
) -> None:
    """A new object of the study is here. One that names no study ("") opens none.

    Args:
        before: of the revision before, where there is one: the instance's id, and its study, which may be another.
    """
    for uid in sorted({study, before[1] if before else study} - {""}):
        if uid == study:
            connection.execute(ARRIVED, {"uid": uid, "now": now, "until": now + quiet})
        elif before:
            changed(connection, [before[0]], now)


def changed(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Films ended, wait again, or are in another study now: their studies are looked at as soon as they are quiet.

    A study without a row gets one: a gateway of the release before wrote none.
    """
    if ids:
        connection.execute(CHANGED, {"ids": list(ids), "now": now})
