"""What `worker.queue.retry` decides, with real decoders and workers that die: attempts, waits and ends."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, Row, select, text

from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.bundle import Bundle
from model.engine.ort import OrtEngine
from model.gate.rules import Policy
from tests.integration.scoring.test_task import take
from tests.phantoms import NOT_REAL, write_film
from tests.services import wait_until
from tests.unit.worker.scoring.test_decoding import opened_by_a_reader
from worker.bundles.loaded import Serving
from worker.db.session import reading, time_of, writing
from worker.db.tables import outbox
from worker.queue.outbox import RelayOptions, lease_batch
from worker.queue.retry import LONGEST_WAIT, SUSPECT_ATTEMPTS, RetryOptions
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring

RETRY, LEASE = 10.0, 40.0
OPTIONS = RelayOptions(batch_size=4, max_in_flight=8, lease_seconds=LEASE, poll_seconds=0.01)
SLACK = timedelta(seconds=8)
"""That a busy machine may take from one statement to the next."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundles.load(bundles.REFERENCE)


@pytest.fixture(scope="module")
def decoders(bundle: Bundle) -> Iterator[DecodePool]:
    pool = DecodePool(processes=1, timeout=30, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=4_000_000)
    yield pool
    pool.close()


class Failing(OrtEngine):
    """A real engine with a fault that is none of its own kind: a film may be the cause."""

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise ValueError


def scoring(database: Engine, spool: Spool, bundle: Bundle, decoders: DecodePool, attempts: int) -> Scoring:
    engine = Failing(bundle, threads=1)
    return Scoring(
        database=database,
        spool=spool,
        serving=Serving(default=bundle.path, open_engine=lambda _: engine, policy=Policy(mark=frozenset(NOT_REAL))),
        decoders=decoders,
        retry=RetryOptions(max_attempts=attempts, retry_seconds=RETRY, lease_seconds=LEASE),
    )


def row_of(database: Engine) -> Row[Any]:
    with reading(database) as connection:
        return connection.execute(select(outbox)).one()


def published(database: Engine, now: datetime) -> bool:
    """Whether the relay would send the film at that time. It stays free."""
    found = lease_batch(database, OPTIONS, now)
    with writing(database) as connection:
        connection.execute(outbox.update().where(outbox.c.instance_id.in_(list(found))).values(lease_until=None))
    return bool(found)


def test_each_attempt_that_fails_doubles_the_wait(
    database: Engine, spool: Spool, bundle: Bundle, decoders: DecodePool, tmp_path: Path
) -> None:
    work, instance_id = scoring(database, spool, bundle, decoders, 5), take(database, spool, write_film(tmp_path))
    for attempt, wait in enumerate((10, 20, 40, LONGEST_WAIT, LONGEST_WAIT)):
        began = time_of(database)
        with pytest.raises(ValueError, match=r"^$"):
            work.run({instance_id: attempt})
        row = row_of(database)
        assert (row.attempts, row.claims, row.lease_until) == (attempt + 1, attempt + 1, None)
        due = began + timedelta(seconds=wait)
        assert due <= row.next_attempt_at < due + SLACK
        assert not published(database, row.next_attempt_at - timedelta(seconds=1))
        assert published(database, row.next_attempt_at)
    work.run({instance_id: 5})
    with reading(database) as connection:
        assert connection.execute(text("SELECT state, reason FROM instance")).one() == ("failed", "attempts_exhausted")


def reader_of(path: Path) -> int | None:
    """The child process that has the file open."""
    for child in psutil.Process().children(recursive=True):
        with suppress(OSError):
            if path in {descriptor.readlink() for descriptor in Path(f"/proc/{child.pid}/fd").iterdir()}:
                return int(child.pid)
    return None


def test_a_film_whose_decoder_dies_twice_is_failed_and_gets_no_third(
    database: Engine, spool: Spool, bundle: Bundle, decoders: DecodePool, tmp_path: Path
) -> None:
    """It lies on storage that does not answer, until the decoder that waits for it is killed."""
    instance_id = take(database, spool, write_film(tmp_path))
    (path,) = spool.root.glob("*/*.dcm")
    path.unlink()
    os.mkfifo(path)
    work = scoring(database, spool, bundle, decoders, 3)
    thread = threading.Thread(target=work.run, args=({instance_id: 0},), daemon=True)
    thread.start()
    writer = wait_until(lambda: opened_by_a_reader(path), 60, "a decoder that reads the film")
    killed: list[int] = []
    for _ in range(2):
        pid = wait_until(lambda: {reader_of(path)} - {None, *killed}, 20, "a decoder in mid-film").pop()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    thread.join(60)
    assert not thread.is_alive()
    assert reader_of(path) is None
    os.close(writer)
    with reading(database) as connection:
        assert connection.execute(text("SELECT state, reason FROM instance")).one() == ("failed", "decoder_crashed")
        assert connection.execute(select(outbox)).all() == []


DIES = """
import os, signal, sys
from pathlib import Path
from model import bundle as bundles
from model.gate.rules import Policy
from worker.db.session import make_engine
from worker.queue.retry import RetryOptions
from worker.scoring.task import Scoring
from worker.bundles.loaded import Serving
url, instance, claims, retry, lease = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:])
serving = Serving(default=bundles.REFERENCE, open_engine=None, policy=Policy())
options = RetryOptions(max_attempts=5, retry_seconds=retry, lease_seconds=lease)
Scoring(database=make_engine(url), spool=None, serving=serving, decoders=None, retry=options)._begin({instance: claims})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_died_is_an_attempt_that_failed(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    """It says nothing: the film's lease passes, and then the wait."""
    instance_id = take(database, spool, write_film(tmp_path))
    for attempt, wait in enumerate((10, 20)):
        began = time_of(database)
        words = [database_url, instance_id, attempt, RETRY, LEASE]
        died = subprocess.run([sys.executable, "-c", DIES, *map(str, words)], check=False)
        assert died.returncode == -signal.SIGKILL
        row = row_of(database)
        assert (row.attempts, row.claims) == (attempt + 1, attempt + 1)
        assert began <= row.lease_until - timedelta(seconds=LEASE) <= time_of(database)
        assert row.next_attempt_at == row.lease_until + timedelta(seconds=wait)
        assert not published(database, row.next_attempt_at - timedelta(seconds=1))
        assert published(database, row.next_attempt_at)
    other = take(database, spool, write_film(tmp_path, "other"))
    assert SUSPECT_ATTEMPTS == 2
    later = time_of(database) + timedelta(minutes=10)
    assert lease_batch(database, OPTIONS, later) == {instance_id: 2}, "one that took workers down travels alone"
    assert lease_batch(database, OPTIONS, later) == {other: 0}
