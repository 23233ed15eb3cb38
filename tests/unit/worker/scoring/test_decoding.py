"""The decode pool, with real child processes, real films and real deaths."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pytest
from pydicom import uid

from dicom_gateway.errors import PIXEL_ERRORS
from dicom_gateway.pixels import read_radiograph
from model.preprocess import PreprocessSpec, to_input
from tests.phantoms import chest_film, chest_pixels, write_film
from tests.services import children, environment, kill, wait_until
from worker.queue.retry import Fault
from worker.scoring.decoding import CRASH_REASONS, Decoded, DecodePool, decode_film, reasons

SPEC = PreprocessSpec()
MAX_PIXELS = 1 << 31
ROOT = Path(__file__).parents[4]


@contextmanager
def pool(processes: int = 1, timeout: float = 60.0, memory_mib: int = 4096) -> Iterator[DecodePool]:
    made = DecodePool(
        processes=processes,
        timeout=timeout,
        memory_bytes=memory_mib << 20,
        spec=SPEC,
        max_pixels=MAX_PIXELS,
        reduce=False,  # a slow film must stay slow
    )
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def good(folder: Path) -> Path:
    return write_film(folder, "good")


@pytest.fixture(scope="module")
def slow(folder: Path) -> Path:
    """Noise in JPEG 2000: about a second to decode."""
    noise = np.random.default_rng(0).integers(0, 4096, (2500, 2500), dtype=np.uint16)
    return write_film(folder, "slow", pixels=noise, syntax=uid.JPEG2000Lossless)


@pytest.fixture(scope="module")
def hanging(folder: Path) -> Path:
    """A film on storage that never answers: a FIFO that nobody writes to."""
    path = folder / "hanging.dcm"
    os.mkfifo(path)
    return path


@pytest.fixture(scope="module")
def huge(folder: Path) -> Path:
    """An uncompressed film of 32000 x 32000 pixels: two sparse gibibytes."""
    path = write_film(folder, "huge", pixels=np.zeros((2, 2), np.uint16), Rows=32000, Columns=32000)
    content = path.read_bytes()
    element = content.index(b"\xe0\x7f\x10\x00OW\0\0")
    length = 32000 * 32000 * 2
    path.write_bytes(content[: element + 8] + struct.pack("<L", length))
    os.truncate(path, element + 12 + length)
    return path


def expected(path: Path) -> Any:
    film = read_radiograph(path)
    return to_input(film.pixels, low=film.low, high=film.high, inverted=film.inverted, spec=SPEC)


def decoder_of(path: Path) -> int | None:
    """The pid of the child process that has the film open."""
    for child in psutil.Process().children(recursive=True):
        try:
            if str(path) in {file.path for file in child.open_files()}:
                return int(child.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def decode_and_kill(decoders: DecodePool, path: Path, times: int) -> Decoded:
    """Decode a film, and kill its decoder in the middle of it so many times."""
    answers: list[tuple[int, Decoded]] = []
    thread = Thread(target=lambda: answers.extend(decoders.decode({1: path})), daemon=True)
    thread.start()
    killed: set[int] = set()
    for _ in range(times):
        pid = wait_until(lambda: {decoder_of(path)} - {None} - killed, 60, "a decoder to open the film").pop()
        assert pid is not None
        kill(pid)
        killed.add(pid)
    thread.join(60)
    assert len(killed) == times
    assert [key for key, _ in answers] == [1]
    return answers[0][1]


FAULTS: dict[str, Callable[[Path], Path]] = {
    "no_pixel_data": lambda folder: write_film(folder, "a", PixelData=None),
    "header_incomplete": lambda folder: write_film(folder, "b", Rows=None),
    "not_grayscale": lambda folder: write_film(folder, "c", PhotometricInterpretation="RGB"),
    "multi_frame": lambda folder: write_film(folder, "d", NumberOfFrames=2),
    "corrupt_pixels": lambda folder: write_film(folder, "e", Rows=4000),
    "pixels_unreadable": lambda folder: cut(write_film(folder, "f"), 300),
    "spool_missing": lambda folder: folder / "missing.dcm",
    Fault.SPOOL_UNREADABLE: lambda folder: folder,  # EISDIR
    Fault.DECODER_UNAVAILABLE: lambda folder: folder / "not_mounted" / "film.dcm",
}


def cut(path: Path, size: int) -> Path:
    os.truncate(path, size)
    return path


def test_one_pool_decodes_good_films_and_names_the_faults_of_bad_ones(good: Path, tmp_path: Path) -> None:
    bad = {reason: make(tmp_path) for reason, make in FAULTS.items()}
    compressed = write_film(tmp_path, "j2k", syntax=uid.JPEG2000Lossless)
    paths = {1: good, 2: compressed} | dict(enumerate(bad.values(), start=10))
    with pool(processes=2) as decoders:
        answers = list(decoders.decode(paths))
    assert sorted(key for key, _ in answers) == sorted(paths)
    by_key = dict(answers)
    for key in (1, 2):
        assert by_key[key].reason is None
        assert np.array_equal(by_key[key].image, expected(good))
    assert [by_key[key].reason for key in range(10, 10 + len(bad))] == list(bad)
    assert all(by_key[key].image is None for key in range(10, 10 + len(bad)))
    assert set(bad) - {Fault.SPOOL_UNREADABLE, Fault.DECODER_UNAVAILABLE} <= set(reasons())


def test_nothing_to_decode() -> None:
    with pool() as decoders:
        assert list(decoders.decode({})) == []


def test_film_that_kills_its_decoder_twice_is_given_up(slow: Path, good: Path) -> None:
    with pool() as decoders:
        assert decode_and_kill(decoders, slow, times=2) == Decoded(image=None, reason="decoder_crashed")
        assert dict(decoders.decode({2: good}))[2].reason is None


def test_film_whose_decoder_is_killed_once_is_tried_again(slow: Path) -> None:
    with pool() as decoders:
        decoded = decode_and_kill(decoders, slow, times=1)
    assert decoded.reason is None
    assert np.array_equal(decoded.image, expected(slow))


def test_film_that_hangs_is_given_up_and_others_are_not(good: Path, hanging: Path) -> None:
    with pool(processes=2, timeout=3.0) as decoders:
        assert [decoded.reason for _, decoded in decoders.decode({1: good, 2: good})] == [None, None]
        answers = list(decoders.decode({1: hanging, 2: good, 3: good, 4: good}))
        assert {key: decoded.reason for key, decoded in answers} == {
            1: "decoder_timeout",
            2: None,
            3: None,
            4: None,
        }
        assert answers[-1][0] == 1, "good films do not wait for the hanging one"
        assert dict(decoders.decode({5: good}))[5].reason is None


def test_film_larger_than_the_decoders_memory(good: Path, huge: Path) -> None:
    with pool(memory_mib=1024) as decoders:
        answers = dict(decoders.decode({1: good, 2: huge, 3: good}))
    assert {key: decoded.reason for key, decoded in answers.items()} == {1: None, 2: "decoder_memory", 3: None}


def test_least_memory_that_settings_allow_decodes_a_film(tmp_path: Path) -> None:
    path = write_film(tmp_path, "usual", pixels=chest_pixels(3000, 2500))
    with pool(memory_mib=512) as decoders:
        assert dict(decoders.decode({1: path}))[1].reason is None


def test_film_over_the_pixel_limit(good: Path) -> None:
    film = chest_film()
    assert decode_film(str(good), SPEC, film.Rows * film.Columns).reason is None
    assert decode_film(str(good), SPEC, film.Rows * film.Columns - 1).reason == "too_many_pixels"


def test_closed_pool_leaves_no_process(good: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pool(processes=2) as decoders:
        assert len(dict(decoders.decode({1: good, 2: good}))) == 2
        during = {child.pid for child in psutil.Process().children(recursive=True)}

    def commands() -> list[list[str]]:
        left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
        return [child.cmdline() for child in left if child.pid in during and child.status() != "zombie"]

    def only_the_servers() -> bool:
        try:
            return all("forkserver" in " ".join(words) or "resource_tracker" in " ".join(words) for words in commands())
        except psutil.NoSuchProcess:
            return False

    assert during - before
    wait_until(only_the_servers, 20, "decoders to end")


def test_every_reason_is_explained() -> None:
    table = reasons()
    assert set(table) == {error.reason for error in PIXEL_ERRORS} | {"pixels_unreadable"} | set(CRASH_REASONS)
    assert all(meaning and "\n" not in meaning for meaning in table.values())


def test_pool_whose_machinery_stopped_is_made_anew(good: Path) -> None:
    with pool() as decoders:
        assert dict(decoders.decode({1: good}))[1].image is not None
        decoders._pool.stop()
        decoders._pool.join()
        assert dict(decoders.decode({2: good}))[2].image is not None


WORKER = """
import sys
from pathlib import Path
from model.preprocess import PreprocessSpec
from worker.scoring.decoding import DecodePool
if __name__ == "__main__":
    made = DecodePool(processes=2, timeout=60, memory_bytes=4 << 30, spec=PreprocessSpec(), max_pixels=1 << 31)
    print(dict(made.decode({1: Path(sys.argv[1])}))[1].reason, flush=True)
    list(made.decode({2: Path(sys.argv[2])}))
