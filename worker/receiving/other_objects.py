"""The ledger's row for what came beside the films and can never be one (`dicom_gateway.other_objects`).

It begins and ends in one transaction: received, and ineligible with the reason NOT_A_FILM. Nothing waits for it, so it
has no outbox row.
"""

import logging
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, insert, update

from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected
from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.session import database_time, writing
from worker.db.tables import instance
from worker.peers import quarantine, table
from worker.receiving.arrivals import ArrivalKind, Became, newest, next_revision, settle, whence
from worker.states import NOT_A_FILM, State
from worker.studies import opening

log = logging.getLogger("xrayq.ingest")


def record(
    engine: Engine, arrived: OtherObject, *, quiet: timedelta = opening.QUIET, unknown: Connected | None = None
) -> Became:
    """Commit {instance, study's row, two audit events}; the file of an object that is kept was made durable before.

    The same bytes again are audited, of unknown peers once an hour, and make no row. Others under a known UID become
    the next revision. A film under the same UID is another thing: none is a revision of the other, and none replaces
    the other.

    Args:
        quiet, unknown: as of `ingest`.

    Raises:
        StoreUnavailable: the database did not take it.
    """

    def commit() -> Became:
        with writing(engine) as connection:
            return _record(connection, arrived, quiet, unknown)

    outcome, instance_id = settle(engine, arrived, commit)
    known = {"instance": instance_id, "digest": arrived.digest[:12], "calling_ae": arrived.calling_ae}
    log.info(outcome.value, extra=known | {"reason": NOT_A_FILM})
    return outcome, instance_id


def _record(connection: Connection, arrived: OtherObject, quiet: timedelta, unknown: Connected | None) -> Became:
    # First the lock, then the revision, then the look: see `ingest`.
    table.lock(connection, shared=True)
    revision = next_revision(connection, arrived.sop_instance_uid)
    why = quarantine.still_unknown(connection, unknown) if unknown else None
    latest = newest(connection, arrived.sop_instance_uid, is_film=False, unknown=unknown if why else None)
    if latest and latest.digest == arrived.digest:
        if arrived.path:  # it is kept now, and was not when it came first
            connection.execute(update(instance).where(instance.c.id == latest.id).values(in_spool=True))
        if why is None:
            _audit(connection, latest.id, arrived, (ArrivalKind.DUPLICATE, {"digest": arrived.digest}))
        elif not quarantine.was_told(connection, latest.id):
            told = {"digest": arrived.digest, "unknown_sender": why.name}
            _audit(connection, latest.id, arrived, (ArrivalKind.DUPLICATE, told))
        return ArrivalKind.DUPLICATE, latest.id
    now = database_time(connection)
    instance_id = connection.execute(
        insert(instance).returning(instance.c.id), _row(arrived, revision, now, held=why is not None)
    ).scalar_one()
    outcome = ArrivalKind.REVISION if latest else ArrivalKind.NEW
    came = (outcome, {"digest": arrived.digest, "size": arrived.size})
    if unknown and why:
        event = quarantine.hold(connection, instance_id, unknown, why)
        _audit(connection, instance_id, arrived, came, event)
        return outcome, instance_id
    known = (latest.id, latest.study_instance_uid) if latest else None
    opening.arrived(connection, arrived.study_instance_uid, now, quiet, before=known)
    why_ended = {"reason": NOT_A_FILM, "sop_class": arrived.sop_class_uid}
    ended = trail.event(action=Action.INELIGIBLE, instance_id=instance_id, actor=Actor.GATEWAY, detail=why_ended)
    _audit(connection, instance_id, arrived, came, ended)
    return outcome, instance_id


def _row(arrived: OtherObject, revision: int, now: Any, *, held: bool) -> dict[str, Any]:
    """`held`: it goes into quarantine, and ends when it is admitted."""
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
        "state": State.QUARANTINED if held else State.INELIGIBLE,
        "reason": None if held else NOT_A_FILM,
        "admitted": not held,
        "received_at": now,
        "finished_at": None if held else now,
    }


def _audit(
    connection: Connection,
    instance_id: int,
    arrived: OtherObject,
    arrival: tuple[ArrivalKind, dict[str, Any]],
    *further: dict[str, Any],
) -> None:
    kind, detail = arrival[0], arrival[1] | whence(arrived)
    event = trail.event(action=Action(kind), instance_id=instance_id, actor=arrived.calling_ae, detail=detail)
    trail.record_all(connection, [event, *further])
