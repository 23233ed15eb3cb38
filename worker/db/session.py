"""Connections: one engine factory, and two ways to use it, `reading` and `writing`."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select

from worker.errors import ConfigurationError

WRITING, TURN = "xrayq_writing", "xrayq_turn"
BUSY_TIMEOUT_MS = 20_000


def make_engine(url: str) -> Engine:
    """An engine for `sqlite:///file` or `postgresql://...` (psycopg 3). Opens nothing. Raises ConfigurationError."""
    parsed = _parse(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=8,
            max_overflow=8,
            pool_timeout=20,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            # A database host that vanishes is noticed within half a minute, not after the kernel's two hours.
            connect_args={
                "connect_timeout": 10,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,
                # A writer that vanishes in the middle of a transaction must not keep the others from the audit chain.
                "options": "-c lock_timeout=20s -c idle_in_transaction_session_timeout=30s",
            },
        )
        event.listen(engine, "connect", _postgresql_connect)
        return engine
    if backend != "sqlite" or not parsed.database:
        raise ConfigurationError(f"database_url: {backend} is not supported; use PostgreSQL, or SQLite with a file")
    engine = create_engine(parsed, pool_size=8, max_overflow=8, pool_timeout=20, hide_parameters=True)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    # SQLite's own waiting for a writer sleeps in steps; a lock between our threads hands over at once (measured: 3x).
    return engine.execution_options(**{TURN: threading.Lock()})


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that commits when the block ends and rolls back when it raises."""
    turn = engine.get_execution_options().get(TURN) or nullcontext()
    with turn, engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Each query sees what was committed before it; nothing is committed."""
    with engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Every query sees the database as it was at the first one; nothing is committed."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # on SQLite a transaction is a snapshot
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection


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


def _postgresql_connect(connection: Any, _record: Any) -> None:
    # Success is promised after a commit, so it must outlive a crash. Of synchronous_commit's values only `off` breaks
    # that, whoever set it; the others wait for the local disk and say what standbys do, which is the administrator's.
    connection.execute(
        "SELECT set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"
    )
    connection.commit()


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit survives a power cut
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    # A deferred transaction that becomes a writer can fail at once with SQLITE_BUSY; an immediate one waits its turn.
    immediate = connection.get_execution_options().get(WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
