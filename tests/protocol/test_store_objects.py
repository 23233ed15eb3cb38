"""C-STORE of our own objects: nothing is lost in pynetdicom, and nothing of ours waits without end."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse import DIMSEServiceProvider

from dicom_gateway import scu
from dicom_gateway.asking import asking
from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.encode import derived_uid, save
from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from dicom_gateway.store_objects import store_objects
from tests.pacs import pacs
from tests.services import free_port


def made(name: str, sop_class: str = uid.Comprehensive3DSRStorage) -> Dataset:
    new = Dataset()
    new.file_meta = FileMetaDataset()
    new.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    new.SOPClassUID, new.SOPInstanceUID = sop_class, derived_uid(name)
    return new


def send(port: int, *objects: Dataset, **options: Any) -> list[tuple[int | None, bool]]:
    answers = store_objects("127.0.0.1", port, objects, called_ae="PACS", calling_ae="XRAYQ", **options)
    return [(answer.status, answer.held) for answer in answers]


@pytest.mark.parametrize("sender", ["store_objects", "scu"])
def test_an_answer_that_pynetdicoms_loop_takes_is_not_lost(
    sender: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loop takes an answer only if it gets its time at one moment: here that is made to happen to the first."""
    get_msg, taken = DIMSEServiceProvider.get_msg, []

    def taken_by_the_loop(self: DIMSEServiceProvider, block: bool = False) -> Any:
        context_id, message = get_msg(self, block)
        if message is None or not block or taken:
            return context_id, message
        taken.append(message)
        self.assoc._serve_request(message, context_id)
        return get_msg(self, block)

    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", taken_by_the_loop)
    with pacs(free_port()) as found:
        if sender == "scu":
            files = [save(made(name), tmp_path / name) for name in ("one", "two")]
            sent = scu.send("127.0.0.1", found.port, files, called_ae="PACS", timeout=5)
            assert [one.status for one in sent] == [0, 0]
        else:
            assert send(found.port, made("one"), made("two"), total=5) == [(0, True)] * 2
    assert len(taken) == 1


def test_an_object_of_a_class_that_the_peer_does_not_take_is_skipped() -> None:
    with pacs(free_port()) as found:
        answers = send(found.port, made("one", uid.CTImageStorage), made("two"))
    assert answers == [(None, False), (0, True)]
    assert len(found.kept) == 1


def test_after_an_answer_that_does_not_come_no_other_is_waited_for() -> None:
    held = threading.Event()
    with pacs(free_port(), silent=held) as found:
        assert send(found.port, made("one"), made("two"), total=1) == [(None, False)]


def test_a_peer_that_reads_nothing_ends_at_the_limit() -> None:
    """The write itself would wait without end: the peer's buffers are full."""
    large = made("large", uid.MultiFrameTrueColorSecondaryCaptureImageStorage)
    large.add_new(0x7FE00010, "OW", bytes(32 << 20))
    stuck = threading.Event()
    with pacs(free_port()) as found, socket.create_server(("127.0.0.1", 0)) as between:
        threading.Thread(target=_association_and_no_more, args=(between, found.port, stuck), daemon=True).start()
        begun = time.monotonic()
        assert send(between.getsockname()[1], large, timeout=1, total=3) == [(None, False)]
        assert time.monotonic() - begun < 30
        stuck.set()


def _association_and_no_more(server: socket.socket, port: int, stuck: threading.Event) -> None:
    """Hands the association through to the PACS, then takes nothing off the socket."""
    ours, _ = server.accept()
    with ours, socket.create_connection(("127.0.0.1", port)) as theirs:
        theirs.sendall(ours.recv(1 << 16))
        ours.sendall(theirs.recv(1 << 16))
        stuck.wait(60)


def test_what_ends_the_connection_ends_the_sending() -> None:
    held, ended = threading.Event(), threading.Event()
    closes: list[Any] = []
    answers: list[Any] = []

    def go(port: int) -> None:
        answers.append(send(port, made("one"), opened=closes.append))
        ended.set()

    with pacs(free_port(), silent=held) as found:
        threading.Thread(target=go, args=(found.port,), daemon=True).start()
        assert found.asked.wait(30)
        closes[0]()
        assert ended.wait(30)
    assert answers == [[(None, False)]]


@pytest.mark.parametrize(("host", "code"), [("127.0.0.1", "no_connection"), ("no.such.host.invalid", "unknown_host")])
def test_a_peer_that_is_not_there(host: str, code: str) -> None:
    with pytest.raises(PeerUnavailable, match=code):
        store_objects(host, free_port(), [made("one")], called_ae="PACS", calling_ae="XRAYQ")


def test_each_of_our_requestors_says_who_made_it(tmp_path: Path) -> None:
    """The same implementation, whether pynetdicom makes the association or we do (PS3.7 D.3.3.2)."""
    port, seen = free_port(), []
    entity = AE()
    entity.add_supported_context(VERIFICATION)
    entity.supported_contexts += AllStoragePresentationContexts[:40]
    server = entity.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[
            (evt.EVT_ACCEPTED, lambda event: seen.append(event.assoc.requestor)),
            (evt.EVT_C_STORE, lambda _: 0),
        ],
    )
    try:
        film = made("one", uid.DigitalXRayImageStorageForPresentation)
        send(port, film, total=5)
        list(scu.send("127.0.0.1", port, [save(film, tmp_path / "one")], called_ae="PACS", timeout=5))
        scu.echo("127.0.0.1", port, called_ae="PACS")
        with asking("127.0.0.1", port, [VERIFICATION], called_ae="PACS", calling_ae="XRAYQ"):
            pass
    finally:
        server.shutdown()
    identities = [(one.implementation_class_uid, one.implementation_version_name) for one in seen]
    assert identities == [(IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION)] * 4
