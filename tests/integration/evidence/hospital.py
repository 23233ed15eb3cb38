"""A hospital whose films were received, scored and sent by the real parts, so that packs can be made of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import Engine

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model.bundle import Bundle
from model.engine.ort import OrtEngine
from model.gate.rules import Policy
from tests.pacs import pacs
from tests.phantoms import NOT_REAL, chest_pixels, write_film
from tests.services import free_port, typed
from worker.bundles.loaded import Serving
from worker.bundles.roles import open_by_digest
from worker.db.session import time_of
from worker.queue import errands
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.reporting import acceptance, waiting
from worker.reporting.adapters.adapter import SendOptions
from worker.reporting.adapters.store import StoreAdapter
from worker.reporting.destinations import StoreDestination, routes_of
from worker.reporting.new_results import ResultErrands
from worker.reporting.objects import maker
from worker.reporting.pictures import Pictures
from worker.reporting.send import ResultDelivery
from worker.reporting.waiting import WAITS
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring

PIXELS = chest_pixels(256, 224)
MEMORY, MOST_PIXELS = 4 << 30, 1 << 22
STUDY, ACCESSION = "1.2.826.0.1.3680043.8.498.77", "ACC-77"


@dataclass(frozen=True, kw_only=True)
class Hospital:
    home: Path
    """As XRAYQ_HOME."""
    database: Engine
    spool: Spool
    bundle: Bundle
    decoders: DecodePool
    pictures: Pictures

    def came(self, name: str, *, pixels: NDArray[Any] = PIXELS, **attributes: Any) -> int:
        """A film of CR1; of one study with one Accession Number, where `attributes` do not say another."""
        known = {"StudyInstanceUID": STUDY, "AccessionNumber": ACCESSION} | attributes
        film = store_file(write_film(self.home, name, pixels=pixels, **known), self.spool, "XRAYQ")
        return ingest(self.database, self.spool, replace(film, calling_ae="CR1"))[1]

    def xrayq(self, *words: str, **settings: str) -> "CompletedProcess[str]":
        url = self.database.url.render_as_string(hide_password=False)
        known = {"home": str(self.home), "database_url": url, "bundle": str(self.bundle.path), "site": "St. Test"}
        return typed(*words, cwd=self.home, **(known | settings))

    def pack(self, name: str, file: Path, *options: str) -> Path:
        done = self.xrayq("evidence", "make", name, "--out", str(file), *options)
        assert done.returncode == 0, done.stderr
        return file


@contextmanager
def hospital(home: Path, database: Engine, bundle: Bundle) -> Iterator[Hospital]:
    """Without a film, with a key pair. Results of CR1 are sent."""
    spool = Spool(home / "spool", reserve_bytes=1 << 20)
    spool.prepare()
    made = Hospital(
        home=home,
        database=database,
        spool=spool,
        bundle=bundle,
        decoders=DecodePool(
            processes=1, timeout=60, memory_bytes=MEMORY, spec=bundle.preprocess, max_pixels=MOST_PIXELS
        ),
        pictures=Pictures(
            lambda digest: open_by_digest(database, digest, bundle.path),
            memory_bytes=MEMORY,
            max_pixels=MOST_PIXELS,
            seconds=60,
        ),
    )
    try:
        done = made.xrayq("evidence", "keygen")
        assert done.returncode == 0, done.stderr
        acceptance.accept(database, "CR1", reason="test", actor="operator:test", evidence=None)
        yield made
    finally:
        made.pictures.close()
        made.decoders.close()
        database.dispose()


def score(site: Hospital, keys: list[int], results: ResultErrands | None = None) -> None:
    """Each film ends."""
    Scoring(
        database=site.database,
        spool=site.spool,
        serving=Serving(
            default=site.bundle.path,
            open_engine=lambda found: OrtEngine(found, threads=1),
            policy=Policy(mark=frozenset(NOT_REAL)),
        ),
        decoders=site.decoders,
        retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30),
        results=results,
    ).run(dict.fromkeys(keys, 0))


def score_and_send(site: Hospital, keys: list[int]) -> None:
    """Each film ends, and its result goes to a PACS that is there meanwhile."""
    port = free_port()
    routes = routes_of([f"*:PACS@127.0.0.1:{port}"])
    score(site, keys, ResultErrands(routes, not_analysed=True))
    options = SendOptions(calling_ae="XRAYQ", hours=168.0, answer_seconds=5, send_seconds=10, confirm=False)
    (destination,) = routes.every
    assert isinstance(destination, StoreDestination)
    adapter = StoreAdapter(destination=destination, objects=maker(site.pictures), options=options)
    delivery = ResultDelivery(database=site.database, spool=site.spool, adapter_of=lambda _: adapter, options=options)
    goes_there = waiting.goes_to([destination.name])
    with pacs(port):
        while taken := errands.take(site.database, (WAITS,), goes_there, now=time_of(site.database), lease_seconds=60):
            assert delivery.deliver(taken, destination) == ""
