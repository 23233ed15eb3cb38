"""A whole service on PostgreSQL as hospitals run it: behind a pooler, and on a server that falls silent."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url

from dicom_gateway.scu import send
from tests.endpoints import ready
from tests.phantoms import chest_pixels, write_film
from tests.postgres import administer, frozen, own_server, pgbouncer
from tests.services import PATIENCE, environment, free_port, listening, process, wait_until
from worker.audit import trail
from worker.db.session import make_engine
from worker.instances import list_instances

pytestmark = pytest.mark.e2e

FILMS = 70
SECONDS = 2.0
UNAVAILABLE = 0xA702


@contextmanager
def up(folder: Path, url: str, **settings: str) -> Iterator[int]:
    """The port of `xrayq up` on this database."""
    port, log = free_port(), folder / "up.log"
    env = environment(home=str(folder / "home"), port=str(port), log_format="json", database_url=url, **settings)
    with process("up", env, log):
        wait_until(lambda: listening(port), 30, "the gateway")
        yield port
    text = log.read_text()
    assert "SECRET" not in text.upper(), "patient data in the log"
    assert "Traceback" not in text, text[-3000:]
    assert "ProgrammingError" not in text, text[-3000:]


def states(database: Engine) -> Counter[str]:
    return Counter(view.state for view in list_instances(database))


@pytest.mark.slow
def test_a_service_behind_pgbouncer(postgresql_url: str, tmp_path: Path) -> None:
    pixels = chest_pixels()
    films = [write_film(tmp_path, f"film{number}", pixels=pixels) for number in range(FILMS)]
    administer(postgresql_url, f"ALTER DATABASE {make_url(postgresql_url).database} SET synchronous_commit = off")
    with pgbouncer(postgresql_url) as url, up(tmp_path, url) as port:
        database = make_engine(url)

        def sent(share: list[Path]) -> set[int | None]:
            return {one.status for one in send("127.0.0.1", port, share, called_ae="XRAYQ")}

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(sent, (films[start::4] for start in range(4)))) == [{0}] * 4
        wait_until(lambda: states(database) == {"scored": FILMS}, 60, f"all scored, have {states(database)}")
        assert trail.verify(database).whole
        database.dispose()


@pytest.mark.slow
def test_a_service_outlives_a_silent_server(tmp_path: Path) -> None:
    pixels = chest_pixels()
    films = [write_film(tmp_path, f"film{number}", pixels=pixels) for number in range(12)]
    ports = [free_port() for _ in range(3)]
    named = {f"{role}_http_port": str(port) for role, port in zip(("gateway", "relay", "worker"), ports, strict=True)}

    with own_server() as url, up(tmp_path, url, database_timeout=f"{SECONDS:g}", **named) as port:
        database = make_engine(url)

        def statuses(share: list[Path]) -> list[int | None]:
            return [one.status for one in send("127.0.0.1", port, share, called_ae="XRAYQ", timeout=60)]

        assert statuses(films[:4]) == [0] * 4
        wait_until(lambda: states(database)["scored"] == 4, 60, "the first films")
        wait_until(lambda: all(ready(one) for one in ports), 20, "all ready")
        with frozen(url):
            began = time.monotonic()
            with ThreadPoolExecutor(4) as threads:
                refused = list(threads.map(statuses, ([film] for film in films[4:8])))
            assert refused == [[UNAVAILABLE]] * 4
            assert time.monotonic() - began < SECONDS * PATIENCE
            wait_until(lambda: not any(ready(one) for one in ports), 30, "all unready")
        wait_until(lambda: all(ready(one) for one in ports), 30, "all ready again")
        assert statuses(films[4:]) == [0] * 8
        wait_until(lambda: states(database) == {"scored": 12}, 60, "every film once")
        assert trail.verify(database).whole
        database.dispose()
