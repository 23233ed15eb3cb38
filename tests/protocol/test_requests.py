"""What a peer may say in its A-ASSOCIATE-RQ. Whatever can be understood is let in, and its films are stored."""

import logging
import struct
from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from dicom_gateway.association import MAX_ASSOCIATE_PDU
from tests.phantoms import chest_film
from tests.protocol.conftest import Node
from tests.protocol.raw import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    DX,
    STORE_CONTEXT,
    Peer,
    context_item,
    dataset_bytes,
    item,
    request,
    request_body,
    store_command,
    store_fragments,
)
from tests.protocol.test_negotiation import results
from tests.protocol.test_observer import Notes
from tests.services import wait_until

CLASS, EXPLICIT, IMPLICIT = DX.encode(), b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"
MWL = b"1.2.840.10008.5.1.4.31"
STORE = context_item(STORE_CONTEXT, CLASS, EXPLICIT)
USUAL = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3.4.5")
ROLE = item(0x54, struct.pack(">H", len(CLASS)) + CLASS + b"\1\1")


def information(*more: bytes) -> bytes:
    return item(0x50, USUAL + b"".join(more))


def identity(kind: int, wanted: int, *fields: bytes) -> bytes:
    return item(0x58, bytes((kind, wanted)) + b"".join(struct.pack(">H", len(one)) + one for one in fields))


USER_INFORMATION: dict[str, bytes] = {
    "version name with NUL": information(item(0x55, b"DRX_1.2\0")),
    "version name of 20 characters": information(item(0x55, b"CONSOLE_V1.2.3.45678")),
    "version name of 1,000 characters": information(item(0x55, b"V" * 1000)),
    "empty version name": information(item(0x55, b"")),
    "version name in another alphabet": information(item(0x55, "Gerät".encode())),
    "two version names": information(item(0x55, b"A"), item(0x55, b"B")),
    "unknown sub-item": information(item(0x5A, b"abcd")),
    "unknown empty sub-item": information(item(0xFF, b"")),
    "sub-item 0": information(item(0x00, b"\0\0")),
    "user identity": information(identity(1, 0, b"me", b"")),
    "user identity with an answer wanted": information(identity(2, 1, b"me", b"secret")),
    "user identity of an unknown type": information(identity(9, 1, b"\xff" * 300, b"")),
    "user identity cut short": information(item(0x58, b"\1\0\0\x20ab")),
    "empty user identity": information(item(0x58, b"")),
    "role selection": information(ROLE),
    "role selection, both 0": information(ROLE[:-2] + b"\0\0"),
    "role selection with other values": information(ROLE[:-2] + b"\7\xff"),
    "role selection longer than itself": information(item(0x54, b"\xff\xff1.2")),
    "empty role selection": information(item(0x54, b"")),
    "two role selections": information(ROLE, ROLE[:-2] + b"\0\1"),
    "asynchronous operations": information(item(0x53, b"\0\5\0\5")),
    "asynchronous operations cut short": information(item(0x53, b"\0")),
    "extended negotiation": information(item(0x56, struct.pack(">H", len(CLASS)) + CLASS + b"\2\0\3\0\1\0")),
    "extended negotiation cut short": information(item(0x56, b"\0")),
    "common extended negotiation": information(item(0x57, struct.pack(">H", len(CLASS)) + CLASS + b"\0\0\0\0")),
    "common extended negotiation cut short": information(item(0x57, b"\0\x40" + CLASS)),
    "implementation class that is no UID": information(item(0x52, b"vendor")),
    "empty implementation class": information(item(0x52, b"")),
    "no implementation class": item(0x50, item(0x51, struct.pack(">L", 16384))),
    "a sub-item longer than the rest": item(0x50, USUAL + struct.pack(">BxH", 0x55, 400) + b"V"),
    "no user information": b"",
    "empty user information": item(0x50, b""),
    "user information twice": information() + information(),
    "maximum length missing": item(0x50, item(0x52, b"1.2.3.4.5")),
    "maximum length 0": item(0x50, item(0x51, bytes(4))),
    "maximum length 1": item(0x50, item(0x51, struct.pack(">L", 1))),
    "maximum length 20": item(0x50, item(0x51, struct.pack(">L", 20))),
    "maximum length of 4 GB": item(0x50, item(0x51, b"\xff" * 4)),
    "maximum length of two bytes": item(0x50, item(0x51, b"\1\0")),
}

