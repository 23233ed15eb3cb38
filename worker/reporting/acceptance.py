"""Which AEs' results are sent. An AE begins silent: its films are scored, and nothing leaves the house.

It is asked twice: where a film ends and its results would be written for sending, and again before they are sent, for
an AE may be silenced while they wait.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.dialects import postgresql, sqlite

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, writing
from worker.db.tables import device, instance
from worker.errors import WrongState

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
    last_film: datetime | None = None
    """When its newest film came; None where none did."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        times = {"changed_at": self.changed_at, "last_film": self.last_film}
        return asdict(self) | {name: moment and moment.isoformat() for name, moment in times.items()}


def devices(connection: Connection) -> list[Device]:
    """Every AE that sent an object or was accepted, by title."""
    senders = connection.execute(select(instance.c.calling_ae).distinct()).scalars()
    rows = {row.calling_ae: row for row in connection.execute(select(device))}
    return [_device(connection, title, rows.get(title)) for title in sorted({*senders, *rows})]


def find(connection: Connection, calling_ae: str) -> Device:
    """Silent where nothing is known of it."""
    row = connection.execute(select(device).where(device.c.calling_ae == calling_ae)).one_or_none()
    return _device(connection, calling_ae, row)


def accepted(connection: Connection, titles: Collection[str]) -> set[str]:
    """Those of these AEs whose results are sent."""
    query = select(device.c.calling_ae).where(
        device.c.calling_ae.in_(titles), device.c.state == DeviceState.ACCEPTED.value
    )
    return set(connection.execute(query).scalars())


def all_silent(connection: Connection) -> bool:
    """Whether no AE is accepted: then no result is sent, whatever the settings say."""
    query = select(device.c.calling_ae).where(device.c.state == DeviceState.ACCEPTED.value).limit(1)
    return connection.execute(query).first() is None


def change(engine: Engine, calling_ae: str, state: DeviceState, *, reason: str, actor: str) -> Device:
    """Accept or silence an AE, from now on. Raises WrongState where it is that already."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    with writing(engine) as connection:
        if find(connection, calling_ae).state is state:
            raise WrongState(f"{calling_ae} is {state} already")
        row = {"state": state, "changed_at": database_time(connection), "changed_by": actor, "reason": reason}
        new = dialect.insert(device).values(row | {"calling_ae": calling_ae})
        connection.execute(new.on_conflict_do_update(index_elements=["calling_ae"], set_=row))
        detail = {"calling_ae": calling_ae, "reason": reason}
        if state is DeviceState.ACCEPTED:
            detail["evidence"] = "none"
        trail.record(connection, action=ACTIONS[state], instance_id=None, actor=actor, detail=detail)
        return find(connection, calling_ae)


def _device(connection: Connection, calling_ae: str, row: Row[Any] | None) -> Device:
    newest = (
        select(instance.c.received_at)
        .where(instance.c.calling_ae == calling_ae, instance.c.is_film)
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
        last_film=last_film,
    )
