"""The gateway's `accept`: one transaction that makes an instance ours. When it returns, success may be promised."""

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert

from dicom_gateway.options import Received
from dicom_gateway.revision import Comparison, compare
from dicom_gateway.spool import Spool
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.postgresql import not_counted
from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import database_time, reading, writing
from worker.db.tables import instance
from worker.queue import outbox
from worker.receiving.arrivals import ArrivalKind, Became, newest, next_revision, settle, whence
from worker.states import State
from worker.studies import opening

log = logging.getLogger("xrayq.ingest")


def never(_first: Path, _second: Path) -> bool:
    """Where nothing can decode: two codings are two pictures."""
    return False


def ingest(
    engine: Engine,
    spool: Spool,
    received: Received,
    same_picture: Callable[[Path, Path], bool] = never,
    *,
    quiet: timedelta = opening.QUIET,
) -> Became:
    """Commit {instance, outbox row, study's row, audit event} for one durable film.

    The same film again is audited and makes no new work. Other content under a known UID, or another patient or study,
    becomes the next revision; what is no film (`worker.receiving.other_objects`) is none to compare with. A file that
    the database does not name then leaves the spool: one without an instance means a lost film.

    Args:
        same_picture: see `revision.compare`.
        quiet: from the newest object of a study until it can be complete.

    Raises:
        StoreUnavailable: the database did not take it, or did not say so in time. The time of
            a comparison is not the database's, and comes on top.
    """
    compared: dict[str, Comparison] = {received.digest: Comparison(same=True)}
    outcome, instance_id = settle(
        engine, received, lambda: _commit(engine, spool, received, same_picture, compared, quiet)
    )
    digest = received.digest[:12]
    log.info(outcome.value, extra={"instance": instance_id, "digest": digest, "calling_ae": received.calling_ae})
    return outcome, instance_id


def _commit(
    engine: Engine,
    spool: Spool,
    received: Received,
    same_picture: Callable[[Path, Path], bool],
    compared: dict[str, Comparison],
    quiet: timedelta,
) -> Became | None:
    """One try; `compared` keeps what it found, by digest, for the next one."""
    key, uid = digest_key(engine), received.header.sop_instance_uid
    with reading(engine) as connection:
        latest = newest(connection, uid, is_film=True)
    # Two films may be read whole here, and decoded: not inside the transaction that others wait for.
    if latest and latest.digest not in compared:
        with not_counted():
            compared[latest.digest] = compare(spool.path_of(latest.digest), received.path, same_picture)
    with writing(engine) as connection:
        # Before the second look: whoever commits after this has the same revision, and only one of us can keep it.
        revision = next_revision(connection, uid)
        if newest(connection, uid, is_film=True) != latest:
            return None
        if latest is None:
            return ArrivalKind.NEW, _insert(connection, received, key, revision, quiet)
        found = compared[latest.digest]
        if found.same:
            return ArrivalKind.DUPLICATE, _duplicate(connection, received, latest.id, found)
        return ArrivalKind.REVISION, _insert(connection, received, key, revision, quiet, before=latest, found=found)


def _duplicate(connection: Connection, received: Received, instance_id: int, found: Comparison) -> int:
    detail: dict[str, Any] = {"digest": received.digest} | whence(received)
    if found.demographics_changed:
        detail["demographics_changed"] = list(found.demographics_changed)
    trail.record(connection, action=Action.DUPLICATE, instance_id=instance_id, actor=received.calling_ae, detail=detail)
    return instance_id


def _insert(
    connection: Connection,
    received: Received,
    key: bytes,
    revision: int,
    quiet: timedelta,
    *,
    before: Row[Any] | None = None,
    found: Comparison | None = None,
) -> int:
    """A new instance, with its place in the queue.

    Args:
        before: of the instance that it is a revision of, as `newest` has it, and `found` what differs.
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
            "manufacturer": header.manufacturer,
            "model_name": header.model_name,
            "station": header.station,
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
    outbox.add(connection, instance_id, now)
    known = (before.id, before.study_instance_uid) if before else None
    opening.arrived(connection, header.study_instance_uid, now, quiet, before=known)
    detail: dict[str, Any] = {"digest": received.digest, "size": received.size} | whence(received)
    if before and found:
        detail |= {
            "before": before.id,
            "identity_changed": list(found.identity_changed),
            "changed": list(found.changed),
        }
        if found.demographics_changed:
            detail["demographics_changed"] = list(found.demographics_changed)
    trail.record(
        connection,
        action=Action.REVISION if found else Action.RECEIVED,
        instance_id=instance_id,
        actor=received.calling_ae,
        detail=detail,
    )
    return instance_id
