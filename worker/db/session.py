"""Connections: one engine factory, and two ways to use it, `reading` and `writing`."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from worker.db import postgresql
from worker.db.errors import CommitUnknown
from worker.db.postgresql import SNAPSHOT, WRITING, left
from worker.errors import ConfigurationError

DATABASE_SECONDS = 20.0
"""For which nothing waits longer, unless XRAYQ_DATABASE_TIMEOUT says otherwise."""
CONNECTIONS = 16
SECONDS, PLACES, TURN = "xrayq_seconds", "xrayq_places", "xrayq_turn"


def make_engine(url: str, seconds: float = DATABASE_SECONDS) -> Engine:
    """An engine for `sqlite:///file` or `postgresql://...` (psycopg 3). Opens nothing. Raises ConfigurationError.

    Args:
        seconds: after which a database that is silent, or locked, is given up; SQLAlchemyError is raised then.
    """
    parsed = _parse(url)
    backend = parsed.get_backend_name()
    pool = {"pool_size": 8, "max_overflow": CONNECTIONS - 8, "hide_parameters": True}
    options: dict[str, Any] = {SECONDS: seconds, PLACES: threading.BoundedSemaphore(CONNECTIONS)}
    if backend == "postgresql":
        return postgresql.make(parsed, seconds=seconds, pool=pool).execution_options(**options)
    if backend != "sqlite" or not parsed.database:
        raise ConfigurationError(f"database_url: {backend} is not supported; use PostgreSQL, or SQLite with a file")
    engine = create_engine(parsed, **pool)
    event.listen(engine, "connect", partial(_sqlite_connect, seconds))
    event.listen(engine, "begin", _sqlite_begin)
    # SQLite's own waiting for a writer sleeps in steps; a lock between our threads hands over at once (measured: 3x).
    return engine.execution_options(**options, **{TURN: threading.BoundedSemaphore(1)})


@contextmanager
def writing(engine: Engine, *, long: bool = False) -> Iterator[Connection]:
    """A transaction that commits when the block ends and rolls back when it raises.

    Args:
        long: it changes the schema, or more rows than a service does at once.

    Raises:
        CommitUnknown: nobody knows whether it was committed.
    """
    with _connected(engine, long, **{WRITING: True}) as connection, connection.begin() as transaction:
        yield connection
        try:
            transaction.commit()
        except DBAPIError as error:
            if error.connection_invalidated:
                raise CommitUnknown("nobody knows whether it was committed") from error
            raise


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Each query sees what was committed before it; nothing is committed."""
    with _connected(engine) as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine, *, long: bool = True) -> Iterator[Connection]:
    """Every query sees the database as it was at the first one; nothing is committed.

    Args:
        long: queries may take longer than those of others, for they read whole tables.
    """
    with _connected(engine, long, **{SNAPSHOT: True}) as connection:
        yield connection


def limited(engine: Engine) -> AbstractContextManager[None]:
    """All that the block wants of a database fails once it has taken as long as one silence may."""
    return postgresql.limited(engine.get_execution_options()[SECONDS])


@contextmanager
def _connected(engine: Engine, long: bool = False, **options: Any) -> Iterator[Connection]:
    given = engine.get_execution_options()
    seconds = given[SECONDS]
    turn = given.get(TURN) if options.get(WRITING) else None
    with (
        _held(turn, seconds),
        _held(given[PLACES], seconds),
        engine.connect() as connection,
        postgresql.patient(connection, long=long),
    ):
        yield connection.execution_options(**options) if options else connection


@contextmanager
def _held(lock: threading.Semaphore | None, seconds: float) -> Iterator[None]:
    if lock is None:
        yield
        return
    wait = left(seconds)
    if not lock.acquire(timeout=wait):
        raise NoConnection(f"no connection of this process became free within {wait:.3g} s")
    try:
        yield
    finally:
        lock.release()


def database_time(connection: Connection) -> datetime:
    """The one clock of an installation, UTC: PostgreSQL's wherever its clients run; SQLite's are on one machine.

    Whatever one process writes and another compares (a lease, when a film came, when it is due) is of this clock: the
    hosts' own differ.
    """
    if connection.dialect.name != "postgresql":
        return datetime.now(UTC)
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def time_of(engine: Engine) -> datetime:
    """`database_time` outside of a transaction."""
    with reading(engine) as connection:
        return database_time(connection)


def sqlite_file(url: str) -> Path | None:
    """The file behind an SQLite URL, None for other databases."""
    parsed = _parse(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def identity(url: str) -> str:
    """Twelve digits for the database of a URL. User, password, driver and options make no difference."""
    parsed, file = _parse(url), sqlite_file(url)
    place = str(file.resolve()) if file else f"{parsed.host}:{parsed.port or 5432}/{parsed.database}"
    return hashlib.sha256(f"{parsed.get_backend_name()} {place}".encode()).hexdigest()[:12]


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except Exception as error:
        raise ConfigurationError(
            "database_url is not an SQLAlchemy URL, such as postgresql://user@host/xrayq"
        ) from error


def _sqlite_connect(seconds: float, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        f"busy_timeout={round(seconds * 1e3)}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit survives a power cut
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    # It may have waited for its turn before: what is left of the time is the lock's. Set each time, for it stays.
    sqlite: Any = connection.connection.driver_connection
    sqlite.execute(f"PRAGMA busy_timeout={round(left(options[SECONDS]) * 1e3)}")
    # A deferred transaction that becomes a writer can fail at once with SQLITE_BUSY; an immediate one waits its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITING) else "BEGIN")