OTHER = 1
"""The id of the context beside the good one."""
BAD_CONTEXTS: dict[str, tuple[bytes, int | None]] = {
    "even id": (context_item(2, CLASS, EXPLICIT), None),
    "id 0": (context_item(0, CLASS, EXPLICIT), None),
    "no abstract syntax": (item(0x20, bytes((OTHER, 0, 0, 0)) + item(0x40, EXPLICIT)), 3),
    "empty abstract syntax": (context_item(OTHER, b"", EXPLICIT), 3),
    "abstract syntax that is no UID": (context_item(OTHER, b"CT\xff\0Image", EXPLICIT), 3),
    "abstract syntax of 65 digits": (context_item(OTHER, b"1." + b"2" * 63, EXPLICIT), 3),
    "a class that is not stored": (context_item(OTHER, MWL, EXPLICIT), 3),
    "no transfer syntax": (context_item(OTHER, CLASS), 4),
    "empty transfer syntax": (context_item(OTHER, CLASS, b""), 4),
    "transfer syntax that is no UID": (context_item(OTHER, CLASS, b"JPEG"), 4),
    "garbage": (item(0x20, bytes((OTHER, 0, 0, 0)) + b"\x30\0\xff\xffgarbage"), 3),
    "garbage behind the class": (item(0x20, bytes((OTHER, 0, 0, 0)) + item(0x30, CLASS) + b"\x40\0\xff\xff.."), 4),
    "an id alone": (item(0x20, bytes((OTHER,))), 3),
    "an empty context": (item(0x20, b""), None),
}

GOOD_CONTEXTS: dict[str, bytes] = {
    "UIDs padded with NUL": context_item(STORE_CONTEXT, CLASS + b"\0", EXPLICIT + b"\0\0"),
    "UIDs padded with spaces": context_item(STORE_CONTEXT, b" " + CLASS + b" ", b" " + EXPLICIT + b"  "),
    "reserved bytes": item(0x20, bytes((STORE_CONTEXT, 1, 2, 3)) + item(0x30, CLASS) + item(0x40, EXPLICIT)),
    "an unknown sub-item": item(0x20, STORE[4:] + item(0x77, b"abc")),
    "a transfer syntax that is none beside one": context_item(STORE_CONTEXT, CLASS, b"", b"\xff", EXPLICIT),
    "one transfer syntax twice": context_item(STORE_CONTEXT, CLASS, EXPLICIT, EXPLICIT),
    "the same context twice": STORE + STORE,
    "its id again for another class": STORE + context_item(STORE_CONTEXT, MWL, EXPLICIT),
    "its id before for another class": context_item(STORE_CONTEXT, MWL, EXPLICIT) + STORE,
    "its id again for another class that is stored": STORE
    + context_item(STORE_CONTEXT, b"1.2.840.10008.5.1.4.1.1.1", EXPLICIT),
    "130 others": b"".join(context_item(2 * number % 256 | 1, MWL, EXPLICIT) for number in range(130)) + STORE,
}

WHOLE: dict[str, bytes] = {
    "unknown items": request_body(item(0x99, b"abc") + STORE + item(0x00, b""), information() + item(0x60, b"1")),
    "items in another order": request_body(
        information() + STORE, item(0x10, b"1.2.840.10008.3.1.1.1"), application=b""
    ),
    "padded application context": request_body(
        STORE, information(), application=item(0x10, b"1.2.840.10008.3.1.1.1\0")
    ),
    "reserved fields": request_body(STORE, information(), reserved=bytes(range(1, 33))),
    "another protocol version": request_body(STORE, information(), version=3),
    "NULs behind the last item": request_body(STORE, information()) + bytes(2),
    "reserved bytes of items": request_body(
        b"".join(bytes((one[0], 0xAA)) + one[2:] for one in (STORE,)), b"\x50\xaa" + information()[2:]
    ),
}

BROKEN: dict[str, bytes] = {
    "an item longer than the PDU": request(request_body(STORE, information())[:-9]),
    "a context longer than the PDU": request(request_body(STORE[:4] + STORE[4:30], b"")),
    "bytes behind the last item": request(request_body(STORE, information()) + b"\x50\0\1"),
    "too long": request(request_body(STORE, information()), MAX_ASSOCIATE_PDU + 1),
    "longer than what comes": request(request_body(STORE, information()), 5000),
}


def stored(peer: Peer, name: str) -> int:
    film: Dataset = chest_film(name)
    return int(peer.store(dataset_bytes(film), film.SOPInstanceUID).Status)


def let_in(peer: Peer, body: bytes) -> dict[int, tuple[int, str]]:
    """The results of the presentation contexts."""
    peer.send(request(body))
    answer = peer.receive()
    assert answer is not None
    assert answer.kind == ASSOCIATE_AC
    return results(answer)


@pytest.mark.parametrize("name", USER_INFORMATION)
def test_user_information_keeps_no_film_out(node: Node, name: str) -> None:
    with Peer(node.port) as peer:
        assert let_in(peer, request_body(STORE, USER_INFORMATION[name])) == {STORE_CONTEXT: (0, EXPLICIT.decode())}
        assert stored(peer, name) == 0x0000


@pytest.mark.parametrize("largest", [8, 9, 20, 100])
def test_no_pdu_is_longer_than_the_peer_takes(node: Node, largest: int) -> None:
    with Peer(node.port) as peer:
        let_in(peer, request_body(STORE, item(0x50, item(0x51, struct.pack(">L", largest)))))
        film = chest_film("short")
        peer.send(store_command(film.SOPInstanceUID), *store_fragments(dataset_bytes(film)))
        lengths, control = [], 0
        while not control & 2:
            pdu = peer.receive()
            assert pdu is not None
            lengths.append(len(pdu.body))
            control = pdu.body[5]
    assert max(lengths) <= largest
    assert node.accepted


