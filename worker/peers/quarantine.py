"""What unknown peers sent: kept and not scored, until a person admits or rejects it.

It is in the state quarantined and not `admitted`, so it counts nowhere: in no study, in no figure of a device, and as
no revision that another film is compared with. Its row here has what is known of its sender. Admitted, it goes the way
of a film that has just come, in the transaction that admits it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, case, delete, func, insert, select, update

from dicom_gateway.peers import ALL, Certificate, Connected, Network, Peer, Unknown, address_of, why_unknown
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, writing
from worker.db.tables import instance, outbox, quarantine
from worker.errors import ConfigurationError, NotFound, WrongState
from worker.peers import table
from worker.states import NOT_A_FILM, NOT_ADMITTED, Priority, State
from worker.studies import opening

CHUNK = 500
"""Ids in one statement."""
BATCH = 1000
"""Objects that leave in one transaction: the audit trail has one writer at a time, and C-STOREs wait for it."""


@dataclass(frozen=True, kw_only=True)
class HeldSender:
    """What one AE sent from one address."""

    calling_ae: str
    address: str
    why: Unknown
    films: int
    other_objects: int
    since: datetime
    """When the first of them came."""
    last: datetime

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {
            "why": self.why.name,
            "since": self.since.isoformat(),
            "last": self.last.isoformat(),
        }


@dataclass(frozen=True, kw_only=True)
class Released:
    """What left the quarantine."""

    films: int
    other_objects: int


def still_unknown(connection: Connection, sent_by: Connected) -> Unknown | None:
    """Asked in the transaction that would put an object into quarantine. None: its sender has been admitted since it
    connected, or since this process read the table last."""
    table.lock(connection, shared=True)
    return why_unknown(table.read(connection), sent_by)


def hold(connection: Connection, instance_id: int, sent_by: Connected, why: Unknown) -> dict[str, Any]:
    """The row of an instance that is in quarantine. Returns its event."""
    shown = sent_by.certificate or Certificate(subject="", sha256="")
    row = {"instance_id": instance_id, "address": sent_by.address[:64], "why": why.name}
    row |= {"certificate_subject": shown.subject[:256], "certificate_sha256": shown.sha256}
    connection.execute(insert(quarantine), row)
    detail = {"why": why.name, "address": sent_by.address[:64]}
    return trail.event(action=Action.QUARANTINED, instance_id=instance_id, actor=sent_by.calling_ae, detail=detail)


def held_senders(connection: Connection) -> list[HeldSender]:
    """Oldest first."""
    films = func.sum(case((instance.c.is_film, 1), else_=0))
    first = func.min(instance.c.received_at)
    by = (instance.c.calling_ae, quarantine.c.address, quarantine.c.why)
    rows = connection.execute(
        select(*by, films.label("films"), func.count().label("all"), first, func.max(instance.c.received_at))
        .join(quarantine, quarantine.c.instance_id == instance.c.id)
        .where(instance.c.state == State.QUARANTINED)  # so that SQLite goes by an index, and reads not every film
        .group_by(*by)
        .order_by(first, *by)
    )
    return [
        HeldSender(
            calling_ae=calling_ae,
            address=address,
            why=Unknown[why],
            films=films,
            other_objects=all_ - films,
            since=since,
            last=last,
        )
        for calling_ae, address, why, films, all_, since, last in rows
    ]


def admit_sender(engine: Engine, calling_ae: str, networks: Sequence[Network], *, actor: str) -> tuple[Peer, Released]:
    """Make an AE a peer from these networks too, and release what it sent from any network of its row.

    The peer's row and the first BATCH objects are one transaction, each further BATCH another. Killed in between, it is
    repeated: what is left is released then.

    Args:
        networks: none: the one address that it sent from.

    Raises:
        NotFound: nothing of it is in quarantine, and no network is named.
        ConfigurationError: it sent from several addresses, and no network is named.
        WrongState: its row asks for a certificate that it did not show.
    """
    released: list[Row[Any]] = []
    while True:  # again it finds the peer there, and the rest of its films
        with writing(engine) as connection:
            table.lock(connection)
            rows = _held(connection, instance.c.calling_ae == calling_ae)
            peers = table.read(connection)
            before = peers.get(calling_ae)
            own = before.networks if before else ()
            named = networks or _seen(calling_ae, [row.address for row in rows if not _within(row.address, own)])
            added = _widened(before, calling_ae, named)
            peers[calling_ae] = added
            known = [row for row in rows if _known(peers, row)]
            if rows and not known and (added.certificate_subject or added.certificate_sha256):
                raise WrongState(
                    f"{calling_ae} is known by a certificate, and showed another or none: 'xrayq peer add {calling_ae} "
                    "--replace' writes what it shows"
                )
            events = table.put(connection, added, before, actor=actor)
            trail.record_all(connection, [*events, *_release(connection, known[:BATCH], actor)])
        released += known[:BATCH]
        if len(known) <= BATCH:
            return added, _counted(released)


def admit_instance(engine: Engine, instance_id: int, *, actor: str) -> None:
    """Release one, and let its sender stay unknown. Raises NotFound, WrongState."""
    with writing(engine) as connection:
        trail.record_all(connection, _release(connection, [_one(connection, instance_id)], actor))


def reject_instance(engine: Engine, instance_id: int, *, actor: str) -> None:
    """Raises NotFound, WrongState."""
    with writing(engine) as connection:
        trail.record_all(connection, _reject(connection, [_one(connection, instance_id)], actor))


def reject_sender(engine: Engine, calling_ae: str, networks: Sequence[Network], *, actor: str) -> Released:
    """What an AE sent, from these networks or from anywhere, is ineligible for good. Raises NotFound."""
    rejected: list[Row[Any]] = []
    while True:
        with writing(engine) as connection:
            table.lock(connection)
            held = _held(connection, instance.c.calling_ae == calling_ae)
            rows = [row for row in held if not networks or _within(row.address, networks)]
            if not rows and not rejected:
                raise _nothing_of(calling_ae)
            trail.record_all(connection, _reject(connection, rows[:BATCH], actor))
        rejected += rows[:BATCH]
        if len(rows) <= BATCH:
            return _counted(rejected)


def _held(connection: Connection, which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """By study: rows of studies are locked in that order, see `opening`."""
    query = select(quarantine, instance.c.id, instance.c.calling_ae, instance.c.is_film, instance.c.backfilled)
    query = query.where(which, instance.c.state == State.QUARANTINED)
    query = query.join(instance, quarantine.c.instance_id == instance.c.id)
    query = query.order_by(instance.c.study_instance_uid, instance.c.id)
    return connection.execute(query.with_for_update(of=quarantine)).all()


def _one(connection: Connection, instance_id: int) -> Row[Any]:
    rows = _held(connection, instance.c.id == instance_id)
    if rows:
        return rows[0]
    state = connection.execute(select(instance.c.state).where(instance.c.id == instance_id)).scalar_one_or_none()
    if state is None:
        raise NotFound(f"no instance {instance_id}")
    raise WrongState(f"instance {instance_id} is {state}; this needs {State.QUARANTINED}")


def _release(connection: Connection, rows: Sequence[Row[Any]], actor: str) -> list[dict[str, Any]]:
    """Films into the queue, and what is no film to its end. The events."""
    now = database_time(connection)
    films, others = ([row.id for row in rows if row.is_film is kind] for kind in (True, False))
    ended = {"state": State.INELIGIBLE, "reason": NOT_A_FILM, "finished_at": now}
    _move(connection, films, {"state": State.RECEIVED, "admitted": True})
    _move(connection, others, ended | {"admitted": True})
    if films:
        old = {row.id for row in rows if row.backfilled}
        waits = [
            {
                "kind": "score",
                "instance_id": key,
                "next_attempt_at": now,
                "priority": Priority.of(key in old).value,
            }
            for key in films
        ]
        connection.execute(insert(outbox), waits)
    for ids in _chunks([row.id for row in rows]):
        opening.changed(connection, ids, now)
    events = [trail.event(action=Action.ADMITTED, instance_id=row.id, actor=actor) for row in rows]
    why = {"reason": NOT_A_FILM}
    return events + [trail.event(action=Action.INELIGIBLE, instance_id=key, actor=actor, detail=why) for key in others]


def _reject(connection: Connection, rows: Sequence[Row[Any]], actor: str) -> list[dict[str, Any]]:
    now, ids = database_time(connection), [row.id for row in rows]
    _move(connection, ids, {"state": State.INELIGIBLE, "reason": NOT_ADMITTED, "finished_at": now})
    detail = {"reason": NOT_ADMITTED}
    return [trail.event(action=Action.REJECTED, instance_id=key, actor=actor, detail=detail) for key in ids]


def _move(connection: Connection, ids: list[int], values: dict[str, Any]) -> None:
    for chunk in _chunks(ids):
        connection.execute(update(instance).where(instance.c.id.in_(chunk)).values(values))
        connection.execute(delete(quarantine).where(quarantine.c.instance_id.in_(chunk)))


def _chunks(ids: list[int]) -> list[list[int]]:
    return [ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK)]


def _known(peers: dict[str, Peer], row: Row[Any]) -> bool:
    shown = Certificate(subject=row.certificate_subject, sha256=row.certificate_sha256)
    sent_by = Connected(calling_ae=row.calling_ae, address=row.address, certificate=shown if shown.sha256 else None)
    return why_unknown(peers, sent_by) is None


def _seen(calling_ae: str, texts: Sequence[str]) -> tuple[Network, ...]:
    """The one address among these; () where there is none."""
    addresses = sorted({str(address_of(text) or "") for text in texts} - {""})
    if len(addresses) > 1:
        raise ConfigurationError(
            f"{calling_ae} sent from {len(addresses)} addresses ({', '.join(addresses[:5])}): name its own with "
            "--network"
        )
    return tuple(ip_network(address) for address in addresses)


def _widened(before: Peer | None, calling_ae: str, networks: Sequence[Network]) -> Peer:
    """The row with these networks too."""
    if before is None:
        if not networks:
            raise _nothing_of(calling_ae)
        return Peer(calling_ae=calling_ae, networks=tuple(networks), rights=ALL)
    new = [network for network in networks if not any(_contains(other, network) for other in before.networks)]
    kept = [network for network in before.networks if not any(_contains(other, network) for other in new)]
    return replace(before, networks=(*kept, *new))


def _contains(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)


def _within(address: str, networks: Sequence[Network]) -> bool:
    found = address_of(address)
    return found is not None and any(found in network for network in networks)


def _counted(rows: Sequence[Row[Any]]) -> Released:
    films = sum(row.is_film for row in rows)
    return Released(films=films, other_objects=len(rows) - films)


def _nothing_of(calling_ae: str) -> NotFound:
    return NotFound(f"nothing of {calling_ae} is in quarantine: 'xrayq peer quarantine' shows what is")
