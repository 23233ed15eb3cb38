"""Results that wait to be sent: one errand for each film, bundle and destination."""

import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select

from model.bundle import Bundle
from worker.db.tables import errand
from worker.queue import errands
from worker.queue.errands import Errand, Kind
from worker.reporting import faults

WAITS, CONFIRM, LOST = Kind.RESULT, Kind.CONFIRM, Kind.LOST_RESULT
EACH = (WAITS, CONFIRM, LOST)
DIGITS = 20
"""Of a digest in an errand's key, which has 64 characters at most."""


@dataclass(frozen=True, kw_only=True)
class BundleName:
    """What a result says of the bundle; it goes by the digest."""

    digest: str
    name: str
    version: str

    @classmethod
    def of(cls, bundle: Bundle) -> "BundleName":
        return cls(digest=bundle.digest, name=bundle.name, version=bundle.version)


@dataclass(frozen=True, kw_only=True)
class WaitingResult:
    """An errand's payload. No word of a patient."""

    instance: int
    bundle: BundleName
    software_version: str
    """Of xrayq, when the film ended: a later one makes the same object of it."""
    destination: str
    """Its name."""
    since: datetime
    """It may be sent: its film ended, or quiet hours did."""
    written: datetime | None = None
    """When it began to wait, where quiet hours kept it from being sent at once."""
    reason: str = ""
    """Why the last attempt failed, a code of `faults`; "" before the first."""
    resends: int = 0
    """How often it was sent again because the destination did not hold what it had taken."""
    committing_since: datetime | None = None
    """When it was last asked for storage commitment and said that a report will come, since the result was sent."""

    @property
    def key(self) -> str:
        """What makes it one."""
        return key_of(self.instance, self.bundle.digest, self.destination)

    def as_dict(self) -> dict[str, Any]:
        times = {
            "since": self.since.astimezone(UTC),
            "written": self.written,
            "committing_since": self.committing_since,
        }  # they sort as times do
        return asdict(self) | {name: moment and moment.isoformat() for name, moment in times.items()}

    @classmethod
    def read(cls, payload: dict[str, Any]) -> "WaitingResult":
        """What `as_dict` wrote. Raises ValueError where another release wrote it, and this one cannot read it."""
        try:
            values = {name: payload[name] for name in ("instance", "software_version", "destination", "reason")}
            bundle = {name: payload["bundle"][name] for name in ("digest", "name", "version")}
            since, written, committing = payload["since"], payload.get("written"), payload.get("committing_since")
            return cls(
                bundle=BundleName(**bundle),
                since=datetime.fromisoformat(since),
                written=datetime.fromisoformat(written) if written else None,
                resends=payload.get("resends", 0),
                committing_since=datetime.fromisoformat(committing) if committing else None,
                **values,
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not read") from error


def add(connection: Connection, kind: Kind, waits: WaitingResult, due: datetime) -> None:
    """The errand, unless it waits already."""
    errands.add(
        connection,
        kind,
        waits.key,
        due,
        waits.as_dict(),
        instance_id=waits.instance,
        destination=waits.destination,
    )


def forget(connection: Connection, instance_id: int) -> None:
    """Every errand of the instance, also what was given up. One that is on its way finds that it is gone."""
    connection.execute(delete(errand).where(of_instance(instance_id), errand.c.kind.in_(EACH)))


def of_instance(instance_id: int) -> ColumnElement[bool]:
    """Errands of it."""
    return errand.c.instance_id == instance_id


def goes_to(names: Collection[str]) -> ColumnElement[bool]:
    """Errands of these destinations."""
    return errand.c.destination.in_(names)


def written_before(moment: datetime) -> ColumnElement[bool]:
    """Errands that are older."""
    found: ColumnElement[bool] = errand.c.payload["since"].as_string() < moment.astimezone(UTC).isoformat()
    return found


def after_earlier(destination: str) -> tuple[ColumnElement[bool], ...]:
    """Errands that wait until the result of an earlier revision has arrived there."""
    reason = errand.c.payload["reason"].as_string()
    return (errand.c.kind == WAITS, goes_to([destination]), reason == faults.EARLIER_WAITS)


def kept_back_there(destination: str) -> tuple[ColumnElement[bool], ...]:
    """Errands that wait there for the end of quiet hours."""
    return (errand.c.kind == WAITS, goes_to([destination]), errand.c.payload["reason"].as_string() == faults.QUIET)


def failed_by_absence() -> ColumnElement[bool]:
    """Errands whose last attempt found no destination, or one that did not answer."""
    reason = errand.c.payload["reason"].as_string()
    found: ColumnElement[bool] = reason.in_(faults.AWAY) | reason.startswith(faults.REJECTED, autoescape=True)
    return found


def left(connection: Connection, instance_id: int) -> bool:
    """Whether a result of the instance waits, is not confirmed, or was given up."""
    query = select(errand.c.id).where(errand.c.kind.in_(EACH), of_instance(instance_id))
    return connection.execute(query.limit(1)).first() is not None


def read(taken: Errand) -> WaitingResult:
    """Raises ValueError as `WaitingResult.read`."""
    return WaitingResult.read(taken.payload)


def key_of(instance_id: int, bundle_digest: str, destination: str) -> str:
    """At most 61 characters."""
    where = hashlib.sha256(destination.encode()).hexdigest()
    return f"{instance_id}-{bundle_digest[:DIGITS]}-{where[:DIGITS]}"
