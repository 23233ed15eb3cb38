"""The status of a C-STORE and what is left of it: success after durability, or a coded refusal and nothing."""

import hashlib
import os
import shutil
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from dicom_gateway.errors import REFUSALS, CannotListen, Refusal, StoreUnavailable
from dicom_gateway.options import Received
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.spool import Spool
from tests.phantoms import chest_film
from tests.protocol.conftest import Node
from tests.protocol.raw import (
    ABORT,
    ASSOCIATE_AC,
    C_STORE_RQ,
    DX,
    ECHO_CONTEXT,
    STORE_CONTEXT,
    Peer,
    command_set,
    contexts,
    dataset_bytes,
    pdata,
    pdv,
    store_command,
    store_fragments,
)
from tests.services import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FILM = chest_film("stored")
INSTANCE = str(FILM.SOPInstanceUID)
DATASET = dataset_bytes(FILM)
FULL = 1 << 60


def stored(node: Node, dataset: bytes = DATASET, instance: str = INSTANCE, **command: Any) -> Dataset:
    """C-STORE over its own association, which must survive it."""
    with Peer(node.port) as peer:
        assert peer.associate().kind == ASSOCIATE_AC
        answer = peer.store(dataset, instance, **command)
        assert peer.echo() == 0x0000
    return answer