"""


def test_a_busy_decoder_does_not_outlive_its_worker(good: Path, hanging: Path, tmp_path: Path) -> None:
    script = tmp_path / "decoding_worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(good), str(hanging)]
    with subprocess.Popen(command, env=environment() | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"None\n"
        writer = wait_until(lambda: opened_by_a_reader(hanging), 20, "a decoder in mid-film")
        family = children(worker.pid)
        assert len(family) > 2
        worker.kill()
    wait_until(lambda: not any(one.is_running() for one in family), 10, "its decoders to be gone")
    os.close(writer)


def opened_by_a_reader(fifo: Path) -> int | None:
    """The other end, of a reader who now waits for the first byte."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_films_in_a_pool_that_stops_are_given_back_though_another_took_its_place(good: Path, hanging: Path) -> None:
    answers: list[tuple[int, Decoded]] = []
    with pool() as decoders:
        stopped = decoders._pool
        thread = Thread(target=lambda: answers.extend(decoders.decode({1: hanging})), daemon=True)
        thread.start()
        wait_until(lambda: psutil.Process().children(recursive=True), 30, "a decoder")
        stopped.stop()
        assert dict(decoders.decode({2: good}))[2].image is not None
        thread.join(30)
        assert not thread.is_alive()
    assert [(key, decoded.reason) for key, decoded in answers] == [(1, Fault.DECODER_UNAVAILABLE)]
