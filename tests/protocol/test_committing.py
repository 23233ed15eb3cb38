"""Storage commitment as SCP: who may ask, what is answered, and the report on the association of the question."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from dicom_gateway import committing
from dicom_gateway.commitment import WELL_KNOWN_INSTANCE
from dicom_gateway.committing import MOST_BYTES, CommitmentAnswer, CommitmentRequest
from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.errors import RequestRefusal
from tests.modality import Modality
from tests.protocol.conftest import Node
from tests.protocol.raw import (
    RELEASE_RP,
    RELEASE_RQ,
    STORE_CONTEXT,
    Peer,
    contexts,
    dataset_bytes,
    pdata,
    pdv,
)
from tests.services import wait_until

DX = uid.DigitalXRayImageStorageForPresentation
ASKED = {"2.25.7": DX, "2.25.8": DX}


class Owed:
    """A report that is ready after so many parts, and what became of it."""

    def __init__(self, request: CommitmentRequest, *, failed: dict[str, int], parts: int = 0) -> None:
        self.request, self.failed, self.parts = request, failed, parts
        self.ends: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def steps(self) -> Iterator[CommitmentAnswer | None]:
        for _ in range(self.parts):
            yield None
        self.goes_on.wait(30)
        transaction, objects = self.request.transaction_uid, self.request.objects
        yield CommitmentAnswer(transaction_uid=transaction, objects=objects, failed=self.failed)

    def reported(self, status: int | None) -> None:
        self.ends.append(f"0x{status:04X}")

    def leave(self) -> None:
        self.ends.append("left")


@pytest.fixture
def asked() -> list[Owed]:
    return []


@pytest.fixture
def node(start: Callable[..., Node], asked: list[Owed]) -> Node:
    def take(request: CommitmentRequest) -> Owed:
        asked.append(Owed(request, failed={"2.25.8": 0x0112} if len(request.objects) > 1 else {}, parts=3))
        return asked[-1]

    return start(asked=take)


@pytest.mark.parametrize("role", [True, False], ids=["with its role", "without"])
def test_the_report_comes_on_the_association_of_the_question(node: Node, asked: list[Owed], role: bool) -> None:
    modality = Modality()
    association = modality.asks(node.port, role=role)
    status, transaction = modality.request(association, ASKED)
    assert status == 0
    (report,) = wait_until(lambda: modality.reports, 10, "the report")
    assert (report.event_type, report.transaction_uid) == (2, transaction)
    assert (report.held, report.failed) == ({"2.25.7": DX}, {"2.25.8": 0x0112})
    modality.answers = [0x0110]
    assert modality.request(association, {"2.25.7": DX})[0] == 0
    wait_until(lambda: len(modality.reports) == 2, 10, "the second report")
    assert (modality.reports[1].event_type, modality.reports[1].failed) == (1, {})
    wait_until(lambda: [owed.ends for owed in asked] == [["0x0000"], ["0x0110"]], 10, "its answers")
    association.release()
    assert [owed.request.calling_ae for owed in asked] == ["CR1", "CR1"]


def test_who_leaves_at_once_has_its_answer_first(node: Node, asked: list[Owed]) -> None:
    modality = Modality()
    association = modality.asks(node.port)
    assert modality.request(association, ASKED)[0] == 0
    association.release()
    assert association.is_released
    wait_until(lambda: asked[0].ends == ["left"], 10, "another way")
    assert modality.reports == []


def command(**changed: Any) -> bytes:
    request = Dataset()
    request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
    request.CommandField, request.MessageID, request.ActionTypeID, request.CommandDataSetType = 0x0130, 7, 1, 1
    for keyword, value in changed.items():
        setattr(request, keyword, value)
    body = encode(request, True, True)
    assert body is not None
    return body


def information(transaction: str = "2.25.1", *objects: tuple[str, str]) -> bytes:
    said, items = Dataset(), []
    said.TransactionUID = transaction
    for instance, of_class in objects:
        items.append(Dataset())
        items[-1].ReferencedSOPClassUID, items[-1].ReferencedSOPInstanceUID = of_class, instance
    said.ReferencedSOPSequence = items
    return dataset_bytes(said)


GOOD = information("2.25.1", ("2.25.7", DX))


def answered(peer: Peer, command_set: bytes, data: bytes | None) -> Dataset:
    peer.send(pdata(pdv(STORE_CONTEXT, command_set, is_command=True)))
    for place in range(0, len(data or b""), 16000):
        part, last = (data or b"")[place : place + 16000], place + 16000 >= len(data or b"")
        peer.send(pdata(pdv(STORE_CONTEXT, part, is_command=False, last=last)))
    return peer.response()


@pytest.mark.parametrize(
    ("command_set", "data", "status"),
    [
        (command(), GOOD, 0x0000),
        (command(ActionTypeID=2), GOOD, 0x0123),
        (command(RequestedSOPInstanceUID="1.2.3"), GOOD, 0x0112),
        (command(RequestedSOPClassUID=DX), GOOD, 0x0118),
        (command(CommandDataSetType=0x0101), None, 0x0115),
        (command(), information("", ("2.25.7", DX)), 0x0115),
        (command(), information("2.25.1"), 0x0115),
        (command(), information("2.25.1", ("2.25.7", "")), 0x0115),
        (command(), information("2.25.1", ("2.25.7", DX), ("2.25.7", uid.CTImageStorage)), 0x0115),
        (command(), GOOD[:-9], 0x0115),
        (command(), b"\xff" * 100, 0x0115),
        (command(), information("2.25.1", *((f"2.25.{number}", DX) for number in range(11))), 0x0213),
        (command(), bytes(MOST_BYTES + 2), 0x0213),
    ],
    ids=[
        *("good", "other action", "other instance", "other class", "no data set", "no transaction", "no objects"),
        *("no class", "two classes", "cut short", "no data", "too many", "too large"),
    ],
)
def test_the_status_of_a_request(
    node: Node,
    asked: list[Owed],
    monkeypatch: pytest.MonkeyPatch,
    command_set: bytes,
    data: bytes | None,
    status: int,
) -> None:
    monkeypatch.setattr(committing, "MOST_OBJECTS", 10)
    with Peer(node.port) as peer:
        peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
        answer = answered(peer, command_set, data)
        assert (answer.Status, answer.CommandField, answer.MessageIDBeingRespondedTo) == (status, 0x8130, 7)
        assert len(asked) == (status == 0)
        assert peer.echo() == 0, "the association goes on"


def test_half_a_request_is_nothing(node: Node, asked: list[Owed]) -> None:
    with Peer(node.port) as peer:
        peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
        peer.send(pdata(pdv(STORE_CONTEXT, command(), is_command=True)))
        peer.send(pdata(pdv(STORE_CONTEXT, GOOD[:20], is_command=False, last=False)))
        assert peer.is_closed(), "silent inside a message"
    assert asked == []


def test_what_comes_before_the_report_goes_first(node: Node, asked: list[Owed]) -> None:
    """An answer that nobody waits for is passed over; so is one that names another message."""
    response = command(CommandField=0x8100, Status=0, CommandDataSetType=0x0101, MessageIDBeingRespondedTo=9)
    with Peer(node.port) as peer:
        peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
        peer.send(pdata(pdv(STORE_CONTEXT, response, is_command=True)))
        assert answered(peer, command(), GOOD).Status == 0
        assert [peer.echo() for _ in range(20)] == [0] * 20
        report = peer.response()
        assert (report.CommandField, report.EventTypeID) == (0x0100, 1)
        peer.receive()  # its data set
        peer.send(pdata(pdv(STORE_CONTEXT, response, is_command=True)))
        peer.send(RELEASE_RQ)
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == RELEASE_RP
    wait_until(lambda: asked[0].ends == ["left"], 10, "another way")


def test_what_the_database_does_not_take_is_to_be_asked_again(start: Callable[..., Node]) -> None:
    def away(_: CommitmentRequest) -> Owed:
        raise RequestRefusal

    with Peer(start(asked=away).port) as peer:
        peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
        assert answered(peer, command(), GOOD).Status == 0x0110


def test_a_scp_alone_asks_for_nothing(start: Callable[..., Node], asked: list[Owed]) -> None:
    """It proposes to be SCP, and not SCU: we answer its N-ACTION no more. Both roles are agreed on as we serve them."""
    from pynetdicom import AE, build_context, build_role

    serves = {"asked": lambda _: asked[0], "committed": lambda _: None}
    for scu, scp, ours, agreed in (
        (False, True, serves, (False, True)),
        (True, True, serves, (True, True)),
        (True, True, {"asked": serves["asked"]}, (True, False)),
        (True, False, {"committed": serves["committed"]}, None),
    ):
        role = build_role(STORAGE_COMMITMENT, scu_role=scu, scp_role=scp)
        proposed = [build_context(STORAGE_COMMITMENT)]
        association = AE().associate("127.0.0.1", start(**ours).port, contexts=proposed, ext_neg=[role])
        found = [(context.as_scu, context.as_scp) for context in association.accepted_contexts]
        association.release() if association.is_established else association.abort()
        assert found == ([agreed] if agreed else []), (scu, scp, ours)
