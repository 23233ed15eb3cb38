"""Bytes that are no DICOM, or not now (PS3.8 9.2 and 9.3)."""

import random
import struct

import pytest

from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.messages import MAX_COMMAND_SET
from tests.phantoms import chest_film
from tests.protocol.conftest import Node
from tests.protocol.raw import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    C_ECHO_RQ,
    C_STORE_RQ,
    ECHO_CONTEXT,
    RELEASE_RP,
    RELEASE_RQ,
    STORE_CONTEXT,
    Peer,
    associate_rq,
    command_set,
    pdata,
    pdv,
    store_command,
)
from tests.services import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ECHO = command_set(C_ECHO_RQ, sop_class=VERIFICATION)
UNRECOGNISED, UNEXPECTED, INVALID = 1, 2, 6
INSTANCE = chest_film("pdus").SOPInstanceUID


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", UNEXPECTED),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", UNEXPECTED),  # TLS ClientHello
        (bytes(64), UNEXPECTED),
        (RELEASE_RQ, UNEXPECTED),
        (pdata(pdv(ECHO_CONTEXT, ECHO, is_command=True)), UNEXPECTED),
        (struct.pack(">BxL", 1, 0xFFFFFFFF), INVALID),
        (struct.pack(">BxL", 1, 4) + b"\0\x01\0\0", INVALID),
        (struct.pack(">BxL", 1, 90) + random.Random(1).randbytes(90), INVALID),
    ],
    ids=["HTTP", "TLS", "zeros", "release", "data", "4 GB request", "empty request", "random request"],
)
def test_what_is_no_association_request_is_aborted(node: Node, sent: bytes, reason: int) -> None:
    with Peer(node.port) as peer:
        peer.send(sent)
        answer = peer.receive()
        assert answer is not None
        assert (answer.kind, tuple(answer.body)) == (ABORT, (0, 0, 2, reason))
        assert peer.is_closed()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (struct.pack(">BxL", 0x08, 4) + bytes(4), UNRECOGNISED),
        (struct.pack(">BxL", 0xFF, 0), UNRECOGNISED),
        (associate_rq(), UNEXPECTED),
        (struct.pack(">BxL", 0x06, 4) + bytes(4), UNEXPECTED),
        (pdata(b"\0\0\0"), INVALID),
        (pdata(struct.pack(">LBB", 1, 1, 3)), INVALID),
        (pdata(struct.pack(">LBB", 4000, 1, 3) + ECHO), INVALID),
        (pdata(pdv(99, ECHO, is_command=True)), INVALID),
        (pdata(pdv(ECHO_CONTEXT, b"", is_command=True)), INVALID),
        (pdata(pdv(ECHO_CONTEXT, random.Random(2).randbytes(200), is_command=True)), INVALID),
        (pdata(pdv(ECHO_CONTEXT, b"no command before it", is_command=False)), UNEXPECTED),
        (store_command(INSTANCE) + pdata(pdv(ECHO_CONTEXT, ECHO, is_command=True)), UNEXPECTED),
        (store_command(INSTANCE) + pdata(pdv(STORE_CONTEXT, ECHO, is_command=True)), UNEXPECTED),
        (store_command(INSTANCE) + pdata(pdv(ECHO_CONTEXT, b"other context", is_command=False)), UNEXPECTED),
        (
            pdata(pdv(ECHO_CONTEXT, bytes(15000), is_command=True, last=False)) * (MAX_COMMAND_SET // 15000 + 1),
            INVALID,
        ),
    ],
    ids=[
        "type 8", "type 255", "second request", "release response", "value header cut", "value too short",
        "value too long", "context not accepted", "empty command", "random command", "data first",
        "command in mid data, other context", "command in mid data", "data on another context", "endless command",
    ],
)  # fmt: skip
def test_what_breaks_an_association_is_aborted_with_its_reason(node: Node, sent: bytes, reason: int) -> None:
    with Peer(node.port) as peer:
        assert peer.associate().kind == ASSOCIATE_AC
        peer.send(sent)
        answer = peer.receive()
        assert answer is not None
        assert (answer.kind, tuple(answer.body)) == (ABORT, (0, 0, 2, reason))
        assert peer.is_closed()
    wait_until(lambda: not node.files(), 5, "the .part file to go")


def test_damaged_association_requests_are_answered_and_never_end_the_gateway(node: Node) -> None:
    dice = random.Random(3)
    request = associate_rq()
    for _ in range(150):
        damaged = bytearray(request)
        for position in dice.sample(range(6, len(request)), 3):
            damaged[position] = dice.randrange(256)
        with Peer(node.port, timeout=5) as peer:
            peer.send(bytes(damaged))
            answer = peer.receive()
            assert answer is not None
            assert answer.kind in (ASSOCIATE_AC, ASSOCIATE_RJ, ABORT)
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.echo() == 0x0000


def test_release_is_answered(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(RELEASE_RQ)
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == RELEASE_RP
        assert peer.is_closed()


def test_an_abort_ends_the_association_without_an_answer(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(struct.pack(">BxL", ABORT, 4) + bytes(4))
        assert peer.receive() is None


def test_a_command_in_many_fragments_is_one_command(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        for position in range(len(ECHO)):
            last = position == len(ECHO) - 1
            peer.send(pdata(pdv(ECHO_CONTEXT, ECHO[position : position + 1], is_command=True, last=last)))
        assert peer.response().Status == 0x0000


def test_two_messages_in_one_pdu_get_two_answers(node: Node) -> None:
    first, second = (command_set(C_ECHO_RQ, number, sop_class=VERIFICATION) for number in (7, 8))
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(pdata(pdv(ECHO_CONTEXT, first, is_command=True), pdv(ECHO_CONTEXT, second, is_command=True)))
        answers = [peer.response() for _ in range(2)]
    assert [answer.MessageIDBeingRespondedTo for answer in answers] == [7, 8]


@pytest.mark.parametrize("field", [0x0020, 0x0021, 0x0010, 0x0140, 0x8001])
def test_an_unknown_command_is_unrecognised_and_the_association_lives(node: Node, field: int) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(pdata(pdv(STORE_CONTEXT, command_set(field, 5), is_command=True)))
        answer = peer.response()
        assert (answer.Status, answer.MessageIDBeingRespondedTo) == (0x0211, 5)
        peer.send(
            pdata(pdv(STORE_CONTEXT, command_set(field, 6, has_data=True), is_command=True)),
            pdata(pdv(STORE_CONTEXT, b"an identifier", is_command=False)),
        )
        assert peer.response().Status == 0x0211
        assert peer.echo() == 0x0000


def test_a_cancel_has_no_answer(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(pdata(pdv(STORE_CONTEXT, command_set(0x0FFF, 5), is_command=True)))
        assert peer.echo(message_id=9) == 0x0000


@pytest.mark.parametrize(("instance", "status"), [(INSTANCE, 0xC005), ("", 0x0117)], ids=["valid", "no instance UID"])
def test_a_store_without_a_data_set_is_refused(node: Node, instance: str, status: int) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        command = command_set(C_STORE_RQ, instance=instance)
        peer.send(pdata(pdv(STORE_CONTEXT, command, is_command=True)))
        assert peer.response().Status == status
        assert peer.echo() == 0x0000
    assert node.files() == []
