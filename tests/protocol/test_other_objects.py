"""Whole studies: what comes beside the films and can never be one is answered, counted, and not kept."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode
from pynetdicom.presentation import build_context

from dicom_gateway.errors import MultiFrame, NoSpace, UnsupportedSyntax
from dicom_gateway.local import store_file
from dicom_gateway.options import Received
from dicom_gateway.other_objects import LOOK, OtherObject, look
from dicom_gateway.part10 import encode_meta
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.spool import Spool
from tests.phantoms import chest_film, chest_pixels
from tests.protocol.conftest import Node
from tests.protocol.raw import C_STORE_RQ, DX, Peer, command_set, dataset_bytes, pdata, pdv
from tests.services import Memory, wait_until

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SR = uid.XRayRadiationDoseSRStorage
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
FULL = 1 << 60
FILM = chest_film("study", pixels=chest_pixels(48, 40))


def report(name: str = "dose", sop_class: str = SR, modality: str = "SR") -> Dataset:
    """A small object of the film's study."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, f"2.25.{int(hashlib.sha256(name.encode()).hexdigest()[:20], 16)}"
    made.Modality, made.PatientName = modality, "DOE^JANE"
    made.StudyInstanceUID, made.SeriesInstanceUID = FILM.StudyInstanceUID, "2.25.77"
    made.ContentDate = "20260110"
    return made


def send(peer: Peer, context: int, sop_class: str, instance: str, fragments: Iterator[bytes] | list[bytes]) -> int:
    """C-STORE on a context; its status."""
    peer.send(
        pdata(
            pdv(
                context, command_set(C_STORE_RQ, sop_class=sop_class, instance=instance, has_data=True), is_command=True
            )
        )
    )
    held = None
    for fragment in fragments:
        if held is not None:
            peer.send(pdata(pdv(context, held, is_command=False, last=False)))
        held = fragment
    peer.send(pdata(pdv(context, held or b"", is_command=False)))
    return int(peer.response().Status)


def ask(peer: Peer, *proposed: tuple[str, str]) -> None:
    """An association with a context for each class and syntax: 1, 3, 5, ..."""
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in proposed]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    peer.associate(context_list=contexts)


EXPLICIT = uid.ExplicitVRLittleEndian


