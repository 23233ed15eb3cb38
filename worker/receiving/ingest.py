"""The gateway's `accept`: one transaction that makes an instance ours. When it returns, success may be promised."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert

from dicom_gateway.options import Received
from dicom_gateway.peers import Connected, Unknown
from dicom_gateway.revision import Comparison, compare
from dicom_gateway.spool import Spool
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.postgresql import not_counted
from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import database_time, reading, writing
from worker.db.tables import instance
from worker.peers import quarantine, table
from worker.queue import outbox
from worker.receiving.arrivals import ArrivalKind, Became, newest, next_revision, settle, whence
from worker.receiving.backfilled import of_backfill
from worker.states import Priority, State
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
    unknown: Connected | None = None,
    fetched: bool = False,
) -> Became:
    """Commit {instance, outbox row, study's row, audit event} for one durable film.

    The same film again is audited, of unknown peers once an hour, and makes no new work. Other content under a known
    UID, or another patient or study, becomes the next revision; what is no film (`worker.receiving.other_objects`) is
    none to compare with. A file that the database does not name then leaves the spool: one without an instance means a
    lost film.

    Args:
        same_picture: see `revision.compare`.
        quiet: from the newest object of a study until it can be complete.
        unknown: who sent it, where that was unknown a moment ago. Unless it is known by now the film goes into
            quarantine: no outbox row, and its study does not hear of it.
        fetched: it came over an association of a backfill, so that it is one of its films, also where it was not asked
            for.

    Raises:
        StoreUnavailable: the database did not take it, or did not say so in time. The time of
            a comparison is not the database's, and comes on top.
    """
    arrival = _Arrival(
        engine=engine,
        spool=spool,
        received=received,
        same_picture=same_picture,
        quiet=quiet,
        unknown=unknown,
        fetched=fetched,
    )
    outcome, instance_id = settle(engine, received, arrival.commit)
    digest = received.digest[:12]
    log.info(outcome.value, extra={"instance": instance_id, "digest": digest, "calling_ae": received.calling_ae})
    return outcome, instance_id


@dataclass(kw_only=True)
class _Arrival:
    """A film on its way into the database: what several tries share."""

    engine: Engine
    spool: Spool
    received: Received
    same_picture: Callable[[Path, Path], bool]
    quiet: timedelta
    unknown: Connected | None
    """None as soon as its sender is known."""
    fetched: bool
    compared: dict[str, Comparison] = field(default_factory=dict)
    """What was found, by digest of the film that it was compared with."""

    def commit(self) -> Became | None:
        """One try."""
        received = self.received
        key, uid = digest_key(self.engine), received.header.sop_instance_uid
        with reading(self.engine) as connection:
            latest = newest(connection, uid, is_film=True, unknown=self.unknown)
        # Two films may be read whole here, and decoded: not inside the transaction that others wait for.
        if latest and latest.digest not in self.compared:
            self.compared[latest.digest] = self._compare(latest.digest)
        with writing(self.engine) as connection:
            # What leaves the quarantine does so before this film or after it, and sees it then.
            table.lock(connection, shared=True)
            why = quarantine.still_unknown(connection, self.unknown) if self.unknown else None
            # Before the second look: whoever commits after this has the same revision, and only one of us can keep it.
            revision = next_revision(connection, uid)
            if newest(connection, uid, is_film=True, unknown=self.unknown) != latest:
                return None
            if self.unknown and why is None:
                self.unknown = None
                return None
            if latest is None:
                return ArrivalKind.NEW, self._insert(connection, key, revision, why)
            found = self.compared[latest.digest]
            if found.same:
                return ArrivalKind.DUPLICATE, _duplicate(connection, received, latest.id, found, why)
            return ArrivalKind.REVISION, self._insert(connection, key, revision, why, before=latest, found=found)

    def _compare(self, digest: str) -> Comparison:
        if digest == self.received.digest:
            return Comparison(same=True)
        with not_counted():
            return compare(self.spool.path_of(digest), self.received.path, self.same_picture)

    def _insert(
        self,
        connection: Connection,
        key: bytes,
        revision: int,
        why: Unknown | None,
        *,
        before: Row[Any] | None = None,
        found: Comparison | None = None,
    ) -> int:
        """A new instance, with its place in the queue or in quarantine.

        Args:
            why: its sender is unknown.
            before: of the instance that it is a revision of, as `newest` has it, and `found` what differs.
        """
        received, now = self.received, database_time(connection)
        values = _row(received, key) | {
            "revision": revision,
            "state": State.QUARANTINED if why else State.RECEIVED,
            "admitted": why is None,
            "received_at": now,
            "identity_changed": list(found.identity_changed) if found else None,
        }
        old = self.fetched or of_backfill(received.header.sop_instance_uid, received.calling_ae)
        row = insert(instance).values(backfilled=old).returning(instance.c.id, instance.c.backfilled)
        kept = connection.execute(row, values).one()
        instance_id: int = kept.id
        events = [_event(received, instance_id, before, found)]
        if self.unknown and why:
            events.append(quarantine.hold(connection, instance_id, self.unknown, why))
        else:
            outbox.add(connection, instance_id, now, Priority.of(kept.backfilled))
            known = (before.id, before.study_instance_uid) if before else None
            opening.arrived(connection, received.header.study_instance_uid, now, self.quiet, before=known)
        trail.record_all(connection, events)
        return instance_id


def _duplicate(
    connection: Connection, received: Received, instance_id: int, found: Comparison, why: Unknown | None
) -> int:
    if why and quarantine.was_told(connection, instance_id):
        return instance_id
    detail: dict[str, Any] = {"digest": received.digest} | whence(received)
    if why:  # it changes nothing, and corrects nobody's film
        detail["unknown_sender"] = why.name
    elif found.demographics_changed:
        detail["demographics_changed"] = list(found.demographics_changed)
    trail.record(connection, action=Action.DUPLICATE, instance_id=instance_id, actor=received.calling_ae, detail=detail)
    return instance_id


def _row(received: Received, key: bytes) -> dict[str, Any]:
    header = received.header
    return {
        "sop_instance_uid": header.sop_instance_uid,
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
    }


def _event(received: Received, instance_id: int, before: Row[Any] | None, found: Comparison | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"digest": received.digest, "size": received.size} | whence(received)
    if before and found:
        detail |= {
            "before": before.id,
            "identity_changed": list(found.identity_changed),
            "changed": list(found.changed),
        }
        if found.demographics_changed:
            detail["demographics_changed"] = list(found.demographics_changed)
    return trail.event(
        action=Action.REVISION if found else Action.RECEIVED,
        instance_id=instance_id,
        actor=received.calling_ae,
        detail=detail,
    )
