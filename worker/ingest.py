"""The gateway's `accept`: one transaction that makes an instance ours. When it returns, success may be promised."""

import hashlib
import logging
import random
import time
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.options import Received
from dicom_gateway.revision import same_film
from dicom_gateway.spool import Spool, drop, promising
from worker import trail
from worker.db.causes import cause
from worker.db.session import CommitUnknown, database_time, limited, reading, writing
from worker.db.tables import instance, outbox
from worker.states import State

log = logging.getLogger("xrayq.ingest")

RACES = 30
PAUSE = 0.02
"""Longest wait after the first lost race, seconds; after the second twice that."""


class Outcome(StrEnum):
    NEW = "received"
    DUPLICATE = "duplicate"
    REVISION = "revision"


def ingest(engine: Engine, spool: Spool, received: Received) -> tuple[Outcome, int]:
    """Commit {instance, outbox row, audit event} for one durable film.

    The same film again is audited and makes no new work. Other content under a known UID becomes the next revision.
    A file that the database does not name then leaves the spool: one without an instance means a lost film.

    Returns:
        What it was, and the instance's id.

    Raises:
        StoreUnavailable: the database did not take it, or did not say so in time (C-STORE status 0xA702).
    """
    removable = received.fresh
    with limited(engine):
        try:
            with promising(received.path):
                outcome, instance_id = _commit(engine, spool, received)
            removable = outcome is Outcome.DUPLICATE  # the film is kept under another name, or under this one and named
        except CommitUnknown as error:
            removable = False  # the commit may still be on its way, and nobody sees it yet
            log.error("database refused an instance", extra={"reason": cause(error)})
            raise StoreUnavailable from None
        finally:
            if removable:
                drop(received.path, unless=partial(_named, engine, received))
    log.info(outcome.value, extra={"instance": instance_id, "calling_ae": received.calling_ae})
    return outcome, instance_id


def accession_digest(number: str) -> str:
    """SHA-256 of an Accession Number, hex, "" without one: enough to find films by it.

    A pseudonym, not a secret: who has the digest can try every number.
    """
    return hashlib.sha256(number.encode()).hexdigest() if number else ""


def _commit(engine: Engine, spool: Spool, received: Received) -> tuple[Outcome, int]:
    for race in range(RACES):
        time.sleep(random.uniform(0, race * PAUSE))
        try:
            with reading(engine) as connection:
                latest = _latest(connection, received)
            # Two films may be read whole here: not inside the transaction that others wait for.
            same = latest is not None and _same(spool, latest.digest, received)
            with writing(engine) as connection:
                if _latest(connection, received) != latest:
                    continue
                outcome, instance_id = _ingest(connection, received, latest, same)
            return outcome, instance_id
        except IntegrityError:
            continue  # another association committed the same UID between our look and our insert: look again
        except CommitUnknown:
            raise
        except SQLAlchemyError as error:
            log.error("database refused an instance", extra={"reason": cause(error)})
            raise StoreUnavailable from None
    log.error("database refused an instance", extra={"reason": f"{RACES} races for one UID"})
    raise StoreUnavailable


def _named(engine: Engine, received: Received) -> bool:
    """Whether an instance has this file, or the database does not say. Asked by the UID, which has an index."""
    query = select(instance.c.id).where(
        instance.c.sop_instance_uid == received.header.sop_instance_uid, instance.c.digest == received.digest
    )
    try:
        with reading(engine) as connection:
            return connection.execute(query.limit(1)).first() is not None
    except SQLAlchemyError:
        return True


def _latest(connection: Connection, received: Received) -> Any:
    """(id, revision, digest) of the newest revision under the film's SOP Instance UID, None when it is new."""
    return connection.execute(
        select(instance.c.id, instance.c.revision, instance.c.digest)
        .where(instance.c.sop_instance_uid == received.header.sop_instance_uid)
        .order_by(instance.c.revision.desc())
        .limit(1)
    ).one_or_none()


def _same(spool: Spool, digest: str, received: Received) -> bool:
    return digest == received.digest or same_film(spool.path_of(digest), received.path)


def _ingest(connection: Connection, received: Received, latest: Any, same: bool) -> tuple[Outcome, int]:
    header = received.header
    if latest and same:
        trail.record(
            connection,
            action=Outcome.DUPLICATE,
            instance_id=latest.id,
            actor=received.calling_ae,
            detail={"digest": received.digest},
        )
        return Outcome.DUPLICATE, latest.id
    now = database_time(connection)
    instance_id = connection.execute(
        insert(instance).returning(instance.c.id),
        {
            "sop_instance_uid": header.sop_instance_uid,
            "revision": latest.revision + 1 if latest else 1,
            "sop_class_uid": header.sop_class_uid,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "study_instance_uid": header.study_instance_uid,
            "series_instance_uid": header.series_instance_uid,
            "digest": received.digest,
            "size": received.size,
            "calling_ae": received.calling_ae,
            "called_ae": received.called_ae,
            "modality": header.modality,
            "body_part": header.body_part,
            "view_position": header.view_position,
            "age_years": header.age_years,
            "burned_in": header.burned_in,
            "accession_digest": accession_digest(header.accession_number),
            "state": State.RECEIVED,
            "received_at": now,
        },
    ).scalar_one()
    connection.execute(insert(outbox), {"kind": "score", "instance_id": instance_id, "next_attempt_at": now})
    outcome = Outcome.REVISION if latest else Outcome.NEW
    trail.record(
        connection,
        action=outcome,
        instance_id=instance_id,
        actor=received.calling_ae,
        detail={"digest": received.digest, "size": received.size},
    )
    return outcome, instance_id
