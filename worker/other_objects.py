"""The ledger's row for what came beside the films and can never be one (`dicom_gateway.other_objects`).

It begins and ends in one transaction: received, and ineligible with the reason NOT_A_FILM. Nothing waits for it, so it
has no outbox row.
"""

import logging
import random
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.spool import drop, promising
from worker import trail
from worker.db.causes import cause
from worker.db.session import CommitUnknown, database_time, limited, reading, writing
from worker.db.tables import instance
from worker.ingest import PAUSE, RACES, Outcome
from worker.states import NOT_A_FILM, State

log = logging.getLogger("xrayq.ingest")

ACTOR = "gateway"
"""Who says that it is none."""


def record(engine: Engine, arrived: OtherObject) -> tuple[Outcome, int]:
    """Commit {instance, its two audit events}; of an object that is kept the file has been made durable before.

    The same bytes again are audited and make no row; others under a known UID become the next revision.

    Returns:
        What it was, and the instance's id.

    Raises:
        StoreUnavailable: the database did not take it (C-STORE status 0xA702).
    """
    with limited(engine):
        if arrived.path is None:
            outcome, instance_id = _commit(engine, arrived)
        else:
            outcome, instance_id = _commit_kept(engine, arrived, arrived.path)
    log.info(outcome.value, extra={"instance": instance_id, "calling_ae": arrived.calling_ae, "reason": NOT_A_FILM})
    return outcome, instance_id


def _commit_kept(engine: Engine, arrived: OtherObject, path: Path) -> tuple[Outcome, int]:
    try:
        with promising(path):
            return _commit(engine, arrived)
    except StoreUnavailable as error:
        # After CommitUnknown the commit may still be on its way, and nobody sees it yet: the file stays.
        if arrived.fresh and not isinstance(error.__cause__, CommitUnknown):
            drop(path, unless=lambda: _named(engine, arrived))
        raise


def _commit(engine: Engine, arrived: OtherObject) -> tuple[Outcome, int]:
    for race in range(RACES):
        time.sleep(random.uniform(0, race * PAUSE))
        try:
            with writing(engine) as connection:
                return _record(connection, arrived)
        except IntegrityError:
            continue  # another association committed the same UID between our look and our insert: look again
        except SQLAlchemyError as error:
            log.error("database refused an instance", extra={"reason": cause(error)})
            raise StoreUnavailable from error
    log.error("database refused an instance", extra={"reason": f"{RACES} races for one UID"})
    raise StoreUnavailable


def _named(engine: Engine, arrived: OtherObject) -> bool:
    """Whether an instance has this file, or the database does not say."""
    query = select(instance.c.id).where(
        instance.c.sop_instance_uid == arrived.sop_instance_uid, instance.c.digest == arrived.digest
    )
    try:
        with reading(engine) as connection:
            return connection.execute(query.limit(1)).first() is not None
    except SQLAlchemyError:
        return True


def _record(connection: Connection, arrived: OtherObject) -> tuple[Outcome, int]:
    latest = connection.execute(
        select(instance.c.id, instance.c.revision, instance.c.digest)
        .where(instance.c.sop_instance_uid == arrived.sop_instance_uid)
        .order_by(instance.c.revision.desc())
        .limit(1)
    ).one_or_none()
    if latest and latest.digest == arrived.digest:
        if arrived.path:  # it is kept now, and was not when it came first
            connection.execute(update(instance).where(instance.c.id == latest.id).values(in_spool=True))
        _audit(connection, latest.id, arrived, (Outcome.DUPLICATE, {"digest": arrived.digest}))
        return Outcome.DUPLICATE, latest.id
    now = database_time(connection)
    instance_id = connection.execute(
        insert(instance).returning(instance.c.id), _row(arrived, latest.revision + 1 if latest else 1, now)
    ).scalar_one()
    outcome = Outcome.REVISION if latest else Outcome.NEW
    _audit(connection, instance_id, arrived, (outcome, {"digest": arrived.digest, "size": arrived.size}), ended=True)
    return outcome, instance_id


def _row(arrived: OtherObject, revision: int, now: Any) -> dict[str, Any]:
    return {
        "sop_instance_uid": arrived.sop_instance_uid,
        "revision": revision,
        "sop_class_uid": arrived.sop_class_uid,
        "transfer_syntax_uid": arrived.transfer_syntax_uid,
        "study_instance_uid": arrived.study_instance_uid,
        "series_instance_uid": arrived.series_instance_uid,
        "digest": arrived.digest,
        "size": arrived.size,
        "calling_ae": arrived.calling_ae,
        "called_ae": arrived.called_ae,
        "modality": arrived.modality,
        "body_part": "",
        "view_position": "",
        "is_film": False,
        "in_spool": arrived.path is not None,
        "state": State.INELIGIBLE,
        "reason": NOT_A_FILM,
        "received_at": now,
        "finished_at": now,
    }


def _audit(
    connection: Connection,
    instance_id: int,
    arrived: OtherObject,
    arrival: tuple[Outcome, dict[str, Any]],
    *,
    ended: bool = False,
) -> None:
    action, detail = arrival
    events = [trail.event(action=action, instance_id=instance_id, actor=arrived.calling_ae, detail=detail)]
    if ended:
        why = {"reason": NOT_A_FILM, "sop_class": arrived.sop_class_uid}
        events.append(trail.event(action=State.INELIGIBLE, instance_id=instance_id, actor=ACTOR, detail=why))
    trail.record_all(connection, events)
