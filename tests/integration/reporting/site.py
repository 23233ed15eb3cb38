"""A site whose results are sent: films that end, a PACS's address, and a worker's delivery, all in this process."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from sqlalchemy import Engine, delete, insert, select, true, update

from dicom_gateway.encode import derived_uid
from dicom_gateway.local import store_file
from dicom_gateway.result import FilmResult
from dicom_gateway.spool import Spool
from model.bundle import Bundle
from tests.phantoms import chest_pixels, write_film
from worker.audit import score_digests, trail
from worker.audit.actions import Action
from worker.db.session import database_time, reading, time_of, writing
from worker.db.tables import audit_event, errand, finding_score, instance, outbox, score, sent_message, sent_object
from worker.processes import result_options
from worker.queue import errands
from worker.receiving.ingest import ingest
from worker.reporting import acceptance, waiting
from worker.reporting.adapters.adapter import SendOptions
from worker.reporting.confirm import Confirmation
from worker.reporting.destinations import Destination, StoreDestination
from worker.reporting.new_results import ResultErrands
from worker.reporting.objects import Make
from worker.reporting.send import ResultDelivery
from worker.reporting.unconfirmed import ConfirmOptions
from worker.reporting.waiting import LOST, WAITS
from worker.settings import Settings
from worker.studies import opening

PIXELS = chest_pixels(64, 48)
OPTIONS = SendOptions(calling_ae="XRAYQ", hours=168.0, answer_seconds=5, send_seconds=10, confirm=False)


def objects(result: FilmResult, film: Path, *, picture: bool = True) -> list[Dataset]:
    """A document and, where the film was analysed, a picture: small, and the same for the same result."""
    assert film.name.startswith(result.film_digest)
    classes = [uid.Comprehensive3DSRStorage]
    if picture and result.not_analysed is None:
        classes.append(uid.MultiFrameTrueColorSecondaryCaptureImageStorage)
    made = []
    for sop_class in classes:
        new = Dataset()
        new.file_meta = FileMetaDataset()
        new.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        new.SOPClassUID = sop_class
        new.SOPInstanceUID = derived_uid(sop_class, *result.identity)
        new.SeriesInstanceUID = derived_uid("series", sop_class, *result.identity)
        new.StudyInstanceUID, new.PatientName = result.film.StudyInstanceUID, result.film.PatientName
        new.InstanceCreationDate, new.TimezoneOffsetFromUTC = f"{result.at:%Y%m%d}", f"{result.at:%z}"
        new.SeriesDescription = (
            result.not_analysed.code if result.not_analysed else ",".join(finding.name for finding in result.findings)
        )
        new.PredecessorDocumentsSequence = [_referenced(before.sop_instance_uid) for before in result.replaces]
        made.append(new)
    return made


def _referenced(sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


@dataclass(frozen=True, kw_only=True)
class Site:
    """Films end here, and results go out."""

    database: Engine
    spool: Spool
    bundle: Bundle
    folder: Path
    routes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    """Beside `results_to`."""

    @property
    def configured(self) -> Settings:
        return Settings(results_to=self.routes, **self.settings)

    @property
    def every(self) -> tuple[Destination, ...]:
        return result_options.routes(self.configured).every

    @property
    def destinations(self) -> tuple[StoreDestination, ...]:
        return tuple(destination for destination in self.every if isinstance(destination, StoreDestination))

    def accept(self, calling_ae: str = "CR1") -> None:
        acceptance.accept(self.database, calling_ae, reason="test", actor="operator:test", evidence=None)

    def silence(self, calling_ae: str = "CR1") -> None:
        acceptance.silence(self.database, calling_ae, reason="test", actor="operator:test")

    def film(
        self,
        name: str = "one",
        state: str = "scored",
        calling_ae: str = "CR1",
        *,
        end: bool = True,
        flag: bool = True,
        **attributes: Any,
    ) -> int:
        """One that came and ended, its result written for sending in the transaction that ended it."""
        path = write_film(self.folder, name, pixels=PIXELS, **attributes)
        received = replace(store_file(path, self.spool, "XRAYQ"), calling_ae=calling_ae)
        key = ingest(self.database, self.spool, received)[1]
        if end:
            self.end(key, state, flag=flag)
        return key

    def end(
        self,
        key: int,
        state: str = "scored",
        *,
        not_analysed: bool = True,
        flag: bool = True,
        prediction_set: Sequence[str] | None = None,
        reason: str = "",
    ) -> None:
        results = ResultErrands(result_options.routes(self.configured), not_analysed=not_analysed)
        with writing(self.database) as connection:
            now = database_time(connection)
            why = reason or {"ineligible": "view", "failed": "truncated"}.get(state)
            ended = {"state": state, "finished_at": now, "reason": why}
            connection.execute(update(instance).where(instance.c.id == key).values(ended))
            connection.execute(delete(outbox).where(outbox.c.instance_id == key))
            if state == "scored":
                about = {"instance_id": key, "bundle_digest": self.bundle.digest, "engine": "e", "scored_at": now}
                about |= {"software_version": "0", "prediction_set": prediction_set}
                row = connection.execute(insert(score).values(about).returning(score.c.id))
                finding = {"score_id": row.scalar_one(), "finding": "pneumonia", "logit": 1.0, "probability": 0.7}
                point = {"operating_point": 0.5, "operating_point_id": "pneumonia@specificity-0.9", "flag": flag}
                connection.execute(insert(finding_score).values(finding | point))
            opening.changed(connection, [key], now)
            results(connection, [key], self.bundle, now)
            digests = score_digests.written(connection, self.bundle.digest, [key])
            told = {"bundle": self.bundle.digest, score_digests.IN_DETAIL: digests[key]} if digests else None
            trail.record(connection, action=Action(state), instance_id=key, actor="worker", detail=told)

    def delivery(self, make: Make = objects, **options: Any) -> ResultDelivery:
        """
        Args:
            make: the objects of a result.
        """
        chosen = replace(OPTIONS, **options)
        adapter_of = result_options.adapters(self.configured, make, chosen)
        return ResultDelivery(database=self.database, spool=self.spool, adapter_of=adapter_of, options=chosen)

    def send(self, destination: Destination | None = None, **options: Any) -> list[str]:
        """Everything that is due for a destination, each once: why each did not arrive, or ""."""
        goal = destination or self.destinations[0]
        delivery, ends, now = self.delivery(**options), [], time_of(self.database)
        while taken := errands.take(self.database, (WAITS,), waiting.goes_to([goal.name]), now=now, lease_seconds=60):
            ends.append(delivery.deliver(taken, goal))
        return ends

    def send_one(self, **options: Any) -> str:
        """As `send`, of the oldest alone."""
        goal, now = self.destinations[0], time_of(self.database)
        taken = errands.take(self.database, (WAITS,), waiting.goes_to([goal.name]), now=now, lease_seconds=60)
        assert taken
        return self.delivery(**options).deliver(taken, goal)

    def confirmation(self, **options: Any) -> Confirmation:
        """
        Args:
            options: of ConfirmOptions.
        """
        asking = ConfirmOptions(**{"report_seconds": 2.0} | options)
        return Confirmation(database=self.database, send=replace(OPTIONS, confirm=True), options=asking)

    def ask(self, destination: Destination | None = None, **options: Any) -> str | None:
        """Whether a destination holds what it was sent, once for all that is due: what `Confirmation.ask_due` says."""
        return self.confirmation(**options).ask_due(destination or self.destinations[0])

    def take(self, key: int) -> None:
        """Another courier has its result."""
        taken = errands.take(
            self.database, (WAITS,), waiting.of_instance(key), now=time_of(self.database), lease_seconds=600
        )
        assert taken

    def later(self, hours: float = 0, only: int = 0) -> None:
        """What waits, or only that of one instance, is due, and was written so much earlier."""
        with writing(self.database) as connection:
            rows = connection.execute(
                select(errand.c.id, errand.c.payload).where(waiting.of_instance(only) if only else true())
            ).all()
            for row in rows:
                since = (datetime.fromisoformat(row.payload["since"]) - timedelta(hours=hours)).astimezone(UTC)
                values = {"next_attempt_at": since, "lease_until": None}
                values["payload"] = row.payload | {"since": since.isoformat()}
                connection.execute(update(errand).where(errand.c.id == row.id).values(values))

    def state(self, key: int) -> str:
        with reading(self.database) as connection:
            return str(connection.execute(select(instance.c.state).where(instance.c.id == key)).scalar_one())

    def waits(self) -> list[str]:
        """Destination of each result that waits."""
        return self._destinations(WAITS)

    def lost(self) -> list[str]:
        return self._destinations(LOST)

    def _destinations(self, kind: str) -> list[str]:
        with reading(self.database) as connection:
            query = select(errand.c.payload).where(errand.c.kind == kind).order_by(errand.c.id)
            return [payload["destination"] for payload in connection.execute(query).scalars()]

    def messages(self) -> list[Any]:
        with reading(self.database) as connection:
            return list(connection.execute(select(sent_message).order_by(sent_message.c.id)))

    def sent(self) -> list[Any]:
        with reading(self.database) as connection:
            return list(connection.execute(select(sent_object).order_by(sent_object.c.id)))

    def events(self, *actions: str) -> list[tuple[str, dict[str, Any]]]:
        with reading(self.database) as connection:
            query = select(audit_event.c.action, audit_event.c.detail).where(audit_event.c.action.in_(actions))
            return [(row.action, row.detail) for row in connection.execute(query.order_by(audit_event.c.id))]


def names(destinations: Sequence[Destination]) -> list[str]:
    return [destination.name for destination in destinations]