def nested(depth: int, *, ended: bool) -> bytes:
    """Referenced Image Sequences of undefined length inside each other, then the rest of the film."""
    opening = struct.pack("<HH2sxxL", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    start = DATASET.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    return DATASET[:start] + opening * depth + closing * depth * ended + DATASET[start:]


def test_a_film_is_durable_named_by_its_digest_and_private(node: Node) -> None:
    answer = stored(node)
    assert answer.Status == 0x0000
    assert (answer.AffectedSOPInstanceUID, answer.AffectedSOPClassUID) == (INSTANCE, DX)
    assert "ErrorComment" not in answer
    (received,) = node.accepted
    digest = hashlib.sha256(received.path.read_bytes()).hexdigest()
    assert received.digest == received.path.stem == digest
    assert received.path.parent.name == digest[:2]
    assert received.size == received.path.stat().st_size
    assert stat.S_IMODE(received.path.stat().st_mode) == 0o600
    assert node.files() == [received.path]
    assert INSTANCE not in str(received.path)
    assert (received.calling_ae, received.called_ae) == ("RAW", "XRAYQ")
    assert received.header.sop_instance_uid == INSTANCE
    kept = dcmread(received.path)
    assert received.path.read_bytes().endswith(DATASET)
    assert kept.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert kept.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian


def test_the_same_bytes_again_are_one_file(node: Node) -> None:
    assert [stored(node).Status for _ in range(2)] == [0, 0]
    assert len(node.accepted) == 2
    assert node.files() == [node.accepted[0].path]


def test_command_and_data_set_in_one_pdu(node: Node) -> None:
    film = chest_film("one pdu", pixels=chest_film().pixel_array[:40, :40].copy())
    command = command_set(C_STORE_RQ, instance=film.SOPInstanceUID, has_data=True)
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(
            pdata(
                pdv(STORE_CONTEXT, command, is_command=True),
                pdv(STORE_CONTEXT, dataset_bytes(film), is_command=False),
            )
        )
        assert peer.response().Status == 0x0000
    assert len(node.accepted) == 1


@pytest.mark.parametrize("size", [100, 4084])
def test_tiny_fragments(start: Callable[..., Node], size: int) -> None:
    node = start(max_pdu=4096)
    dataset = DATASET if size > 1000 else dataset_bytes(chest_film("stored", pixels=FILM.pixel_array[:99, :99].copy()))
    with Peer(node.port) as peer:
        peer.associate(max_pdu=4096)
        peer.send(store_command(INSTANCE), *store_fragments(dataset, size))
        assert peer.response().Status == 0x0000
    assert node.accepted[0].path.read_bytes().endswith(dataset)


@pytest.mark.parametrize("size", [1, 16000])
def test_an_empty_last_fragment_ends_the_data_set(node: Node, size: int) -> None:
    cut = len(DATASET) - size
    with Peer(node.port) as peer:
        peer.associate()
        parts = [DATASET[:cut][start : start + 16000] for start in range(0, cut, 16000)] + [DATASET[cut:]]
        peer.send(store_command(INSTANCE))
        peer.send(*(pdata(pdv(STORE_CONTEXT, part, is_command=False, last=False)) for part in parts))
        peer.send(pdata(pdv(STORE_CONTEXT, b"", is_command=False)))
        assert peer.response().Status == 0x0000


def test_many_films_on_one_association_and_a_bad_one_between(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        datasets = [DATASET, DATASET[:-100], DATASET]
        answers = [peer.store(data, INSTANCE, message_id=number) for number, data in enumerate(datasets, 5)]
    assert [answer.Status for answer in answers] == [0, 0xC001, 0]
    assert [answer.MessageIDBeingRespondedTo for answer in answers] == [5, 6, 7]


@pytest.mark.parametrize(
    ("dataset", "command", "status"),
    [
        (DATASET, {"instance": "1.2.3"}, 0xA901),
        (DATASET, {"sop_class": uid.CTImageStorage}, 0xA900),
        (dataset_bytes(chest_film("stored", SOPClassUID=uid.CTImageStorage)), {}, 0xA900),
        (DATASET, {"instance": ""}, 0x0117),
        (DATASET, {"instance": "../../etc/passwd"}, 0x0117),
        (DATASET, {"instance": "1.2.x"}, 0x0117),
        (DATASET[:-1], {}, 0xC001),
        (DATASET[: len(DATASET) // 2], {}, 0xC001),
        (DATASET[:3], {}, 0xC001),
        (b"", {}, 0xC001),
        (b"\xff" * 3000, {}, 0xC001),
        (bytes(3000), {}, 0xC004),
        (nested(5000, ended=True), {}, 0xC003),
        (nested(5000, ended=False), {}, 0xC003),
        (nested(20, ended=False), {}, 0xC001),
        (nested(20, ended=True), {}, 0x0000),
        (dataset_bytes(chest_film("stored", SOPInstanceUID=None)), {}, 0xC004),
        (dataset_bytes(chest_film("stored", SOPClassUID=None)), {}, 0xC004),
    ],
    ids=[
        "other instance", "other class in command", "other class in data", "empty instance", "path as instance",
        "letters in instance", "last byte missing", "half", "three bytes", "empty", "ones", "zeros", "nested 5000",
        "nested 5000 unended", "nested 20 unended", "nested 20", "no instance in data", "no class in data",
    ],
)  # fmt: skip
def test_the_status_says_what_is_wrong_and_nothing_is_kept(
    node: Node, dataset: bytes, command: dict[str, str], status: int
) -> None:
    answer = stored(node, dataset, **command)
    assert f"0x{answer.Status:04X}" == f"0x{status:04X}"
    assert bool(answer.get("ErrorComment")) == (status != 0)
    assert len(node.files()) == len(node.accepted) == (status == 0)


def test_more_than_the_limit_is_refused_after_reading_all_of_it(start: Callable[..., Node], tmp_path: Path) -> None:
    spool = Spool(tmp_path / "small", reserve_bytes=0, max_bytes=100_000)
    node = start(spool=spool)
    assert stored(node).Status == 0xA701
    assert node.files() == []
    small = chest_film("stored", pixels=FILM.pixel_array[:99, :99].copy())
    assert stored(node, dataset_bytes(small)).Status == 0x0000


def test_below_the_reserve_nothing_is_taken(start: Callable[..., Node], tmp_path: Path) -> None:
    node = start(spool=Spool(tmp_path / "full", reserve_bytes=FULL))
    assert stored(node).Status == 0xA700
    assert node.files() == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting a small file system is not permitted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_keeps_nothing_and_recovers(start: Callable[..., Node], tiny_disk: Path) -> None:
    node = start(spool=Spool(tiny_disk / "spool", reserve_bytes=0))
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(tiny_disk).free - 200_000))
    for _ in range(5):
        assert stored(node).Status == 0xA700
    assert node.files() == []
    ballast.unlink()
    assert stored(node).Status == 0x0000


def test_a_spool_that_is_gone_is_unavailable(start: Callable[..., Node], tmp_path: Path) -> None:
    node = start(spool=Spool(tmp_path / "gone", reserve_bytes=0))
    shutil.rmtree(node.spool.root)
    assert stored(node).Status == 0xA702


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_of_accept_is_the_status(start: Callable[..., Node], refusal: type[Refusal]) -> None:
    def accept(_: Received) -> None:
        raise refusal

    answer = stored(start(accept=accept))
    assert (answer.Status, answer.ErrorComment) == (refusal.status, refusal.comment)


@pytest.mark.parametrize("error", [RuntimeError, OSError, TimeoutError, ConnectionResetError, KeyError, MemoryError])
def test_an_accept_that_breaks_is_never_success(start: Callable[..., Node], error: type[Exception]) -> None:
    outcomes: list[type[Exception] | None] = [error, None]

    def accept(_: Received) -> None:
        if outcome := outcomes.pop(0):
            raise outcome("Secret^Person")

    node = start(accept=accept)
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(store_command(INSTANCE), *store_fragments(DATASET))
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
    assert stored(node).Status == 0x0000


def test_success_waits_for_accept(start: Callable[..., Node]) -> None:
    entered, committed = threading.Event(), threading.Event()

    def accept(received: Received) -> None:
        assert received.path.exists()
        entered.set()
        if not committed.wait(10):
            raise StoreUnavailable

    node = start(accept=accept)
    with Peer(node.port, timeout=0.3) as peer:
        peer.associate()
        peer.send(store_command(INSTANCE), *store_fragments(DATASET))
        assert entered.wait(30)
        with pytest.raises(TimeoutError):
            peer.response()
        committed.set()
        peer.socket.settimeout(10)
        assert peer.response().Status == 0x0000


def test_stop_lets_a_running_store_end(start: Callable[..., Node]) -> None:
    entered, committed = threading.Event(), threading.Event()

    def accept(_: Received) -> None:
        entered.set()
        assert committed.wait(60)

    node = start(accept=accept)
    port = node.port
    with Peer(port) as peer, Peer(port) as resting:
        resting.associate()
        peer.associate()
        peer.send(store_command(INSTANCE), *store_fragments(DATASET))
        assert entered.wait(30)
        stopping = threading.Thread(target=node.gateway.stop)
        stopping.start()
        wait_until(lambda: not listens(port), 5, "the port to close")
        committed.set()
        assert peer.response().Status == 0x0000
        stopping.join(30)
        assert not stopping.is_alive()
        assert peer.is_closed()
        assert resting.is_closed()


def test_stop_frees_the_port_at_once(start: Callable[..., Node]) -> None:
    first = start()
    port = first.port
    first.gateway.stop()
    assert not listens(port)
    assert stored(start(port=port)).Status == 0x0000


def test_stop_gives_up_after_the_grace(start: Callable[..., Node]) -> None:
    node = start(network_timeout=60.0)
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(store_command(INSTANCE), *store_fragments(DATASET)[:2])
        wait_until(node.files, 5, "a .part file")
        node.gateway.stop(grace=0.1)
        assert peer.is_closed()
    wait_until(lambda: not node.files(), 5, "the .part file to go")


def listens(port: int) -> bool:
    try:
        Peer(port).socket.close()
    except ConnectionError:
        return False
    return True


def test_a_port_in_use_is_an_error_at_start(node: Node, start: Callable[..., Node]) -> None:
    with pytest.raises(CannotListen, match=str(node.port)) as raised:
        start(port=node.port)
    assert "in use" in str(raised.value.error)


def test_a_store_on_the_verification_context_is_refused(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        command = command_set(C_STORE_RQ, instance=INSTANCE, has_data=True)
        peer.send(pdata(pdv(ECHO_CONTEXT, command, is_command=True)))
        peer.send(pdata(pdv(ECHO_CONTEXT, b"data", is_command=False)))
        assert peer.response().Status == 0xA900
    assert node.files() == []


def test_explicit_bytes_on_an_implicit_context_are_kept_as_sent_and_readable(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate(context_list=contexts(syntax=uid.ImplicitVRLittleEndian))
        assert peer.store(DATASET, INSTANCE).Status == 0x0000
    path = node.accepted[0].path
    assert path.read_bytes().endswith(DATASET)
    assert np.array_equal(read_radiograph(path).pixels, FILM.pixel_array)
