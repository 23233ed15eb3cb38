"""Orthanc with films of past days, our gateway, and the turns of a backfill as the relay makes them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select

from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import Spool
from dicom_gateway.storing import Storing
from tests.orthanc import TITLE, Orthanc, orthanc
from tests.phantoms import chest_film, save
from tests.services import free_port
from worker.backfill import jobs
from worker.backfill.association import Retrieving
from worker.backfill.options import BackfillOptions, Job, Way
from worker.backfill.progress import Progress, progress
from worker.backfill.turn import Backfilling
from worker.db.session import reading
from worker.db.tables import instance
from worker.pacs.options import AskedPacs, AskOptions
from worker.receiving.ingest import ingest

TODAY = datetime.now(UTC).date()
RATE = 600.0
GIB = 1 << 30


@dataclass(kw_only=True)
class Archive:
    pacs: Orthanc
    database: Engine
    backfilling: Backfilling
    spool: Spool
    folder: Path
    free: list[int | None] = field(default_factory=lambda: [GIB])
    """Of the spool, as the backfill is told."""

    def given(self, name: str, day: date, **attributes: Any) -> str:
        """A film in Orthanc. Its SOP Instance UID."""
        film = chest_film(name, StudyDate=f"{day:%Y%m%d}", StudyTime="083000", **attributes)
        film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
        self.pacs.post("/instances", save(film, self.folder / f"{name}.dcm").read_bytes())
        return str(film.SOPInstanceUID)

    def start(self, days: int = 2, *, way: Way = Way.MOVE, rate: float = RATE, hours: str = "") -> Job:
        """Of so many days, up to yesterday."""
        span = (TODAY - timedelta(days=days), TODAY - timedelta(days=1))
        return jobs.start(self.database, TITLE, span, rate=rate, hours=hours, way=way, actor="operator:test")

    def turn_until_over(self, seconds: float = 60.0) -> Progress:
        deadline = time.monotonic() + seconds
        while (found := self.progress()).job.ended_at is None:
            assert time.monotonic() < deadline, found
            self.backfilling.turn()
        return found

    def progress(self) -> Progress:
        with reading(self.database) as connection:
            return progress(connection, jobs.newest(connection)[0])

    def here(self) -> dict[str, bool]:
        """SOP Instance UID -> whether it is a film of a backfill; each revision once."""
        with reading(self.database) as connection:
            rows = connection.execute(select(instance.c.sop_instance_uid, instance.c.backfilled)).all()
        assert len(rows) == len({uid for uid, _ in rows}), "none is here twice"
        return {uid: bool(backfilled) for uid, backfilled in rows}


@contextmanager
def archive(
    database: Engine, folder: Path, *, first_wait: float = 60.0, known: bool = True, stranger: bool = False
) -> Iterator[Archive]:
    """
    Args:
        first_wait: seconds after which a film that did not come is asked for again.
        known: whether Orthanc has the gateway's port; else it calls one where nobody listens.
        stranger: Orthanc is no peer, and what it sends goes into quarantine.
    """
    spool = Spool(folder / "spool", reserve_bytes=0, max_bytes=1 << 24)
    spool.prepare()

    def accept(arrived: Any) -> None:
        assert isinstance(arrived, Received)
        ingest(database, spool, arrived, unknown=arrived.sent_by if stranger else None)

    server = Gateway(GatewayOptions(host="127.0.0.1", port=0), spool, accept)
    server.start()
    dicom = free_port()
    free: list[int | None] = [GIB]
    try:
        with orthanc(folder / "orthanc", server.port if known else free_port(), dicom=dicom) as pacs:
            asked = AskedPacs(called_ae=TITLE, host="127.0.0.1", port=dicom)
            ask = AskOptions(pacs=(asked,), calling_ae="XRAYQ", zone=ZoneInfo("UTC"), answer_seconds=10)
            options = BackfillOptions(
                ask=ask, reserve_bytes=1000, live_films=3, answer_seconds=10, first_wait=first_wait
            )
            retrieving = Retrieving(options=options, storing=Storing(spool=spool, accept=accept))
            turns = Backfilling(
                database=database, pacs=TITLE, retrieving=retrieving, free=lambda: free[0], stop=Event()
            )
            yield Archive(pacs=pacs, database=database, backfilling=turns, spool=spool, folder=folder, free=free)
    finally:
        server.stop(grace=1)
