"""The gateway's `accept`: one transaction that makes an instance ours. When it returns, success may be promised."""

import logging
import random
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.options import Received
from dicom_gateway.revision import Comparison, compare
from dicom_gateway.spool import Spool, drop, promising
from worker import trail
from worker.db.causes import cause
from worker.db.session import CommitUnknown, database_time, limited, reading, writing
from worker.db.tables import instance, outbox
from worker.pseudonyms import accession_digest, digest_key
from worker.states import State

log = logging.getLogger("xrayq.ingest")

RACES = 30
PAUSE = 0.02
"""Longest wait after the first lost race, seconds; after the second twice that."""


class Outcome(StrEnum):
    NEW = "received"
    DUPLICATE = "duplicate"
    REVISION = "revision"


def never(_one: Path, _other: Path) -> bool:
    """Where nothing can decode: two codings are two pictures."""
    return False


def ingest(
    engine: Engine, spool: Spool, received: Received, same_picture: Callable[[Path, Path], bool] = never
) -> tuple[Outcome, int]:
    """Commit {instance, outbox row, audit event} for one durable film.

    The same film again is audited and makes no new work. Other content under a known UID, or another patient or study,
    becomes the next revision. A file that the database does not name then leaves the spool: one without an instance
    means a lost film.

    Args:
        same_picture: see `revision.compare`.

    Returns:
        What it was, and the instance's id.

    Raises:
        StoreUnavailable: the database did not take it, or did not say so in time (C-STORE status 0xA702).
    """
    removable = received.fresh
    with limited(engine):
        try:
            with promising(received.path):
                outcome, instance_id = _commit(engine, spool, received, same_picture)
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


def _commit(
    engine: Engine, spool: Spool, received: Received, same_picture: Callable[[Path, Path], bool]
) -> tuple[Outcome, int]:
    compared: dict[str, Comparison] = {received.digest: Comparison(same=True)}
    for race in range(RACES):
        time.sleep(random.uniform(0, race * PAUSE))
        try:
            key = digest_key(engine)
            with reading(engine) as connection:
                latest = _latest(connection, received)
            # Two films may be read whole here, and decoded: not inside the transaction that others wait for.
            if latest and latest.digest not in compared:
                compared[latest.digest] = compare(spool.path_of(latest.digest), received.path, same_picture)
            with writing(engine) as connection:
                if _latest(connection, received) != latest:
                    continue
                if latest is None:
                    return Outcome.NEW, _insert(connection, received, key, revision=1)
                found = compared[latest.digest]
                if found.same:
                    return Outcome.DUPLICATE, _duplicate(connection, received, latest.id, found)
                return Outcome.REVISION, _insert(
                    connection, received, key, revision=latest.revision + 1, before=latest.id, found=found
                )
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


def _duplicate(connection: Connection, received: Received, instance_id: int, found: Comparison) -> int:
    detail: dict[str, Any] = {"digest": received.digest}
    if found.demographics_changed:
        detail["demographics_changed"] = list(found.demographics_changed)
    trail.record(
        connection, action=Outcome.DUPLICATE, instance_id=instance_id, actor=received.calling_ae, detail=detail
    )
    return instance_id


def _insert(
    connection: Connection,
    received: Received,
    key: bytes,
    *,
    revision: int,
    before: int | None = None,
    found: Comparison | None = None,
) -> int:
    """A new instance, with its place in the queue.

    Args:
        before: the instance that it is a revision of, and `found` what differs.
    """
    header, now = received.header, database_time(connection)
    instance_id: int = connection.execute(
        insert(instance).returning(instance.c.id),
        {
            "sop_instance_uid": header.sop_instance_uid,
            "revision": revision,
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
            "view_code": header.view_code,
            "patient_orientation": header.patient_orientation,
            "age_years": header.age_years,
            "derived": header.derived,
            "burned_in": header.burned_in,
            "quality_control": header.quality_control,
            "accession_digest": accession_digest(key, header.accession_number),
            "state": State.RECEIVED,
            "received_at": now,
            "identity_changed": list(found.identity_changed) if found else None,
        },
    ).scalar_one()
    connection.execute(insert(outbox), {"kind": "score", "instance_id": instance_id, "next_attempt_at": now})
    detail: dict[str, Any] = {"digest": received.digest, "size": received.size}
    if found:
        detail |= {
            "before": before,
            "identity_changed": list(found.identity_changed),
            "changed": list(found.changed),
        }
        if found.demographics_changed:
            detail["demographics_changed"] = list(found.demographics_changed)
    trail.record(
        connection,
        action=Outcome.REVISION if found else Outcome.NEW,
        instance_id=instance_id,
        actor=received.calling_ae,
        detail=detail,
    )
    return instance_id
