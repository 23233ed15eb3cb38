"""A PACS of pynetdicom that answers retrievals as a test says: what Orthanc would not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    DigitalXRayImageStorageForPresentation,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)
from sqlalchemy import Engine, select

from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import Spool
from dicom_gateway.storing import Storing
from tests.integration.backfill.archive import GIB, RATE, TODAY
from tests.phantoms import chest_film
from tests.services import free_port, wait_until
from worker.backfill import jobs
from worker.backfill.association import Retrieving
from worker.backfill.options import BackfillOptions, Job, Way
from worker.backfill.turn import Backfilling
from worker.db.session import reading
from worker.db.tables import backfill_film
from worker.pacs.options import AskedPacs, AskOptions
from worker.receiving.ingest import ingest

NAME = "PACS"
DAY = TODAY - timedelta(days=30)
IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
LEVELS = ("STUDY", "SERIES", "IMAGE")
"""Of a question, and which UID of IDENTITY tells its answers apart."""
GIVEN = (
    *IDENTITY,
    *("SOPClassUID", "StudyDate", "StudyTime", "Modality", "BodyPartExamined", "ContentDate", "ContentTime"),
)
Moved = Iterator[Any]
"""What a handler of pynetdicom yields: the destination, how many there are, then each with its status."""


@dataclass(kw_only=True)
class Pacs:
    """A PACS with films, our gateway as its destination, and the turns of a backfill."""

    films: list[Dataset]
    database: Engine
    spool: Spool
    gateway: int
    job: Job = field(init=False)
    """As it was started."""
    server: Any = field(init=False)
    """pynetdicom's."""
    backfilling: Backfilling = field(init=False)
    moves: list[list[str]] = field(default_factory=list)
    """SOP Instance UIDs of each question."""
    event: Any = None
    """Of the last question for films, as pynetdicom has it."""
    finds: int = 0
    """Questions for the studies of a day."""

    def start(self, *, rate: float = RATE) -> None:
        self.job = jobs.start(self.database, NAME, (DAY, DAY), rate=rate, hours="", way=Way.MOVE, actor="operator:test")

    def turn_until(self, condition: Callable[[], object]) -> None:
        wait_until(lambda: self.backfilling.turn() or condition(), 30, "a backfill")

    def is_over(self) -> bool:
        with reading(self.database) as connection:
            return jobs.newest(connection)[0].ended_at is not None

    def rows(self) -> dict[str, tuple[str, int, str]]:
        """SOP Instance UID -> state, attempts and reason."""
        columns = (backfill_film.c.state, backfill_film.c.attempts, backfill_film.c.reason)
        with reading(self.database) as connection:
            rows = connection.execute(select(backfill_film.c.sop_instance_uid, *columns)).all()
        return {uid: (state, attempts, reason) for uid, state, attempts, reason in rows}

    def states(self) -> list[str]:
        return sorted(state for state, _, _ in self.rows().values())

    def wanted(self, event: Any) -> list[Dataset]:
        """Films of a question."""
        self.event = event
        uids = event.identifier.SOPInstanceUID
        asked = [uids] if isinstance(uids, str) else list(uids)
        self.moves.append(asked)
        return [film for film in self.films if film.SOPInstanceUID in asked]

    def sent(self, films: Sequence[Dataset]) -> Moved:
        yield "127.0.0.1", self.gateway
        yield len(films)
        for film in films:
            yield 0xFF00, film

    def find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        level = LEVELS.index(asked.QueryRetrieveLevel)
        self.finds += not level and asked.ModalitiesInStudy == "DX"
        found = {}
        for film in self.films:
            if all(film[name].value == asked[name].value for name in IDENTITY[:level]):
                answer = Dataset()
                answer.QueryRetrieveLevel = asked.QueryRetrieveLevel
                for name in GIVEN:
                    if name in asked and name in film:
                        setattr(answer, name, film[name].value)
                answer.ModalitiesInStudy = film.Modality
                found[film[IDENTITY[level]].value] = answer
        for answer in found.values():
            yield 0xFF00, answer


def old_film(name: str, **attributes: Any) -> Dataset:
    film = chest_film(name, StudyDate=f"{DAY:%Y%m%d}", StudyTime="083000", **attributes)
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    return film


@contextmanager
def pacs(
    database: Engine,
    folder: Path,
    films: list[Dataset],
    move: Callable[[Pacs, list[Dataset]], Moved] = Pacs.sent,
    *,
    find: Callable[[Pacs, Any], Iterator[tuple[int, Dataset | None]]] = Pacs.find,
    first_wait: float = 60.0,
) -> Iterator[Pacs]:
    """
    Args:
        move: answers a C-MOVE for these films; by default it sends them.
        find: answers a C-FIND.
        first_wait: seconds after which a film that did not come is asked for again.
    """
    spool = Spool(folder / "spool", reserve_bytes=0, max_bytes=1 << 24)
    spool.prepare()

    def accept(arrived: Any) -> None:
        assert isinstance(arrived, Received)
        ingest(database, spool, arrived)

    gateway = Gateway(GatewayOptions(host="127.0.0.1", port=0), spool, accept)
    gateway.start()
    there = Pacs(films=films, database=database, spool=spool, gateway=gateway.port)
    entity, port = AE(NAME), free_port()
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
    entity.requested_contexts = [build_context(DigitalXRayImageStorageForPresentation)]
    handlers: list[Any] = [
        (evt.EVT_C_FIND, lambda event: find(there, event)),
        (evt.EVT_C_MOVE, lambda event: move(there, there.wanted(event))),
    ]
    there.server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    asked = AskedPacs(called_ae=NAME, host="127.0.0.1", port=port)
    ask = AskOptions(pacs=(asked,), calling_ae="XRAYQ", zone=ZoneInfo("UTC"), answer_seconds=10)
    options = BackfillOptions(ask=ask, reserve_bytes=1000, live_films=30, answer_seconds=10, first_wait=first_wait)
    there.backfilling = Backfilling(
        database=database,
        pacs=NAME,
        retrieving=Retrieving(options=options, storing=Storing(spool=spool, accept=accept)),
        free=lambda: GIB,
        stop=Event(),
    )
    try:
        yield there
    finally:
        gateway.stop(grace=1)
        there.server.shutdown()
