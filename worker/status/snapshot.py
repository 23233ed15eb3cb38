"""What `xrayq status` shows: one frozen look at the database, the spool and the three processes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.errors import BadCertificate
from dicom_gateway.spool import free_bytes
from dicom_gateway.tls import facts_of
from model.errors import BundleError
from model.json_value import plain
from model.notice import NOTICE
from worker.bundles.roles import by_settings
from worker.db import schema
from worker.db.causes import cause
from worker.db.session import DATABASE_SECONDS, database_time, snapshot
from worker.errors import Unhealthy
from worker.health import client, probes
from worker.health.client import ProcessAddress
from worker.receiving.refusals import NAMELESS
from worker.status.flow import ahead_text
from worker.status.queries import DatabaseContent, read
from worker.status.upkeep import named
from worker.words import counted

ANSWER_SECONDS = 4.0  # one of its checks may take three


@dataclass(frozen=True, kw_only=True)
class Process:
    """What a process says of itself."""

    role: str
    ready: bool | None
    """None where it was not asked."""
    text: str
    """Why it is not ready."""
    trouble: str = ""
    """What a person should see to while it works."""


@dataclass(frozen=True, kw_only=True)
class SpoolSpace:
    free: int | None
    """Bytes; None where the folder does not answer."""
    reserve: int
    """Bytes; with less free C-STORE is refused."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One look."""

    at: datetime
    processes: tuple[Process, ...]
    spool: SpoolSpace
    database: str
    """What is wrong with it, "" when it answers."""
    stored: DatabaseContent | None
    """None while the database does not answer."""
    backlog_seconds: float
    """Age of the oldest waiting film from which it waits too long."""
    certificate_expires: datetime | None = None
    """None where we have none for TLS, or it cannot be read."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What needs a person, worst first; empty when all is well."""
        found = [f"database: {self.database}"] if self.database else []
        found += [f"{process.role} not ready" for process in self.processes if process.ready is False]
        found += [f"{process.role}: {process.trouble}" for process in self.processes if process.trouble]
        if self.spool.free is None:
            found.append("the spool is not there")
        elif self.spool.free < self.spool.reserve:
            found.append("the spool is below its reserve: C-STORE is refused")
        if self.stored:
            waiting = self.stored.waiting
            open_ = sum(alarm.acknowledged is None for alarm in self.stored.alarms)
            if waiting.oldest_seconds > self.backlog_seconds:
                found.append("films wait too long")
            if waiting.ahead:
                found.append(ahead_text(waiting.ahead))
            if open_:
                found.append(counted(open_, "open alarm"))
            if self.stored.outages:
                found.append(f"alarms do not arrive by {' or '.join(outage.channel for outage in self.stored.outages)}")
            for outage in self.stored.result_outages:
                what = "do not arrive at" if outage.failing or outage.given_up else "are late at"
                found.append(f"results {what} {outage.destination}")
        return tuple(found)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is no fault here, and worth a look: failed films, and those of today that never came in."""
        if not self.stored:
            return ()
        films = sum(peer.number for peer in self.stored.films_refused)
        peers = sum(peer.number for peer in self.stored.not_let_in if peer.calling_ae != NAMELESS)
        failed, held = self.stored.failed, sum(sender.films for sender in self.stored.quarantine)
        quarantined = [f"{counted(held, 'film')} in quarantine"] if held else []
        found = [*quarantined, *([f"{counted(failed, 'film')} failed"] if failed else [])]
        found += [f"{counted(films, 'C-STORE')} refused today"] if films else []
        return (*found, *([f"{counted(peers, 'association')} not let in today"] if peers else []))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        fields: dict[str, Any] = plain(asdict(self), timespec="auto")
        return {
            "notice": NOTICE,
            "well": not self.faults,
            "faults": list(self.faults),
            "remarks": list(self.remarks),
        } | fields


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    database_url: str
    database_seconds: float = DATABASE_SECONDS
    """After which a silent one is given up."""
    spool: Path
    reserve_bytes: int
    bundle: Path | None
    """The bundle of the settings, live while none is activated."""
    zone: ZoneInfo
    """The zone in which today begins."""
    backlog_seconds: float
    processes: tuple[ProcessAddress, ...]
    certificate: Path | None = None
    """Ours for TLS."""
    audited: bool = False
    """Whether there is an audit repository."""


class StatusReader:
    """Looks again and again, on one engine while the database answers."""

    def __init__(self, options: StatusOptions) -> None:
        self._options = options
        self._engine: Engine | None = None
        self._default: str | None = None

    def look(self) -> Snapshot:
        """A Snapshot, whatever is away."""
        options, now = self._options, datetime.now(UTC)
        with ThreadPoolExecutor(max_workers=len(options.processes)) as threads:
            processes = threads.map(ask, options.processes)
            stored, fault = self._stored()
            return Snapshot(
                at=now,
                processes=tuple(processes),
                spool=SpoolSpace(free=_free(options.spool), reserve=options.reserve_bytes),
                database=fault,
                stored=stored,
                backlog_seconds=options.backlog_seconds,
                certificate_expires=_expires(options.certificate),
            )

    def _stored(self) -> tuple[DatabaseContent | None, str]:
        try:
            if self._engine is None:
                self._engine = schema.connect(self._options.database_url, self._options.database_seconds)
            with snapshot(self._engine, long=False) as connection:
                now = database_time(connection)
                zone, audited = self._options.zone, self._options.audited
                stored = read(connection, now=now, zone=zone, default=self._default_bundle(), audited=audited)
        except Unhealthy as error:
            return None, str(error)
        except SQLAlchemyError as error:
            if self._engine:
                self._engine.dispose()
            self._engine = None  # the next look checks the schema again
            return None, f"does not answer: {cause(error)}"
        try:
            probes.database(self._engine)
        except (Unhealthy, SQLAlchemyError) as error:
            return stored, str(error) if isinstance(error, Unhealthy) else f"does not answer: {cause(error)}"
        return stored, ""

    def _default_bundle(self) -> str:
        """Read once: its digests take as long as reading all of its network."""
        if self._default is None:
            try:
                self._default = named(by_settings(self._options.bundle))
            except BundleError as error:
                self._default = f"cannot be read: {error}"
        return self._default


def ask(asked: ProcessAddress) -> Process:
    """What a process says on /readyz, or why it does not."""
    if not asked.port:
        return Process(role=asked.role, ready=None, text="not asked: it has no port")
    try:
        checks = client.ask(asked, seconds=ANSWER_SECONDS)
    except Unhealthy as error:
        return Process(role=asked.role, ready=False, text=str(error))
    failing = next((check for check in checks if check.stops), None)
    text = f"not ready: {failing.check}, {failing.text}" if failing else ""
    trouble = "; ".join(check.text for check in checks if not check.ok and not check.needed)
    return Process(role=asked.role, ready=failing is None, text=text, trouble=trouble)


def _expires(certificate: Path | None) -> datetime | None:
    try:
        return facts_of(certificate).expires if certificate else None
    except BadCertificate:
        return None


def _free(folder: Path) -> int | None:
    try:
        return free_bytes(folder)
    except OSError:
        return None
