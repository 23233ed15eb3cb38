"""The table of peers in the database: read, changed, and followed.

Whoever changes it takes the lock, which every arriving object shares: what arrives while a peer is admitted is either
released with the rest, or sees the new table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from dicom_gateway.peers import Peer, Right
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, reading, writing
from worker.db.tables import peer
from worker.errors import NotFound, WrongState

LOCK = 0x7065657273
"""Of PostgreSQL; on SQLite a transaction is alone anyway. "peers"."""


@dataclass(frozen=True, kw_only=True)
class ListedPeer:
    """A row, and who wrote it."""

    peer: Peer
    changed_at: datetime
    changed_by: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return (
            {"ae": self.peer.calling_ae}
            | content_of(self.peer)
            | {
                "changed_at": self.changed_at.isoformat(),
                "changed_by": self.changed_by,
            }
        )


def read(connection: Connection) -> dict[str, Peer]:
    """Every peer, by calling AE title."""
    return {row.calling_ae: _peer(row) for row in connection.execute(select(peer).order_by(peer.c.calling_ae))}


def listed(engine: Engine) -> list[ListedPeer]:
    """By calling AE title."""
    with reading(engine) as connection:
        rows = connection.execute(select(peer).order_by(peer.c.calling_ae)).all()
    return [ListedPeer(peer=_peer(row), changed_at=row.changed_at, changed_by=row.changed_by) for row in rows]


def find(engine: Engine, calling_ae: str) -> ListedPeer:
    """Raises NotFound."""
    for found in listed(engine):
        if found.peer.calling_ae == calling_ae:
            return found
    raise _missing(calling_ae)


def add(engine: Engine, peers: Iterable[Peer], *, actor: str, replace: bool = False) -> None:
    """All of them, or none. Raises WrongState where one is there already and may not be replaced."""
    with writing(engine) as connection:
        lock(connection)
        known, events = read(connection), []
        for new in peers:
            if new.calling_ae in known and not replace:
                raise WrongState(
                    f"{new.calling_ae} is a peer already: 'xrayq peer show {new.calling_ae}' shows it, --replace "
                    "replaces its whole row"
                )
            events += put(connection, new, known.get(new.calling_ae), actor=actor)
        trail.record_all(connection, events)


def remove(engine: Engine, calling_ae: str, *, actor: str) -> None:
    """An unknown AE from now on. Raises NotFound."""
    with writing(engine) as connection:
        lock(connection)
        before = read(connection).get(calling_ae)
        if before is None:
            raise _missing(calling_ae)
        connection.execute(delete(peer).where(peer.c.calling_ae == calling_ae))
        trail.record_all(connection, [_event(Action.PEER_REMOVED, calling_ae, actor, before=content_of(before))])


def put(connection: Connection, new: Peer, before: Peer | None, *, actor: str) -> list[dict[str, Any]]:
    """Write a row. The events, none where nothing changes; the caller holds the lock, and records them last of all.

    Args:
        before: its row until now.
    """
    if new == before:
        return []
    content = content_of(new)
    row = content | {"changed_at": database_time(connection), "changed_by": actor}
    if before is None:
        connection.execute(insert(peer), row | {"calling_ae": new.calling_ae})
        return [_event(Action.PEER_ADDED, new.calling_ae, actor, after=content)]
    connection.execute(update(peer).where(peer.c.calling_ae == new.calling_ae).values(row))
    return [_event(Action.PEER_CHANGED, new.calling_ae, actor, before=content_of(before), after=content)]


def lock(connection: Connection, *, shared: bool = False) -> None:
    """Until the transaction ends.

    Args:
        shared: with others that do not change the table.
    """
    if connection.dialect.name == "postgresql":
        take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(take(LOCK)))


def content_of(found: Peer) -> dict[str, Any]:
    """JSON-ready, as columns and audit events have it; without its title."""
    return {
        "networks": [str(network) for network in found.networks],
        "certificate_subject": found.certificate_subject,
        "certificate_sha256": found.certificate_sha256,
        "rights": sorted(found.rights),
        "stores_a_minute": found.stores_a_minute,
        "most_associations": found.most_associations,
    }


def _event(action: Action, calling_ae: str, actor: str, **detail: dict[str, Any]) -> dict[str, Any]:
    return trail.event(action=action, instance_id=None, actor=actor, detail={"calling_ae": calling_ae} | detail)


def _peer(row: Row[Any]) -> Peer:
    return Peer(
        calling_ae=row.calling_ae,
        networks=tuple(map(ip_network, row.networks)),
        certificate_subject=row.certificate_subject,
        certificate_sha256=row.certificate_sha256,
        rights=frozenset(Right(name) for name in row.rights if name in set(Right)),  # a later release may have more
        stores_a_minute=row.stores_a_minute,
        most_associations=row.most_associations,
    )


def _missing(calling_ae: str) -> NotFound:
    return NotFound(f"{calling_ae} is no peer: 'xrayq peer list' shows them")
