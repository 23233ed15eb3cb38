"""No peer, however silent, slow or numerous, stands in another's way."""

import select
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from dicom_gateway.scp import SPARE_CONNECTIONS
from tests.phantoms import chest_film
from tests.protocol.conftest import Node
from tests.protocol.raw import (
    ABORT,
    ASSOCIATE_AC,
    ECHO_CONTEXT,
    P_DATA,
    Peer,
    associate_rq,
    command_set,
    dataset_bytes,
    pdata,
    pdv,
    store_command,
    store_fragments,
)
from tests.services import wait_until

CROWD = 500
FILM = chest_film("stalled")
DATASET = dataset_bytes(FILM)


def served_within(port: int) -> float:
    """Seconds from connecting to the C-ECHO's success."""
    began = time.monotonic()
    with Peer(port) as peer:
        assert peer.associate().kind == ASSOCIATE_AC
        assert peer.echo() == 0x0000
    return time.monotonic() - began


def ended_by_a_drop(peer: Peer) -> bool:
    """Sends one byte more; True when the gateway has answered or closed."""
    try:
        peer.send(b"\0")
        return bool(select.select([peer.socket], [], [], 0)[0])
    except (BrokenPipeError, ConnectionResetError):
        return True


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_probes_that_connect_and_close_delay_nobody(node: Node) -> None:
    for _ in range(12):
        Peer(node.port).socket.close()
    assert served_within(node.port) < 1


def test_silent_connections_delay_nobody_and_are_closed(node: Node) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(Peer(node.port)) for _ in range(12)]
        assert served_within(node.port) < 1
        assert all(peer.is_closed() for peer in silent)


@pytest.mark.parametrize("part", [b"\x01", b"\x01\0\0", struct.pack(">BxL", 1, 200) + b"\0\x01"])
def test_half_a_pdu_is_closed_within_seconds_and_delays_nobody(node: Node, part: bytes) -> None:
    began = time.monotonic()
    with Peer(node.port) as peer:
        peer.send(part)
        assert served_within(node.port) < 1
        assert peer.is_closed()
    assert time.monotonic() - began < 4


def test_a_request_that_drips_is_ended(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.send(struct.pack(">BxL", 1, 100 << 10))
        wait_until(lambda: ended_by_a_drop(peer), 15, "the gateway to end a request that drips")


def test_a_pdu_that_drips_is_ended(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(struct.pack(">BxL", P_DATA, 2000))
        wait_until(lambda: ended_by_a_drop(peer), 15, "the gateway to end a PDU that drips")


def test_a_slow_pdu_is_taken(start: Callable[..., Node]) -> None:
    node = start(network_timeout=1.5)
    whole = store_fragments(DATASET)
    first = whole[0]
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(store_command(FILM.SOPInstanceUID))
        began = time.monotonic()
        for position in range(0, len(first), 1200):
            peer.send(first[position : position + 1200])
            threading.Event().wait(0.15)
        assert time.monotonic() - began > 1.5
        peer.send(*whole[1:])
        assert peer.response().Status == 0x0000


def test_of_the_address_that_waits_most_the_oldest_gives_way(start: Callable[..., Node]) -> None:
    node = start(max_associations=1, association_timeout=60.0)
    with ExitStack() as stack:
        other = stack.enter_context(Peer(node.port, address="127.0.0.3"))
        for _ in range(SPARE_CONNECTIONS + 50):
            stack.enter_context(Peer(node.port, address="127.0.0.2"))
        assert served_within(node.port) < 5
        wait_until(lambda: node.gateway.established == 0, 5, "the release")
        assert other.associate().kind == ASSOCIATE_AC


def test_half_a_pdu_header_inside_an_association_is_aborted(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(b"\x04\0\0")
        assert served_within(node.port) < 1
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
        assert peer.is_closed()


@pytest.mark.parametrize(
    "sent",
    [
        store_command(FILM.SOPInstanceUID),
        store_command(FILM.SOPInstanceUID) + b"".join(store_fragments(DATASET)[:3]),
        store_command(FILM.SOPInstanceUID) + store_fragments(DATASET)[0][:1000],
        pdata(pdv(ECHO_CONTEXT, command_set(0x30, sop_class="1.2.840.10008.1.1")[:9], is_command=True, last=False)),
    ],
    ids=["after the command", "between PDUs", "inside a PDU", "inside a command set"],
)
def test_a_stall_inside_a_message_is_aborted_and_leaves_nothing(node: Node, sent: bytes) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(sent)
        assert served_within(node.port) < 1
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
    wait_until(lambda: not node.files(), 5, "the .part file to go")
    assert node.accepted == []


def test_a_vanished_sender_leaves_nothing(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(store_command(FILM.SOPInstanceUID), *store_fragments(DATASET)[:3])
        wait_until(lambda: len(node.files()) == 1, 5, "a .part file")
    wait_until(lambda: not node.files(), 5, "the .part file to go")
    assert node.accepted == []


def test_an_association_may_rest_longer_than_the_network_timeout(start: Callable[..., Node]) -> None:
    node = start(network_timeout=0.2, association_timeout=0.2)
    with Peer(node.port) as peer:
        peer.associate()
        threading.Event().wait(0.6)
        assert peer.echo() == 0x0000


def test_a_resting_association_ends_after_the_idle_timeout(start: Callable[..., Node]) -> None:
    node = start(idle_timeout=0.3)
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.is_closed()


def test_a_peer_that_never_reads_its_answers_is_dropped(start: Callable[..., Node]) -> None:
    node = start(network_timeout=0.5)
    with Peer(node.port, buffer=1024) as peer:
        peer.associate()
        echo = pdata(pdv(ECHO_CONTEXT, command_set(0x30, sop_class="1.2.840.10008.1.1"), is_command=True))

        def floods() -> bool:
            try:
                peer.send(echo * 200)
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        wait_until(floods, 20, "the gateway to drop a peer that does not read")
    assert served_within(node.port) < 1


@pytest.mark.parametrize("associated", [False, True], ids=["connections", "associations"])
def test_a_crowd_at_rest_costs_little(start: Callable[..., Node], many_files: None, associated: bool) -> None:
    node = start(association_timeout=60.0)
    before = resident_bytes()
    request = associate_rq()
    with ExitStack() as stack:
        crowd = [stack.enter_context(Peer(node.port)) for _ in range(CROWD)]
        for peer in crowd if associated else ():
            peer.send(request)
        for peer in crowd if associated else ():
            answer = peer.receive()
            assert answer is not None
            assert answer.kind == ASSOCIATE_AC
        wait_until(lambda: len(node.gateway._open) >= CROWD, 30, "the crowd to be let in")
        assert served_within(node.port) < 2
        assert resident_bytes() - before < 160 << 20
        began = time.process_time()
        threading.Event().wait(1)
        assert time.process_time() - began < 0.2
        assert served_within(node.port) < 2


def test_a_pdu_of_4_gb_is_aborted_unread(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(struct.pack(">BxL", P_DATA, 0xFFFFFFFF))
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
    assert served_within(node.port) < 1