def test_films_and_other_objects_in_one_association(node: Node) -> None:
    """In any order, and after a context that was refused."""
    with Peer(node.port) as peer:
        ask(peer, (FIND, EXPLICIT), (SR, EXPLICIT), (DX, EXPLICIT), (uid.CTImageStorage, uid.MPEG2MPML))
        dose, film = report(), dataset_bytes(FILM)
        assert send(peer, 3, SR, dose.SOPInstanceUID, [dataset_bytes(dose)]) == 0
        assert send(peer, 5, DX, FILM.SOPInstanceUID, [film[i : i + 2000] for i in range(0, len(film), 2000)]) == 0
        assert send(peer, 7, uid.CTImageStorage, "1.2.3", [b"no data set at all"]) == 0
        assert send(peer, 3, SR, report("second").SOPInstanceUID, [dataset_bytes(report("second"))]) == 0
    first, second, third, fourth = node.accepted
    assert isinstance(second, Received)
    assert node.files() == [second.path]
    assert isinstance(first, OtherObject)
    assert (first.sop_class_uid, first.sop_instance_uid, first.modality) == (SR, dose.SOPInstanceUID, "SR")
    assert (first.study_instance_uid, first.series_instance_uid) == (FILM.StudyInstanceUID, "2.25.77")
    assert (first.path, first.calling_ae, first.transfer_syntax_uid) == (None, "RAW", EXPLICIT)
    whole = encode_meta(SR, dose.SOPInstanceUID, EXPLICIT) + dataset_bytes(dose)
    assert (first.digest, first.size) == (hashlib.sha256(whole).hexdigest(), len(whole))
    assert isinstance(third, OtherObject)
    assert (third.study_instance_uid, third.modality) == ("", "")
    assert isinstance(fourth, OtherObject)
    assert "DOE" not in repr((first, third, fourth))


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_the_study_is_found_in_other_codings(node: Node, syntax: uid.UID) -> None:
    encoded = encode(report(), syntax.is_implicit_VR, syntax.is_little_endian)
    assert encoded
    if syntax.is_deflated:
        squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = squeezer.compress(encoded) + squeezer.flush()
    with Peer(node.port) as peer:
        ask(peer, (SR, syntax))
        assert send(peer, 1, SR, report().SOPInstanceUID, [encoded]) == 0
    assert node.accepted[0].study_instance_uid == FILM.StudyInstanceUID


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<HH2sxxL", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF),
        struct.pack("<HH2sxxL", 0x0009, 0x1001, b"OB", 0xFFFFFFF0),
        b"\xff\xfe",
        struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", 16) + b"DOE^JANE19700101",
        struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 16) + b"DOE^JANE19700101",
    ],
    ids=["nested without end", "longer than all", "no elements", "a name", "another name"],
)
def test_nothing_in_it_is_an_error(node: Node, head: bytes) -> None:
    with Peer(node.port) as peer:
        ask(peer, (SR, EXPLICIT))
        assert (
            send(
                peer,
                1,
                SR,
                "1.2.3",
                [(head * (2 * LOOK // len(head) + 1))[i : i + 9000] for i in range(0, 2 * LOOK, 9000)],
            )
            == 0
        )
    assert (node.accepted[0].study_instance_uid, node.accepted[0].modality) == ("", "")


@pytest.mark.parametrize(("frames", "fault"), [(1, None), (2, MultiFrame)])
def test_a_multi_frame_capture_may_be_one_film(node: Node, frames: int, fault: type[Exception] | None) -> None:
    word = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    film = chest_film("capture", pixels=chest_pixels(48, 40), SOPClassUID=word, NumberOfFrames=frames)
    film.PixelData = film.PixelData * frames
    with Peer(node.port) as peer:
        ask(peer, (word, EXPLICIT))
        assert send(peer, 1, word, film.SOPInstanceUID, [dataset_bytes(film)]) == 0
    (received,) = node.accepted
    assert isinstance(received, Received)
    if fault:
        with pytest.raises(fault):
            read_radiograph(received.path)
    else:
        assert (read_radiograph(received.path).pixels == chest_pixels(48, 40)).all()


def test_a_film_in_a_syntax_that_nobody_decodes_is_kept_and_says_so(node: Node) -> None:
    with Peer(node.port) as peer:
        ask(peer, (DX, uid.MPEG2MPML))
        assert send(peer, 1, DX, FILM.SOPInstanceUID, [dataset_bytes(FILM)]) == 0
    with pytest.raises(UnsupportedSyntax):
        read_radiograph(node.accepted[0].path)


def test_what_is_wrong_with_the_command_is_refused(node: Node) -> None:
    with Peer(node.port) as peer:
        ask(peer, (SR, EXPLICIT))
        assert send(peer, 1, SR, "", [b"abc"]) == 0x0117
        assert send(peer, 1, uid.CTImageStorage, "1.2.3", [b"abc"]) == 0xA900
        assert send(peer, 1, SR, "1.2.3", [b""]) == 0xC001
    assert node.accepted == []


def test_neither_the_size_nor_the_reserve_refuses_what_is_not_kept(
    start: Callable[..., Node], spool_root: Path
) -> None:
    node = start(spool=Spool(spool_root, reserve_bytes=FULL, max_bytes=1000))
    with Peer(node.port) as peer:
        ask(peer, (SR, EXPLICIT), (DX, EXPLICIT))
        assert send(peer, 1, SR, "1.2.3", [bytes(5000)]) == 0
        assert send(peer, 3, DX, "1.2.4", [bytes(500)]) == NoSpace.status
    assert node.files() == []


def test_they_are_kept_where_that_is_wanted(start: Callable[..., Node], spool_root: Path) -> None:
    node = start(spool=Spool(spool_root, reserve_bytes=0, max_bytes=4000), keep_other_objects=True)
    with Peer(node.port) as peer:
        ask(peer, (SR, EXPLICIT))
        assert send(peer, 1, SR, "1.2.3", [dataset_bytes(report())]) == 0
        assert send(peer, 1, SR, "1.2.4", [bytes(5000)]) == 0xA701
    (kept,) = node.accepted
    assert kept.path
    assert node.files() == [kept.path]
    assert hashlib.sha256(kept.path.read_bytes()).hexdigest() == kept.digest


def test_a_large_object_passes_in_flat_memory(node: Node) -> None:
    chunk = bytes(120 << 10)
    with Peer(node.port, timeout=60) as peer:
        ask(peer, (uid.UltrasoundMultiFrameImageStorage, EXPLICIT))
        with Memory() as memory:
            assert send(peer, 1, uid.UltrasoundMultiFrameImageStorage, "1.2.3", (chunk for _ in range(2200))) == 0
    assert memory.growth < 16
    assert node.accepted[0].size > 256 << 20
    assert node.files() == []


@pytest.mark.parametrize("hostile", [1, 3])
def test_deflate_bombs_are_refused_in_bounded_memory(
    start: Callable[..., Node], spool_root: Path, hostile: int
) -> None:
    """Half a megabyte each that inflates to 512 MiB, at once."""
    node = start(spool=Spool(spool_root, reserve_bytes=0, max_bytes=64 << 20), network_timeout=30.0)
    squeezer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = dataset_bytes(FILM)[: -len(FILM.PixelData) - 12] + struct.pack("<HH2sxxL", 0x7FE0, 0x0010, b"OB", 512 << 20)
    bomb = squeezer.compress(head) + b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(512)) + squeezer.flush()
    statuses: list[int] = []

    def attack() -> None:
        with Peer(node.port, timeout=60) as peer:
            ask(peer, (DX, uid.DeflatedExplicitVRLittleEndian))
            fragments = [bomb[i : i + 16000] for i in range(0, len(bomb), 16000)]
            statuses.append(send(peer, 1, DX, FILM.SOPInstanceUID, fragments))

    threads = [Thread(target=attack) for _ in range(hostile)]
    with Memory() as memory:
        for thread in threads:
            thread.start()
        wait_until(lambda: not any(thread.is_alive() for thread in threads), 30, "the answers")
    assert statuses == [0xA701] * hostile
    assert memory.growth < 40
    assert node.files() == []


def deep(tag: int, length: int = LOOK) -> bytes:
    """An element of group 0008 that pushes all behind it out of sight."""
    return struct.pack("<HH2sxxL", 0x0008, tag, b"UN", length) + bytes(length)


def test_a_file_that_shows_its_class_alone_passes_as_by_c_store(tmp_path: Path, node: Node) -> None:
    """The command names the instance; of a file its meta information does."""
    named = "1.2.840.99.5"
    plain = dataset_bytes(report())
    at = plain.index(struct.pack("<HH2s", 0x0008, 0x0018, b"UI"))
    body = plain[:at] + deep(0x0017) + plain[at:]
    path = tmp_path / "dose.dcm"
    path.write_bytes(encode_meta(SR, named, uid.ExplicitVRLittleEndian) + body)
    found = store_file(path, Spool(tmp_path / "spool", reserve_bytes=0), "XRAYQ")
    assert isinstance(found, OtherObject)
    assert (found.sop_class_uid, found.sop_instance_uid, found.study_instance_uid) == (SR, named, "")


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_uid_that_is_too_long_is_not_found(keyword: str) -> None:
    """And not cut to one that is another's."""
    made = report()
    setattr(made, keyword, "1.2." + "3" * 66)
    found = look(dataset_bytes(made), uid.ExplicitVRLittleEndian)
    names = {"StudyInstanceUID": "study_instance_uid", "SeriesInstanceUID": "series_instance_uid"}
    assert getattr(found, names.get(keyword, "sop_instance_uid")) == ""
    assert found.modality == "SR"
