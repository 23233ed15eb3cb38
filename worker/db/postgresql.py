"""PostgreSQL as it is found: any role's settings, a pooler between, a server that falls silent.

Behind PgBouncer in transaction mode two transactions may run on two servers' connections. So nothing is left in a
session: each transaction begins with the settings it needs, in the same round trip, and no statement is prepared.
"""

import math
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import ConnectionTimeout, OperationalError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

from worker.bounded import within

WRITING, SNAPSHOT = "xrayq_writing", "xrayq_snapshot"
LONG = 30
"""So many times longer than others may a statement take that reads for a report, or changes the schema."""
SOONER = 0.9
"""Of the time that is left the server gets this share: it gives up first, and the connection is kept."""
LOOK_SECONDS = 0.1
FRESH_SECONDS = 1.0
"""A connection that answered so lately is taken for alive: the question would cost a round trip in each transaction."""
VANISHED_SECONDS = 30
"""After which a host that acknowledges nothing is gone, however long its statement may take."""
_until: ContextVar[float] = ContextVar("until", default=math.inf)
"""On the monotonic clock, when everything ends that this thread wants of a database."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """All that the block wants of the database, connections included, fails when it takes longer than this."""
    token = _until.set(min(_until.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _until.reset(token)


@contextmanager
def not_counted() -> Iterator[None]:
    """Inside of `limited`, what wants nothing of the database: the time that it takes is given back."""
    until, began = _until.get(), time.monotonic()
    _until.set(math.inf)
    try:
        yield
    finally:
        _until.set(until + time.monotonic() - began)


def left(seconds: float) -> float:
    """Of `seconds` from now, what `limited` leaves; never less than nothing."""
    return max(0.0, min(seconds, _until.get() - time.monotonic()))


class Session(psycopg.Connection[Any]):
    """A connection that does not wait for ever.

    A server that is frozen, or whose packets are dropped, closes nothing: its kernel, or nobody, answers. libpq has no
    bound for that.
    """

    seconds = math.inf
    """After which a silent server is given up."""
    times = 1
    """LONG while statements may take longer."""
    _used = -math.inf

    def wait(self, gen: PQGen[RV], interval: float = LOOK_SECONDS, *more: Any, **named: Any) -> RV:
        """What psycopg waits with, for every answer of the server. Raises OperationalError, and is closed then."""
        return super().wait(self._bounded(gen), min(interval, LOOK_SECONDS), *more, **named)

    def _bounded(self, gen: PQGen[RV]) -> PQGen[RV]:
        until = time.monotonic() + left(self.seconds * self.times)
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > until:
                    self.close()
                    raise OperationalError("the server is silent")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: RV = end.value
            return answer
        finally:
            self._used = time.monotonic()

    def require_alive(self) -> None:
        """Raises Error when it is not. Its server is asked only after a pause, or when something came meanwhile."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if time.monotonic() - self._used > FRESH_SECONDS or poll.poll(0):
            self.execute("SELECT 1")


def make(url: URL, *, seconds: float, pool: dict[str, Any]) -> Engine:
    """An engine whose connections give up after `seconds` of silence. Opens nothing."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        use_native_hstore=False,
        connect_args={
            "autocommit": True,  # we say BEGIN ourselves
            "prepare_threshold": None,
            "client_encoding": "utf8",
            "connect_timeout": max(2, math.ceil(seconds / 2)),  # of one address
            # A host that vanishes is noticed by idle connections too, not after the kernel's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # Nor by what is sent and not acknowledged after the kernel's quarter of an hour: keepalives wait for that.
            "tcp_user_timeout": VANISHED_SECONDS * 1000,
        },
        **pool,
    )
    event.listen(engine, "do_connect", partial(_connect, seconds))
    event.listen(engine, "checkout", _checkout)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def patient(connection: Connection, *, long: bool) -> Iterator[None]:
    """Statements of the block may take LONG, if `long`."""
    session = connection.connection.driver_connection
    if not long or not isinstance(session, Session):
        yield
        return
    session.times = LONG
    try:
        yield
    finally:
        session.times = 1


def _connect(seconds: float, _dialect: Any, _record: Any, given: list[Any], named: dict[str, Any]) -> Session:
    """In a thread: a name server is asked without a bound of ours, and every address of a host has its own."""
    late = threading.Event()

    def connect() -> Session:
        session = Session.connect(*given, **named)
        session.seconds = seconds
        if late.is_set():
            session.close()
        return session

    try:
        return within(left(seconds), connect)
    except TimeoutError:
        late.set()
        raise ConnectionTimeout("the server is silent") from None


def _checkout(session: Session, _record: Any, _proxy: Any) -> None:
    try:
        session.require_alive()
    except psycopg.Error:
        raise InvalidatePoolError from None  # SQLAlchemy connects anew


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    session = connection.connection.driver_connection
    assert isinstance(session, Session)
    lock, statement = (max(1, round(left(session.seconds * times) * SOONER * 1e3)) for times in (1, session.times))
    statements = (
        f"BEGIN ISOLATION LEVEL {'REPEATABLE READ READ ONLY' if options.get(SNAPSHOT) else 'READ COMMITTED'}",
        # What psycopg reads. A role, a database or a server may have another style, or rounded numbers.
        "SET LOCAL datestyle TO ISO",
        "SET LOCAL timezone TO UTC",
        "SET LOCAL extra_float_digits TO 1",
        f"SET LOCAL lock_timeout TO {lock}",
        f"SET LOCAL statement_timeout TO {statement}",
        # A writer that vanishes in the middle of a transaction must not keep the others from the audit chain.
        "SET LOCAL idle_in_transaction_session_timeout TO 30000",
        *([DURABLE] if options.get(WRITING) else []),
    )
    try:
        session.execute(";".join(statements).encode())  # SQLAlchemy's own way takes as long as a round trip
    except psycopg.Error as error:
        if session.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(
            "BEGIN", None, error, psycopg.Error, connection_invalidated=session.closed, dialect=connection.dialect
        ) from None


DURABLE = "SELECT set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true)"
"""Success is promised after a commit, so it must outlive a crash. Of synchronous_commit's values only `off` breaks
that, whoever set it; the others wait for the local disk and say what standbys do, which is the administrator's."""
