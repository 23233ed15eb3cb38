"""The spool: films by digest, durable, private, swept after a crash."""

import hashlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dicom_gateway.errors import ClassMismatch, NoSpace, StoreUnavailable, TooLarge, UnsupportedSyntax
from dicom_gateway.header import read_header
from dicom_gateway.local import store_file
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.spool import Spool
from tests.phantoms import chest_film, chest_pixels, write_film
from tests.services import wait_until

CRASH = """
import os, sys
from pathlib import Path
from dicom_gateway.spool import Spool
incoming = Spool(Path(sys.argv[1]), reserve_bytes=0).open()
incoming.write(b"half a film")
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", reserve_bytes=0)
    assert made.prepare() == 0
    return made


def files(spool: Spool) -> list[Path]:
    return [path for path in spool.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("chunk", [4093, 1 << 17, 3 << 20])
def test_a_film_is_named_by_its_digest(spool: Spool, chunk: int) -> None:
    for size in (0, 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 7):
        check_stored(spool, os.urandom(size), chunk)
    assert len(files(spool)) == 5


def check_stored(spool: Spool, content: bytes, chunk: int) -> None:
    size = len(content)
    incoming = spool.open()
    for start in range(0, size, chunk):
        incoming.write(memoryview(content)[start : start + chunk])
    stored = incoming.commit()
    incoming.discard()
    assert stored.digest == hashlib.sha256(content).hexdigest()
    assert stored.path == spool.path_of(stored.digest)
    assert stored.path.read_bytes() == content
    assert stored.size == size


def test_everything_is_private(spool: Spool) -> None:
    previous = os.umask(0)
    try:
        incoming = spool.open()
        assert stat.S_IMODE(incoming.path.stat().st_mode) == 0o600
        stored = incoming.commit()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(stored.path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (spool.root, *spool.root.iterdir())} == {0o700}


def test_a_discarded_film_leaves_nothing(spool: Spool) -> None:
    incoming = spool.open()
    incoming.write(bytes(3 << 20))
    incoming.discard()
    incoming.discard()
    assert files(spool) == []


def test_the_same_film_twice_is_one_file(spool: Spool) -> None:
    paths = set()
    for _ in range(2):
        incoming = spool.open()
        incoming.write(b"film")
        paths.add(incoming.commit().path)
    assert files(spool) == list(paths)


@pytest.mark.parametrize("written", [[101], [50, 51], [100, 1]])
def test_too_large(tmp_path: Path, written: list[int]) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=0, max_bytes=100)
    spool.prepare()
    incoming = spool.open()
    for size in written[:-1]:
        incoming.write(bytes(size))
    with pytest.raises(TooLarge):
        incoming.write(bytes(written[-1]))
    incoming.discard()
    assert files(spool) == []


def test_no_space_at_the_start_and_on_the_way(spool: Spool) -> None:
    incoming = spool.open()
    spool.reserve_bytes = 1 << 60
    with pytest.raises(NoSpace):
        spool.open()
    with pytest.raises(NoSpace):
        incoming.write(bytes(17 << 20))
    incoming.discard()
    assert files(spool) == []


def test_a_spool_that_was_never_prepared_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        Spool(tmp_path / "nowhere", reserve_bytes=0).open()


def test_prepare_sweeps_what_nobody_writes_and_keeps_the_rest(spool: Spool) -> None:
    kept = spool.open()
    done = spool.open()
    done.write(b"done")
    film = done.commit().path
    (spool.root / "incoming" / "stale.part").write_bytes(b"left by a crash")
    assert Spool(spool.root, reserve_bytes=0).prepare() == 1
    assert sorted(files(spool)) == sorted([kept.path, film])
    kept.write(b"still works")
    assert kept.commit().path.read_bytes() == b"still works"


def test_a_killed_writer_is_swept_only_after_its_death(spool: Spool) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", CRASH, str(spool.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert spool.prepare() == 0
        assert len(files(spool)) == 1
    finally:
        writer.kill()
        writer.communicate(timeout=10)
    assert spool.prepare() == 1
    assert files(spool) == []


def test_a_failed_commit_says_so_and_can_be_discarded(spool: Spool) -> None:
    incoming = spool.open()
    incoming.write(b"film")
    incoming.path.unlink()
    with pytest.raises(StoreUnavailable):
        incoming.commit()
    incoming.discard()
    assert files(spool) == []


def test_no_descriptor_or_thread_is_left(spool: Spool) -> None:
    def open_now() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    descriptors, threads = open_now(), threading.active_count()
    for number in range(20):
        incoming = spool.open()
        incoming.write(bytes([number]) * (2 << 20))
        incoming.commit() if number % 2 else incoming.discard()
    assert open_now() == descriptors
    wait_until(lambda: threading.active_count() <= threads, 5, "threads to end")


def test_a_local_file_is_stored_as_if_it_was_sent(spool: Spool, tmp_path: Path) -> None:
    path = write_film(tmp_path, pixels=chest_pixels(48, 40))
    received = store_file(path, spool, "XRAYQ")
    assert (received.calling_ae, received.called_ae) == ("LOCAL", "XRAYQ")
    assert received.header == read_header(path) == read_header(received.path)
    assert received.digest == hashlib.sha256(received.path.read_bytes()).hexdigest()
    assert received.path.read_bytes().endswith(chest_film("phantom", pixels=chest_pixels(48, 40)).PixelData)
    assert store_file(path, spool, "XRAYQ").path == received.path


def test_a_local_file_that_is_not_stored_by_c_store_is_refused(spool: Spool, tmp_path: Path) -> None:
    path = write_film(tmp_path, pixels=chest_pixels(48, 40), SOPClassUID="1.2.840.10008.1.3.10")  # a DICOMDIR
    with pytest.raises(ClassMismatch):
        store_file(path, spool, "XRAYQ")
    assert files(spool) == []


def test_a_local_file_of_another_class_is_read_and_kept_only_if_wanted(spool: Spool, tmp_path: Path) -> None:
    path = write_film(tmp_path, pixels=chest_pixels(48, 40), SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    passed = store_file(path, spool, "XRAYQ")
    assert isinstance(passed, OtherObject)
    assert (passed.path, files(spool)) == (None, [])
    kept = store_file(path, spool, "XRAYQ", keep_other_objects=True)
    assert files(spool) == [kept.path]
    assert (kept.digest, kept.size) == (passed.digest, passed.size)


def test_a_film_in_a_syntax_that_is_not_decoded_is_kept(spool: Spool, tmp_path: Path) -> None:
    """It becomes a dead letter that says so."""
    path = write_film(tmp_path, pixels=chest_pixels(48, 40))
    content, old = path.read_bytes(), b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    assert old in content
    mpeg = b"1.2.840.10008.1.2.4.100".ljust(24, b"\0")
    path.write_bytes(content.replace(old, b"\x02\x00\x10\x00UI\x18\x00" + mpeg))
    received = store_file(path, spool, "XRAYQ")
    assert received.path
    with pytest.raises(UnsupportedSyntax):
        read_radiograph(received.path)
