"""Results that wait to be sent: one errand for each film, bundle and destination.

They are written in the transaction that ends the film, so that there is exactly one of each, whatever is killed. Redis
has no part in it.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, select

from model.bundle import Bundle
from worker.db.scores import of_instance as of_instance_scores
from worker.db.tables import errand, instance, sent_message, sent_object
from worker.queue import errands
from worker.queue.errands import Errand, Kind
from worker.reporting import acceptance, faults
from worker.reporting.destinations import Destination, OfBackfills, Routes
from worker.reporting.withdrawn import flags_told
from worker.states import State

WAITS, CONFIRM, LOST = Kind.RESULT, Kind.CONFIRM, Kind.LOST_RESULT
EACH = (WAITS, CONFIRM, LOST)
SENT = (sent_object, sent_message)
"""What destinations have, a row each."""
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


class ResultErrands:
    """Writes the errands of films that end."""

    def __init__(self, routes: Routes, *, not_analysed: bool, of_backfills: OfBackfills = OfBackfills.PACS) -> None:
        """
        Args:
            not_analysed: a film that the gate refused has a result too, which says so.
            of_backfills: where those of films of a backfill go.
        """
        self._routes = routes
        self._of_backfills = of_backfills
        self._states = (State.SCORED, State.INELIGIBLE) if not_analysed else (State.SCORED,)

    def __call__(self, connection: Connection, ids: Collection[int], bundle: Bundle, now: datetime) -> None:
        """For those of these films that ended with a result, of accepted AEs. In the transaction that ended them."""
        columns = (instance.c.id, instance.c.calling_ae, instance.c.state, instance.c.backfilled)
        ended = (State.SCORED, State.INELIGIBLE)
        rows = connection.execute(select(*columns).where(has_result(ended), instance.c.id.in_(ids))).all()
        accepted = acceptance.accepted(connection, {row.calling_ae for row in rows})
        for row in rows:
            if row.calling_ae in accepted:
                goals = self._routes.of(row.calling_ae)
                if row.backfilled:
                    goals = tuple(goal for goal in goals if self._of_backfills.wants(goal))
                if row.state not in self._states:  # it has no result, but may take one back
                    goals = tuple(goal for goal in goals if goal.due((), now) is None)
                wanted = wanting(connection, row.id, bundle.digest, goals, now)
                write(connection, row.id, wanted, BundleName.of(bundle), now)


def wanting(
    connection: Connection, instance_id: int, bundle_digest: str, destinations: Sequence[Destination], now: datetime
) -> list[tuple[Destination, datetime]]:
    """Those of the destinations that want a film's result, and when it may go there at the earliest.

    One that is told of flags alone wants it, too, where a flag that it was told of is taken back; as soon as that flag.
    """
    flags: tuple[str, ...] = ()
    if any(destination.due((), now) is None for destination in destinations):
        flags = tuple(
            name
            for found in of_instance_scores(connection, instance_id)
            if found.bundle_digest == bundle_digest
            for name, finding in found.findings.items()
            if finding.flag
        )
    times = [
        (
            goal,
            goal.due(flags, now) or goal.due(flags_told(connection, instance_id, goal.name, on_its_way=True), now),
        )
        for goal in destinations
    ]
    return [(destination, due) for destination, due in times if due is not None]


def has_result(states: Sequence[State] = (State.SCORED, State.REPORTED, State.INELIGIBLE)) -> ColumnElement[bool]:
    """Films that ended for good, and whose study and series are known: an object without a study has no place."""
    known = (instance.c.study_instance_uid != "") & (instance.c.series_instance_uid != "")
    return instance.c.state.in_(states) & instance.c.is_film & instance.c.admitted & known


def write(
    connection: Connection,
    instance_id: int,
    wanted: Sequence[tuple[Destination, datetime]],
    bundle: BundleName,
    now: datetime,
) -> None:
    """One errand for each destination, unless it waits already.

    Args:
        wanted: of `wanting`.
    """
    for destination, due in wanted:
        waits = WaitingResult(
            instance=instance_id,
            bundle=bundle,
            software_version=software_version(),
            destination=destination.name,
            since=due,
            written=now if due > now else None,
            reason=faults.QUIET if due > now else "",
        )
        add(connection, WAITS, waits, due)


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


def software_version() -> str:
    """Ours."""
    return version("xrayq")


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


def was_sent(connection: Connection, instance_id: int, destination: str = "") -> bool:
    """Whether a destination, or this one, has something of the instance."""
    for table in SENT:
        query = select(table.c.id).where(table.c.instance_id == instance_id)
        if destination:
            query = query.where(table.c.destination == destination)
        if connection.execute(query.limit(1)).first():
            return True
    return False


def newer(connection: Connection, instance_id: int, destination: str = "") -> int | None:
    """The newest later revision of the film that has a result there: it was sent, waits, or was given up.

    A PACS shows what came last, so nothing of the film may be sent after it.

    Args:
        destination: "" for any.
    """
    this = select(instance.c.sop_instance_uid, instance.c.revision).where(instance.c.id == instance_id).subquery()
    later = select(instance.c.id).where(
        instance.c.sop_instance_uid == this.c.sop_instance_uid, instance.c.revision > this.c.revision
    )
    for key in connection.execute(later.order_by(instance.c.revision.desc())).scalars():
        waits = select(errand.c.id).where(errand.c.kind.in_((WAITS, LOST)), of_instance(key))
        if destination:
            waits = waits.where(goes_to([destination]))
        if connection.execute(waits.limit(1)).first() or was_sent(connection, key, destination):
            return int(key)
    return None


def ended_later(connection: Connection, instance_id: int) -> bool:
    """Whether a later revision of the film has ended, whatever goes where of it."""
    this = select(instance.c.sop_instance_uid, instance.c.revision).where(instance.c.id == instance_id).subquery()
    later = (instance.c.sop_instance_uid == this.c.sop_instance_uid, instance.c.revision > this.c.revision)
    return connection.execute(select(instance.c.id).where(*later, has_result()).limit(1)).first() is not None


def corrects(connection: Connection, of: WaitingResult) -> bool:
    """Whether the destination has something of an earlier revision of the film."""
    ids = connection.execute(_before(of.instance)).scalars()
    return any(was_sent(connection, key, of.destination) for key in ids)


def earlier(connection: Connection, of: WaitingResult) -> Sequence[Row[Any]]:
    """Errands of earlier revisions of the same film that wait for the same destination."""
    query = select(errand).where(errand.c.kind == WAITS, goes_to([of.destination]))
    return connection.execute(query.where(errand.c.instance_id.in_(_before(of.instance)))).all()


def _before(instance_id: int) -> Select[Any]:
    """Ids of the film's earlier revisions."""
    film = select(instance.c.sop_instance_uid, instance.c.revision).where(instance.c.id == instance_id).subquery()
    return select(instance.c.id).where(
        instance.c.sop_instance_uid == film.c.sop_instance_uid,
        instance.c.revision < film.c.revision,
        instance.c.is_film,
    )


def read(taken: Errand) -> WaitingResult:
    """Raises ValueError as `WaitingResult.read`."""
    return WaitingResult.read(taken.payload)


def key_of(instance_id: int, bundle_digest: str, destination: str) -> str:
    """At most 61 characters."""
    where = hashlib.sha256(destination.encode()).hexdigest()
    return f"{instance_id}-{bundle_digest[:DIGITS]}-{where[:DIGITS]}"


def bundle_of(connection: Connection, instance_id: int) -> str:
    """Digest of the bundle whose result of the instance waits, was given up, or was sent last; "" where none was."""
    payload = connection.execute(
        select(errand.c.payload).where(errand.c.kind.in_((WAITS, LOST)), of_instance(instance_id)).limit(1)
    ).scalar_one_or_none()
    if payload:
        return str(payload["bundle"]["digest"])
    sent = [
        row
        for table in SENT
        for row in connection.execute(
            select(table.c.sent_at, table.c.bundle_digest)
            .where(table.c.instance_id == instance_id)
            .order_by(table.c.sent_at.desc())
            .limit(1)
        )
    ]
    return str(max(sent, key=lambda row: row.sent_at).bundle_digest) if sent else ""