@pytest.mark.parametrize("name", BAD_CONTEXTS)
def test_a_bad_context_is_refused_alone(node: Node, name: str) -> None:
    bad, result = BAD_CONTEXTS[name]
    for contexts in (bad + STORE, STORE + bad):
        with Peer(node.port) as peer:
            found = let_in(peer, request_body(contexts, information()))
            assert found[STORE_CONTEXT][0] == 0
            assert [one for context_id, (one, _) in found.items() if one == 0 and context_id != STORE_CONTEXT] == []
            assert result is None or found[OTHER][0] == result
            assert stored(peer, name) == 0x0000


@pytest.mark.parametrize("name", GOOD_CONTEXTS)
def test_a_context_that_can_be_understood_is_accepted(node: Node, name: str) -> None:
    with Peer(node.port) as peer:
        found = let_in(peer, request_body(GOOD_CONTEXTS[name], information()))
        assert (found[STORE_CONTEXT][0], found[STORE_CONTEXT][1].strip("\0 ")) == (0, EXPLICIT.decode())
        assert stored(peer, name) == 0x0000


@pytest.mark.parametrize("name", WHOLE)
def test_what_else_is_in_a_request_keeps_no_film_out(node: Node, name: str) -> None:
    with Peer(node.port) as peer:
        assert let_in(peer, WHOLE[name])[STORE_CONTEXT][0] == 0
        assert stored(peer, name) == 0x0000


def test_what_is_reserved_comes_back(node: Node) -> None:
    """PS3.8 Table 9-17: titles and the 32 bytes behind them, as they came."""
    with Peer(node.port) as peer:
        body = request_body(STORE, information(), reserved=bytes(range(32)), calling=b"CR1\0old")
        peer.send(request(body))
        answer = peer.receive()
        assert answer is not None
        assert answer.body[4:68] == body[4:68]


def test_a_padded_transfer_syntax_comes_back_as_it_came(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.send(request(request_body(GOOD_CONTEXTS["UIDs padded with NUL"], information())))
        answer = peer.receive()
        assert answer is not None
        assert item(0x40, EXPLICIT + b"\0\0") in answer.body


@pytest.mark.parametrize("application", [b"", item(0x10, b""), item(0x10, b"1.2.840.10008.3.1.1.2")])
def test_another_application_context_is_rejected(node: Node, application: bytes) -> None:
    with Peer(node.port) as peer:
        peer.send(request(request_body(STORE, information(), application=application)))
        answer = peer.receive()
        assert answer is not None
        assert (answer.kind, tuple(answer.body[1:4])) == (ASSOCIATE_RJ, (1, 1, 2))


@pytest.mark.parametrize("name", BROKEN)
def test_lengths_that_contradict_the_pdu_are_an_abort_with_the_title(
    start: Callable[..., Node], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    notes = Notes()
    node = start(observer=notes)
    with caplog.at_level(logging.INFO, "xrayq"), Peer(node.port) as peer:
        peer.send(BROKEN[name])
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
        wait_until(lambda: len(caplog.records) == 1, 5, "the log's line")
    (line,) = caplog.records
    assert (line.message, vars(line)["calling_ae"], vars(line)["called_ae"]) == ("association aborted", "RAW", "XRAYQ")
    assert notes.told == [("rejected", "RAW", "NO_REQUEST")]


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (struct.pack(">BxLBBBB", 0x07, 4, 0, 0, 2, 6), "peer left without a release"),
        (struct.pack(">BxL", 0x07, 0), "peer left without a release"),
        (struct.pack(">BxL", 0x04, 3) + b"abc", "association aborted"),
        (b"GET / HTTP/1.0\r\n\r\n", "association aborted"),
        (b"", "peer left without a release"),
    ],
    ids=["abort", "empty abort", "data", "HTTP", "gone"],
)
def test_every_end_but_a_release_has_a_line_with_the_title(
    start: Callable[..., Node], caplog: pytest.LogCaptureFixture, last: bytes, words: str
) -> None:
    notes = Notes()
    node = start(observer=notes)
    with caplog.at_level(logging.INFO, "xrayq"):
        with Peer(node.port) as peer:
            let_in(peer, request_body(STORE, information()))
            peer.send(last)
        wait_until(lambda: ("aborted", "RAW") in notes.told, 5, "the end")
    found = {line.message: vars(line) for line in caplog.records}
    assert (found[words]["calling_ae"], found[words]["called_ae"]) == ("RAW", "XRAYQ")


def test_a_peer_that_leaves_inside_its_request_is_told_by_its_title(start: Callable[..., Node]) -> None:
    notes = Notes()
    node = start(observer=notes)
    with Peer(node.port) as peer:
        peer.send(request(request_body(STORE, information()))[:-5])
    wait_until(lambda: notes.told == [("aborted", "RAW")], 5, "the end")
