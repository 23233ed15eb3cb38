"""Who may come, and what unknown peers sent: a sender or one film is admitted or rejected."""

from ipaddress import ip_network

from starlette.responses import Response

from dicom_gateway.negotiation import class_name
from dicom_gateway.peers import ALL, Network, Unknown, address_of
from worker.db.session import reading
from worker.errors import NotFound, WorkerError, WrongState
from worker.instances import find
from worker.peers.admitting import Released
from worker.peers.entry import spoken
from worker.peers.leaving import admit_instance, admit_sender, reject_instance, reject_sender
from worker.peers.quarantine import FURTHER, HeldObject, HeldSender, held_object, held_objects, held_senders
from worker.status.device_words import kept_word
from worker.web.operations import parts
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to
from worker.words import counted

MOST_SHOWN = 100


def peers(ask: Ask) -> Response:
    """The page, or the part of it that htmx refreshes."""
    return _peers(ask)


def sender(ask: Ask) -> Response:
    """What one AE sent from one address."""
    return _sender(ask, ask.query("ae"), ask.query("address"))


def decide(ask: Ask) -> Response:
    """A sender is admitted, or what it sent is rejected."""
    title, address, verdict = ask.form.get("ae", ""), ask.form.get("address", ""), ask.form.get("verdict", "")
    try:
        if verdict == "admit":
            told = _admitted(ask, title, _network(address))
        elif verdict == "reject":
            released = reject_sender(ask.site.database, title, _network(address), actor=ask.actor)
            told = f"{_objects(released)} of {title} from {address} are ineligible (not_admitted)."
        else:
            raise WrongState("admit or reject it")
    except WorkerError as error:
        return _sender(ask, title, address, error)
    parts.of(ask).changed()
    return _peers(ask, told)


def held(ask: Ask) -> Response:
    """One object in quarantine."""
    return _held(ask)


def decide_one(ask: Ask) -> Response:
    """One object leaves; its sender stays unknown."""
    (found,) = find(ask.site.database, ask.path("id"))
    verdict = ask.form.get("verdict", "")
    try:
        if verdict == "admit":
            with parts.of(ask).options.compare() as compare:
                admit_instance(ask.site.database, found.id, actor=ask.actor, compare=compare)
        elif verdict == "reject":
            reject_instance(ask.site.database, found.id, actor=ask.actor)
        else:
            raise WrongState("admit or reject it")
    except WorkerError as error:
        return _held(ask, error)
    parts.of(ask).changed()
    return go_to(f"/film/{found.id}")


def _admitted(ask: Ask, title: str, networks: tuple[Network, ...]) -> str:
    with parts.of(ask).options.compare() as compare:
        peer, released = admit_sender(ask.site.database, title, networks, actor=ask.actor, compare=compare)
    ended = f" Here already, and not scored again: {counted(released.ended, 'film')}." if released.ended else ""
    return f"{title} is a peer, from {spoken(peer.networks)}; {_objects(released)} left the quarantine.{ended}"


def _peers(ask: Ask, told: str = "") -> Response:
    operations = parts.of(ask)
    look = operations.peers.newest()
    again = ask.request.headers.get("hx-history-restore-request") == "true"
    return ask.site.page(
        "operations_peers_now.html" if ask.of_htmx and not again else "operations_peers.html",
        ask,
        told=told,
        look=look,
        strangers=operations.options.strangers,
        spoken=spoken,
        further=FURTHER,
        kept_word=kept_word,
    )


def _sender(ask: Ask, title: str, address: str, error: WorkerError | None = None) -> Response:
    with reading(ask.site.database) as connection:
        groups = [one for one in held_senders(connection) if (one.calling_ae, one.address) == (title, address)]
        objects = held_objects(connection, title, address, limit=MOST_SHOWN)
    if not objects and not error:
        raise NotFound("Nothing of this sender is in quarantine any more. The page of peers shows what is.")
    return ask.site.page(
        "operations_sender.html",
        ask,
        status=parts.status_of(error) if error else 200,
        wrong=str(error or ""),
        title=title,
        address=address,
        films=_number(groups, objects),
        why=objects[0].why if objects else Unknown.AE,
        certificate=objects[0].certificate_subject if objects else "",
        rights=", ".join(sorted(ALL)),
        objects=objects,
        class_name=class_name,
    )


def _held(ask: Ask, error: WorkerError | None = None) -> Response:
    with reading(ask.site.database) as connection:
        found = held_object(connection, find(ask.site.database, ask.path("id"))[0].id)
    if found is None:
        raise WrongState("It is not in quarantine any more: somebody was faster.")
    return ask.site.page(
        "operations_held.html",
        ask,
        status=parts.status_of(error) if error else 200,
        wrong=str(error or ""),
        held=found,
        kind=class_name(found.sop_class_uid),
    )


def _number(groups: list[HeldSender], objects: list[HeldObject]) -> str:
    if not groups:  # beyond the senders that are told apart
        return counted(len(objects), "object")
    return _objects(Released(films=sum(g.films for g in groups), other_objects=sum(g.other_objects for g in groups)))


def _objects(released: Released) -> str:
    others = f" and {counted(released.other_objects, 'other object')}" if released.other_objects else ""
    return f"{counted(released.films, 'film')}{others}"


def _network(address: str) -> tuple[Network, ...]:
    """The one address. Raises WrongState."""
    found = address_of(address)
    if found is None:
        raise WrongState("this sender's address cannot be read: 'xrayq peer admit AE --network CIDR' names one")
    return (ip_network(found),)


PAGES = (
    Page(path="/operations/peers", least=WebRole.VIEWER, answer=peers),
    Page(path="/operations/peers/sender", least=WebRole.VIEWER, answer=sender),
    Page(path="/operations/peers/sender", method="POST", least=WebRole.OPERATOR, answer=decide),
    Page(path="/operations/peers/held/{id:int}", least=WebRole.VIEWER, answer=held),
    Page(path="/operations/peers/held/{id:int}", method="POST", least=WebRole.OPERATOR, answer=decide_one),
)
