"""What leaves the quarantine, because a person admits or rejects it: the transactions.

Whatever leaves does so under the lock of the table of peers, which every arriving film shares. So a film that arrives
while the same one is admitted comes before that, and is seen here, or after it, and is a duplicate there.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, select

from dicom_gateway.peers import ALL, Certificate, Connected, Network, Peer, address_of, why_unknown
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, writing
from worker.db.tables import instance, quarantine
from worker.errors import ConfigurationError, NotFound, WrongState
from worker.peers import table
from worker.peers.admitting import Admitting, Events, Released, leave
from worker.peers.deciding import CompareFilms, unread
from worker.states import NOT_ADMITTED, State

BATCH = 250
"""Objects that leave in one transaction: C-STOREs wait for it."""


def admit_sender(
    engine: Engine, calling_ae: str, networks: Sequence[Network], *, actor: str, compare: CompareFilms = unread
) -> tuple[Peer, Released]:
    """Make an AE a peer from these networks too, and release what it sent from any network of its row.

    The peer's row and the first BATCH objects are one transaction, each further BATCH another. Killed in between, it is
    repeated: what is left is released then.

    Args:
        networks: none: the one address that it sent from.
        compare: asked for a film that is here with other bytes, between the transactions.

    Raises:
        NotFound: nothing of it is in quarantine, and no network is named.
        ConfigurationError: it sent from several addresses, and no network is named.
        WrongState: its row asks for a certificate that it did not show.
    """
    admitting = Admitting(actor=actor)
    made: list[Peer] = []

    def take(connection: Connection, rows: Sequence[Row[Any]]) -> Events:
        peers = table.read(connection)
        events: Events = []
        if not made:
            before = peers.get(calling_ae)
            senders = _senders(connection, calling_ae)
            own = before.networks if before else ()
            seen = [sender.address for sender in senders if not _within(sender.address, own)]
            made.append(_widened(before, calling_ae, networks or _seen(calling_ae, seen)))
            peers[calling_ae] = made[0]
            _must_fit(made[0], peers, senders)
            events = table.put(connection, made[0], before, actor=actor)
        return events + admitting.release(connection, [row for row in rows if _known(peers, row)])

    _walk(engine, calling_ae, take, again=lambda: admitting.look(compare))
    return made[0], admitting.released


def admit_instance(engine: Engine, instance_id: int, *, actor: str, compare: CompareFilms = unread) -> str:
    """Release one, and let its sender stay unknown. Returns why it ended, "" where it waits for its score.

    Raises NotFound, WrongState.
    """
    admitting = Admitting(actor=actor)
    while True:
        with writing(engine) as connection:
            table.lock(connection)
            events = admitting.release(connection, [_one(connection, instance_id)])
            trail.record_all(connection, events)
        if not admitting.look(compare):
            return str(events[-1]["detail"].get("reason", ""))


def reject_instance(engine: Engine, instance_id: int, *, actor: str) -> None:
    """Raises NotFound, WrongState."""
    with writing(engine) as connection:
        table.lock(connection)
        trail.record_all(connection, _reject(connection, [_one(connection, instance_id)], actor))


def reject_sender(engine: Engine, calling_ae: str, networks: Sequence[Network], *, actor: str) -> Released:
    """What an AE sent, from these networks or from anywhere, is ineligible for good. Raises NotFound."""
    rejected = Released()

    def take(connection: Connection, rows: Sequence[Row[Any]]) -> Events:
        chosen = [row for row in rows if not networks or _within(row.address, networks)]
        rejected.count(chosen)
        return _reject(connection, chosen, actor)

    _walk(engine, calling_ae, take)
    if not rejected.films and not rejected.other_objects:
        raise _nothing_of(calling_ae)
    return rejected


def _walk(
    engine: Engine,
    calling_ae: str,
    take: Callable[[Connection, Sequence[Row[Any]]], Events],
    again: Callable[[], bool] = lambda: False,
) -> None:
    """Give what an AE has in quarantine to `take`, in the order in which it came. BATCH objects a transaction.

    What `take` leaves there is not given again. It is called once at least.

    Args:
        again: whether `take` shall have the same batch once more, or what is left of it.
    """
    last = 0
    while True:
        with writing(engine) as connection:
            table.lock(connection)
            rows = _page(connection, last)
            trail.record_all(connection, take(connection, [row for row in rows if row.calling_ae == calling_ae]))
        if again():
            continue
        if len(rows) < BATCH:
            return
        last = rows[-1].id


def _page(connection: Connection, last: int) -> Sequence[Row[Any]]:
    """The next BATCH objects after an instance id, of every AE.

    Their ids first: asked for one AE's objects, or for a join, PostgreSQL reads all that are held for each page.
    """
    page = select(quarantine.c.instance_id).where(quarantine.c.instance_id > last)
    page = page.order_by(quarantine.c.instance_id).limit(BATCH)
    ids = connection.execute(page).scalars().all()
    return connection.execute(_held().where(instance.c.id.in_(ids)).order_by(instance.c.id)).all()


def _held() -> Select[Any]:
    columns = (
        "id",
        "calling_ae",
        "is_film",
        "sop_instance_uid",
        "revision",
        "digest",
        "study_instance_uid",
        "backfilled",
    )
    query = select(quarantine, *(instance.c[name] for name in columns))
    return query.join(instance, quarantine.c.instance_id == instance.c.id)


def _one(connection: Connection, instance_id: int) -> Row[Any]:
    row = connection.execute(_held().where(instance.c.id == instance_id)).one_or_none()
    if row:
        return row
    state = connection.execute(select(instance.c.state).where(instance.c.id == instance_id)).scalar_one_or_none()
    if state is None:
        raise NotFound(f"no instance {instance_id}")
    raise WrongState(f"instance {instance_id} is {state}; this needs {State.QUARANTINED}")


def _senders(connection: Connection, calling_ae: str) -> Sequence[Row[Any]]:
    """Where and with what certificate an AE sent what is held of it."""
    columns = (quarantine.c.address, quarantine.c.certificate_subject, quarantine.c.certificate_sha256)
    query: Select[Any] = select(instance.c.calling_ae, *columns)
    query = query.join(instance, quarantine.c.instance_id == instance.c.id)
    which = (instance.c.calling_ae == calling_ae, instance.c.state == State.QUARANTINED)
    return connection.execute(query.where(*which).distinct().order_by(*columns)).all()


def _reject(connection: Connection, rows: Sequence[Row[Any]], actor: str) -> Events:
    now, ids = database_time(connection), [row.id for row in rows]
    leave(connection, ids, {"state": State.INELIGIBLE, "reason": NOT_ADMITTED, "finished_at": now})
    detail = {"reason": NOT_ADMITTED}
    return [trail.event(action=Action.REJECTED, instance_id=key, actor=actor, detail=detail) for key in ids]


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


def _must_fit(added: Peer, peers: dict[str, Peer], senders: Sequence[Row[Any]]) -> None:
    if not (added.certificate_subject or added.certificate_sha256):
        return
    if senders and not any(_known(peers, sender) for sender in senders):
        raise WrongState(
            f"{added.calling_ae} is known by a certificate, and showed another or none: 'xrayq peer add "
            f"{added.calling_ae} --replace' writes what it shows"
        )


def _nothing_of(calling_ae: str) -> NotFound:
    return NotFound(f"nothing of {calling_ae} is in quarantine: 'xrayq peer quarantine' shows what is")
