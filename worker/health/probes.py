"""What makes a process alive, and ready: each check says what it found, or raises Unhealthy with what is wrong.

No text names a film, a path or a host: whoever reaches the endpoint reads it.
"""

import secrets
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.errors import NoSpace, Refusal
from dicom_gateway.spool import MEBIBYTE, Spool, free_bytes
from worker import logs
from worker.bounded import Bounded
from worker.db import schema
from worker.db.causes import cause
from worker.errors import Unhealthy, WorkerError
from worker.words import size

PATIENCE, FRESH = 3.0, 0.5
"""Seconds that a check may take, and for which its answer is given again."""
ECHO_SECONDS = 2.0
DATABASE_MIB = 16
"""Free on the disk of an SQLite database: less, and a transaction may find no room."""

Look = Callable[[], str]
"""Says what is there, or raises Unhealthy with what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, and how it is."""

    check: str
    ok: bool
    text: str
    needed: bool = True
    """False: where it is not ok a person is needed, and the process does its work all the same."""

    @property
    def stops(self) -> bool:
        """Makes a process unready."""
        return self.needed and not self.ok


class Probe:
    """Some checks, asked together; none of them waits for another or for ever."""

    def __init__(self, looks: Mapping[str, Look], beside: Mapping[str, Look] | None = None) -> None:
        """Args: beside: those without which the process works."""
        self._beside = frozenset(beside or ())
        every = {**looks, **(beside or {})}
        self._looks = {name: Bounded(look, patience=PATIENCE, fresh=FRESH) for name, look in every.items()}

    def __call__(self) -> list[Check]:
        asked = {name: look.ask() for name, look in self._looks.items()}
        checks = [_checked(name, answer) for name, answer in asked.items()]
        return [replace(check, needed=check.check not in self._beside) for check in checks]


def _checked(name: str, answer: Look) -> Check:
    try:
        return Check(check=name, ok=True, text=answer())
    except WorkerError as error:
        return Check(check=name, ok=False, text=str(error))
    except TimeoutError:
        return Check(check=name, ok=False, text=f"no answer within {PATIENCE:g} s")
    except Exception as error:  # noqa: BLE001 - a check that breaks is an answer too, and its text may say too much
        return Check(check=name, ok=False, text=type(error).__name__)


def knock(host: str, port: int, *, tls: bool) -> None:
    """Whether somebody listens there, and speaks TLS where that is expected. Raises OSError.

    Whose certificate it is, is not asked.
    """
    with socket.create_connection((host, port), timeout=ECHO_SECONDS) as connection:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.wrap_socket(connection).close()


class Turns:
    """A loop's own account of its turns."""

    def __init__(self) -> None:
        self._turned: float | None = None
        self._succeeded: float | None = None
        self._fault = ""

    def turned(self, fault: str = "") -> None:
        """Called after each turn; `fault` says why it achieved nothing."""
        self._turned = time.monotonic()
        self._fault = fault
        if not fault:
            self._succeeded = self._turned

    def alive(self, within: float) -> str:
        """Raises Unhealthy when the loop has not turned for `within` seconds."""
        return self._recent(self._turned, within, "the loop turned")

    def succeeding(self, within: float) -> str:
        """Raises Unhealthy when no turn went well for `within` seconds."""
        return self._recent(self._succeeded, within, "the outbox was read")

    def _recent(self, last: float | None, within: float, what: str) -> str:
        why = f", {self._fault}" if self._fault else ""
        if last is None:
            raise Unhealthy(f"never yet: {what}{why}")
        age = time.monotonic() - last
        if age > within:
            raise Unhealthy(f"{what} {age:.0f} s ago{why}")
        return f"{what} {age:.0f} s ago{why}"


def database(engine: Engine) -> str:
    """It answers, at this version's schema."""
    require_file(engine)
    try:
        revision = schema.current(engine)
        if revision != schema.head():
            raise Unhealthy(f"the database is at schema {revision}, this version needs {schema.head()}")
        require_writable(engine)
    except SQLAlchemyError as error:
        raise Unhealthy(f"the database does not answer: {cause(error)}") from None
    return "answers, schema is up to date"


def require_file(engine: Engine) -> None:
    """SQLite would make a new file where ours is gone. Raises Unhealthy."""
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        raise Unhealthy("the database file is gone")


def require_writable(engine: Engine) -> None:
    """A standby answers every question and takes nothing, as does SQLite on a full disk. Raises Unhealthy."""
    if engine.dialect.name == "sqlite":
        free = shutil.disk_usage(Path(engine.url.database or "").parent).free
        if free < DATABASE_MIB * MEBIBYTE:
            raise Unhealthy(f"{size(free)} free on the disk of the database")
        return
    if refused := schema.refusal(engine):
        raise Unhealthy(f"the database takes no rows: {refused}")


def spool(folder: Spool) -> str:
    """A film can be written, and leaves the reserve free."""
    try:
        folder.open().discard()
    except NoSpace:
        free, reserve = size(free_bytes(folder.root)), size(folder.reserve_bytes)
        raise Unhealthy(f"{free} free, below the reserve of {reserve}") from None
    except Refusal:
        raise Unhealthy("the spool cannot be written") from None
    return f"writable, {size(free_bytes(folder.root))} free"


def log() -> str:
    """What this process says is written. Its work does not wait for that, so it stays ready."""
    if trouble := logs.trouble():
        raise Unhealthy(trouble)
    return "written" if not logs.lost() else f"written again, {logs.lost()} lines lost"


def echo(host: str, port: int, *, called_ae: str, calling_ae: str, tls: ssl.SSLContext | None = None) -> str:
    """The gateway answers a C-ECHO. `tls`: over TLS."""
    from dicom_gateway.errors import PeerUnavailable
    from dicom_gateway.scu import echo

    over = " over TLS" if tls else ""
    try:
        echo(reachable(host), port, called_ae=called_ae, calling_ae=calling_ae, timeout=ECHO_SECONDS, tls=tls)
    except PeerUnavailable:
        raise Unhealthy(f"no answer to C-ECHO{over}") from None
    return f"answers C-ECHO{over}"


DOCTOR_TITLE = "XRAYQ-DOCTOR"
"""Of `xrayq doctor`: from this machine it is let in for C-ECHO, and is no stranger."""


def own_title() -> str:
    """An AE title that only this process knows, so that its own C-ECHO is let in and is not counted as a peer."""
    return f"XRAYQ-{secrets.token_hex(5).upper()}"


def reachable(host: str) -> str:
    """Where this host reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
