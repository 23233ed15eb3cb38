"""Which AEs' results are sent. An AE begins silent: its films are scored, and nothing leaves the house.

It is asked twice: where a film ends and its results would be written for sending, and again before they are sent, for
an AE may be silenced while they wait.

An AE is accepted on evidence, what one bundle did on its labelled films, or without. Evidence is for that bundle: when
another becomes live the AE stays accepted, as results that stop unannounced would be a harm of their own, and whoever
shows the AE says that its evidence is of another bundle.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from model.json_value import JsonValue
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, writing
from worker.db.tables import device, errand, instance
from worker.errors import ConfigurationError, WrongState
from worker.queue import errands
from worker.queue.errands import Errand, Kind
from worker.reporting.faults import SILENT
from worker.words import is_line

MOST_CHARACTERS = 200
"""Of a reason."""


class DeviceState(StrEnum):
    SILENT = "silent"
    ACCEPTED = "accepted"


ACTIONS = {DeviceState.ACCEPTED: Action.DEVICE_ACCEPTED, DeviceState.SILENT: Action.DEVICE_SILENCED}


@dataclass(frozen=True, kw_only=True)
class Device:
    """An AE that sends films, and whether results of them are sent."""

    calling_ae: str
    state: DeviceState
    changed_at: datetime | None = None
    """None: it was never accepted."""
    changed_by: str = ""
    reason: str = ""
    evidence: dict[str, Any] | None = None
    """JSON of what it was accepted on, as its release wrote it; None: without, or it is silent."""
    silenced_at: datetime | None = None
    """When it was silenced last, also where it was accepted since: films from before are no evidence. None: never."""
    last_film: datetime | None = None
    """When its newest film came; None where none did."""

    def outdated(self, live: str) -> bool:
        """Whether its evidence is of another bundle than the live one.

        Args:
            live: digest; "" where that is not known.
        """
        return bool(live and self.evidence and self.evidence.get("bundle_digest") != live)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        times = ("changed_at", "silenced_at", "last_film")
        moments = {name: getattr(self, name) for name in times}
        return asdict(self) | {name: moment and moment.isoformat() for name, moment in moments.items()}


def devices(connection: Connection) -> list[Device]:
    """Every AE that sent an object, not into quarantine alone, or was accepted; by title."""
    rows = {row.calling_ae: row for row in connection.execute(select(device))}
    senders = {title for title in _senders(connection) if title in rows or _is_admitted(connection, title)}
    return [_device(connection, title, rows.get(title)) for title in sorted({*senders, *rows})]


def find(connection: Connection, calling_ae: str) -> Device:
    """Silent where nothing is known of it."""
    row = connection.execute(select(device).where(device.c.calling_ae == calling_ae)).one_or_none()
    return _device(connection, calling_ae, row)


def accepted(connection: Connection, titles: Collection[str] | None = None) -> set[str]:
    """Those of these AEs whose results are sent; None: of all."""
    query = select(device.c.calling_ae).where(device.c.state == DeviceState.ACCEPTED.value)
    if titles is not None:
        query = query.where(device.c.calling_ae.in_(titles))
    return set(connection.execute(query).scalars())


def accept(engine: Engine, calling_ae: str, *, reason: str, actor: str, evidence: JsonValue | None) -> Device:
    """Accept an AE from now on, or give one that is accepted new evidence.

    Args:
        reason: one line; "" where there is evidence and nothing to add.
        evidence: None: nothing was measured.

    Raises:
        ConfigurationError: a reason that is not one line, or none without evidence.
        WrongState: it is accepted already, and this is no new evidence.
    """
    if reason or evidence is None:
        reason = line_of(reason)
    found = None if evidence is None else evidence.as_dict()
    return _change(engine, calling_ae, DeviceState.ACCEPTED, reason=reason, actor=actor, evidence=found)


def silence(engine: Engine, calling_ae: str, *, reason: str, actor: str) -> Device:
    """Silence an AE, from now on; what waits of it is given up.

    Raises WrongState where it is silent already, ConfigurationError where the reason is not one line.
    """
    return _change(engine, calling_ae, DeviceState.SILENT, reason=line_of(reason), actor=actor, evidence=None)


def line_of(reason: str) -> str:
    """A reason as it is kept. Raises ConfigurationError."""
    words = reason.strip()
    if not is_line(words, MOST_CHARACTERS):
        raise ConfigurationError(f"the reason is one line of 1 to {MOST_CHARACTERS} characters")
    return words


def silence_all(connection: Connection, reasons: Mapping[str, str], *, actor: str) -> list[dict[str, Any]]:
    """Silence those of these AEs that are accepted; the caller's transaction records the events, last of all.

    Args:
        reasons: by AE.

    Returns:
        An audit event for each AE that was accepted.
    """
    events, now = [], database_time(connection)
    for calling_ae, reason in sorted(reasons.items()):
        values = {"state": DeviceState.SILENT, "changed_at": now, "changed_by": actor, "reason": reason}
        values |= {"evidence": None, "silenced_at": now}
        was_accepted = (device.c.calling_ae == calling_ae) & (device.c.state == DeviceState.ACCEPTED)
        done = connection.execute(update(device).where(was_accepted).values(values))
        if done.rowcount:
            events.append(_event(calling_ae, DeviceState.SILENT, reason=reason, actor=actor, evidence=None))
            events += _give_up(connection, calling_ae, actor=actor, now=now)
    return events


def silent_for(connection: Connection, reason: str, *, actor: str) -> list[str]:
    """AEs that this actor silenced for this reason, and that are silent since."""
    query = select(device.c.calling_ae).where(
        device.c.state == DeviceState.SILENT.value, device.c.changed_by == actor, device.c.reason == reason
    )
    return list(connection.execute(query.order_by(device.c.calling_ae)).scalars())


def _change(
    engine: Engine, calling_ae: str, state: DeviceState, *, reason: str, actor: str, evidence: dict[str, Any] | None
) -> Device:
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    with writing(engine) as connection:
        if find(connection, calling_ae).state is state and evidence is None:
            raise WrongState(f"{calling_ae} is {state} already")
        now = database_time(connection)
        row = {"state": state, "changed_at": now, "changed_by": actor, "reason": reason, "evidence": evidence}
        if state is DeviceState.SILENT:
            row["silenced_at"] = now
        new = dialect.insert(device).values(row | {"calling_ae": calling_ae})
        connection.execute(new.on_conflict_do_update(index_elements=["calling_ae"], set_=row))
        changed = find(connection, calling_ae)
        events = [_event(calling_ae, state, reason=reason, actor=actor, evidence=evidence)]
        if state is DeviceState.SILENT:
            events += _give_up(connection, calling_ae, actor=actor, now=now)
        trail.record_all(connection, events)
        return changed


def _give_up(connection: Connection, calling_ae: str, *, actor: str, now: datetime) -> list[dict[str, Any]]:
    """Results of its films that wait: kept for a person, who may send them once it is accepted again. The events.

    What a courier has taken is left to it: it may be at the destination already, and is asked about acceptance again
    where it is not.
    """
    waits = select(errand).join(instance, errand.c.instance_id == instance.c.id)
    waits = waits.where(errand.c.kind == Kind.RESULT, instance.c.calling_ae == calling_ae)
    free = errand.c.lease_until.is_(None) | (errand.c.lease_until <= now)
    rows = connection.execute(waits.where(free).order_by(errand.c.id).with_for_update(of=errand, skip_locked=True))
    events = []
    for row in rows.all():
        taken = Errand(id=row.id, kind=Kind.RESULT, key=row.key, payload=row.payload, attempt=row.attempts)
        payload = row.payload | {"reason": SILENT, "given_up": now.isoformat()}
        errands.set_aside(connection, taken, Kind.LOST_RESULT, payload)
        detail = {"reason": SILENT, "attempts": row.attempts, "destination": row.destination}
        told = {"action": Action.RESULT_UNDELIVERED, "instance_id": row.instance_id, "actor": actor, "detail": detail}
        events.append(trail.event(**told))
    return events


def _event(
    calling_ae: str, state: DeviceState, *, reason: str, actor: str, evidence: dict[str, Any] | None
) -> dict[str, Any]:
    detail: dict[str, Any] = {"calling_ae": calling_ae, "reason": reason}
    if state is DeviceState.ACCEPTED:
        detail["evidence"] = "none" if evidence is None else evidence
    return trail.event(action=ACTIONS[state], instance_id=None, actor=actor, detail=detail)


def _senders(connection: Connection) -> list[str]:
    """Every AE that sent an object. One step through the index for each, and not one for each of its objects: the next
    title after the last one, until there is none."""
    first = select(func.min(instance.c.calling_ae).label("title")).cte("senders", recursive=True)
    following = select(func.min(instance.c.calling_ae)).where(instance.c.calling_ae > first.c.title).scalar_subquery()
    titles = first.union_all(select(following).select_from(first).where(first.c.title.is_not(None)))
    return list(connection.execute(select(titles.c.title).where(titles.c.title.is_not(None))).scalars())


def _is_admitted(connection: Connection, calling_ae: str) -> bool:
    query = select(instance.c.id).where(instance.c.calling_ae == calling_ae, instance.c.admitted)
    return connection.execute(query.limit(1)).first() is not None


def _device(connection: Connection, calling_ae: str, row: Row[Any] | None) -> Device:
    newest = (
        select(instance.c.received_at)
        .where(instance.c.calling_ae == calling_ae, instance.c.is_film, instance.c.admitted)
        .order_by(instance.c.received_at.desc())
        .limit(1)
    )
    last_film = connection.execute(newest).scalar_one_or_none()
    if row is None:
        return Device(calling_ae=calling_ae, state=DeviceState.SILENT, last_film=last_film)
    return Device(
        calling_ae=calling_ae,
        state=DeviceState(row.state),
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        reason=row.reason,
        evidence=row.evidence,
        silenced_at=row.silenced_at,
        last_film=last_film,
    )
