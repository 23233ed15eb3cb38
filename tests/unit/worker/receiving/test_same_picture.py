"""Two codings of a picture, compared in a real child process that is killed, hangs and runs out of memory."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom import uid

from dicom_gateway.contexts import TRANSFER_SYNTAXES
from tests.images import FOLDER
from tests.phantoms import chest_pixels, write_film
from tests.services import environment, kill, wait_until
from worker.receiving.same_picture import Comparing

ROOT = Path(__file__).parents[4]
MEMORY = 4 << 30
LOSSLESS = [row for row in TRANSFER_SYNTAXES if not row.lossy]
MODULES = {"opencv-python-headless": "cv2", "protobuf": "google.protobuf", "pylibjpeg-rle": "rle"}
"""Of packages, where the name is another."""


@contextmanager
def compared(seconds: float = 60.0, memory: int = MEMORY, processes: int = 2) -> Iterator[Comparing]:
    made = Comparing(memory_bytes=memory, max_pixels=1 << 31, seconds=seconds, processes=processes)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A film on storage that never answers: a FIFO that nobody writes to."""
    path = tmp_path / "hanging.dcm"
    os.mkfifo(path)
    return path


def test_lossless_codings_hold_the_same_picture(tmp_path: Path) -> None:
    pixels = chest_pixels(64, 48)
    films = [write_film(tmp_path, row.name, syntax=row.uid, pixels=pixels) for row in LOSSLESS]
    near, lossy = pixels.copy(), write_film(tmp_path, "lossy", syntax=uid.JPEG2000, pixels=pixels)
    near[-1, -1] ^= 1
    others = [write_film(tmp_path, f"near {row.name}", syntax=row.uid, pixels=near) for row in LOSSLESS]
    with compared() as made:
        assert [made.same_picture(films[0], film) for film in films] == [True] * len(LOSSLESS)
        assert [made.same_picture(films[0], other) for other in (*others, lossy)] == [False] * (len(LOSSLESS) + 1)


def test_the_same_values_shown_in_another_way_are_another_picture(tmp_path: Path) -> None:
    one = write_film(tmp_path, "one", WindowCenter=2000, WindowWidth=1000)
    shown = {"WindowCenter": 2001}, {"PhotometricInterpretation": "MONOCHROME1"}
    with compared() as made:
        for number, change in enumerate(shown):
            other = write_film(tmp_path, f"other{number}", **({"WindowCenter": 2000, "WindowWidth": 1000} | change))
            assert not made.same_picture(one, other)


def test_whatever_goes_wrong_is_another_picture(tmp_path: Path, hanging: Path) -> None:
    one, good = write_film(tmp_path, "one"), write_film(tmp_path, "good", syntax=uid.JPEGLSLossless)
    cut = write_film(tmp_path, "cut", syntax=uid.JPEG2000Lossless)
    os.truncate(cut, cut.stat().st_size - 1000)
    with compared(seconds=5) as made:
        for bad in (tmp_path / "gone.dcm", cut, tmp_path, write_film(tmp_path, "e", PixelData=None), hanging):
            assert not made.same_picture(one, bad)
        assert made.same_picture(one, good), "a fresh child works on"


def test_a_child_that_is_killed_is_another_picture(tmp_path: Path, hanging: Path) -> None:
    one, good = write_film(tmp_path, "one"), write_film(tmp_path, "good", syntax=uid.JPEGLSLossless)
    with compared() as made, ThreadPoolExecutor(1) as thread:
        answer = thread.submit(made.same_picture, hanging, one)
        with in_mid_film(hanging) as child:
            kill(child)
        assert answer.result(timeout=60) is False
        assert made.same_picture(one, good)


@pytest.mark.slow
def test_more_memory_than_allowed_is_another_picture(tmp_path: Path) -> None:
    pixels = np.zeros((12000, 10000), np.uint16)
    films = [write_film(tmp_path, f"{s}", syntax=s, pixels=pixels) for s in (uid.JPEGLSLossless, uid.RLELossless)]
    with compared(memory=400 << 20) as made:
        assert not made.same_picture(films[0], films[1])


def test_many_questions_at_once_are_answered_in_time(tmp_path: Path, hanging: Path) -> None:
    """Each waits for its turn no longer than for its answer: four that hang take as long as one."""
    one, good = write_film(tmp_path, "one"), write_film(tmp_path, "good", syntax=uid.JPEGLSLossless)
    with compared(seconds=10, processes=1) as made, ThreadPoolExecutor(4) as threads:
        assert made.same_picture(one, good)
        begun = time.monotonic()
        assert list(threads.map(lambda _: made.same_picture(hanging, one), range(4))) == [False] * 4
        assert time.monotonic() - begun < 30
        assert all(threads.map(lambda _: made.same_picture(one, good), range(4)))


@contextmanager
def in_mid_film(fifo: Path) -> Iterator[int]:
    """The pid of the child that reads it, and waits for the first byte."""

    def opened() -> int | None:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    def reader() -> int | None:
        for child in psutil.Process().children(recursive=True):
            with suppress(OSError):
                if fifo in [link.readlink() for link in Path(f"/proc/{child.pid}/fd").iterdir()]:
                    return int(child.pid)
        return None

    writer = wait_until(opened, 30, "a child to open the film")
    try:
        yield wait_until(reader, 30, "the child")
    finally:
        os.close(writer)


COMPARED = """
import json, sys
blocked = set(sys.argv[3].split(","))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in blocked:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
from worker.receiving import ingest, same_picture
print(json.dumps(sorted({"imagecodecs", "dicom_gateway.codecs"} & set(sys.modules))))
print(json.dumps(same_picture._same_picture(sys.argv[1], sys.argv[2], 1 << 31)))
"""


def test_the_gateways_image_can_compare_and_its_process_loads_no_decoder(tmp_path: Path) -> None:
    """With what its Dockerfile takes out of the image out of reach."""
    (line,) = re.findall(r"pip uninstall --yes (.*(?:\\\n.*)*)", (FOLDER / "gateway.Dockerfile").read_text())
    gone = [MODULES.get(name, name) for name in line.replace("\\", " ").split()]
    assert "onnxruntime" in gone
    one, other = write_film(tmp_path, "one"), write_film(tmp_path, "other", syntax=uid.RLELossless)
    done = subprocess.run(
        [sys.executable, "-c", COMPARED, str(one), str(other), ",".join(gone)],
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert [json.loads(said) for said in done.stdout.splitlines()] == [[], True], done.stderr
