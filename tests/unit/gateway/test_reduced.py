"""JPEG 2000 at a lower resolution: sizes, values, and what it leaves to the full decoder."""

import contextlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import uid

from dicom_gateway.codecs import decode_codestream
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.errors import CodestreamMismatch, CorruptPixels, PixelError
from dicom_gateway.openjpeg import decode
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.reduced import halvings, read_main_header
from tests.phantoms import chest_film, chest_pixels

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def encoded(pixels: NDArray[Any], bits: int, **options: Any) -> bytes:
    made = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=bits, reversible=True, **options)
    return bytes(made)


def decode_reduced(stream: bytes, least_side: int) -> NDArray[Any] | None:
    """None where it would come in full."""
    turns = halvings(stream, least_side)
    return decode(stream, turns) if turns else None


def smooth(rows: int, columns: int, bits: int) -> NDArray[Any]:
    """A chest that fills the whole range of so many bits."""
    pixels = cv2.GaussianBlur(chest_pixels(rows, columns).astype(np.float32), (0, 0), 3)
    pixels = (pixels - pixels.min()) / np.ptp(pixels)
    return (pixels * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
def test_values_are_those_of_the_full_film_shrunk(bits: int) -> None:
    pixels = smooth(600, 510, bits)
    small = decode_reduced(encoded(pixels, bits), 120)
    assert small is not None
    assert small.shape == (150, 128)
    assert small.dtype == pixels.dtype
    expected = cv2.resize(pixels, small.shape[::-1], interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(small - expected).mean() < 0.01 * 2**bits


@settings(max_examples=25)
@given(rows=st.integers(64, 300), columns=st.integers(64, 300), least=st.integers(8, 64))
def test_every_size(rows: int, columns: int, least: int) -> None:
    """Sides are halved rounding up, as often as the shorter one stays at least as long as asked."""
    pixels = np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns).astype(np.uint8)
    small = decode_reduced(encoded(pixels, 8, level=5), least)
    turns = 0
    while turns < 5 and min(rows, columns) >= least << (turns + 1):
        turns += 1
    if turns == 0:
        assert small is None
    else:
        assert small is not None
        assert small.shape == (-(-rows >> turns), -(-columns >> turns))
        assert min(small.shape) >= least


def test_header() -> None:
    found = read_main_header(encoded(smooth(96, 80, 12), 12))
    assert found is not None
    assert (found.rows, found.columns, found.bits, found.signed) == (96, 80, 12, False)
    assert found.levels >= 1
    assert found.reversible


def in_colour() -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.zeros((256, 256, 3), np.uint8), codecformat="j2k", reversible=True))


def signed() -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.full((256, 256), -5, np.int16), codecformat="j2k", reversible=True))


@pytest.mark.parametrize(
    "stream",
    [b"", b"not a codestream", b"\xff\x4f\xff\x51", encoded(smooth(256, 256, 8), 8)[:50], in_colour(), signed()],
    ids=["empty", "text", "two markers", "header cut", "colour", "signed"],
)
def test_what_it_does_not_take(stream: bytes) -> None:
    assert decode_reduced(stream, 32) is None


def test_a_film_that_is_small_already_is_decoded_in_full() -> None:
    assert decode_reduced(encoded(smooth(127, 300, 8), 8), 64) is None


def test_every_cut_is_refused_or_complete() -> None:
    """A codestream cut anywhere is refused: the end marker is looked for before anything is decoded."""
    stream = encoded(smooth(256, 256, 12), 12)
    for end in range(40, len(stream) - 16, len(stream) // 40):
        with pytest.raises((CorruptPixels, CodestreamMismatch)):
            decode_codestream("jpeg2k", stream[:end], 256, 256, 64)


def test_another_size_than_the_header_says_is_refused() -> None:
    with pytest.raises(CodestreamMismatch):
        decode_codestream("jpeg2k", encoded(smooth(256, 256, 12), 12), 256, 255, 64)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_radiograph_shows_the_same(tmp_path: Path, syntax: str, photometric: str) -> None:
    film = chest_film(pixels=chest_pixels(640, 576))
    film.PhotometricInterpretation = photometric
    path = save(in_syntax(film, syntax), tmp_path / "film.dcm")
    full, small = read_radiograph(path), read_radiograph(path, least_side=140)
    assert small.pixels.shape == (160, 144)
    assert (small.inverted, small.bits_stored) == (full.inverted, full.bits_stored)
    expected = cv2.resize(full.pixels, (144, 160), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(small.pixels - expected).mean() < 0.01 * (full.high - full.low)


@pytest.mark.parametrize(
    "change",
    [{"PixelPaddingValue": 0}, {"VOILUTFunction": "SIGMOID", "WindowCenter": 2048, "WindowWidth": 4096}],
    ids=["padding", "sigmoid"],
)
def test_a_display_that_is_not_linear_wants_every_pixel(tmp_path: Path, change: dict[str, Any]) -> None:
    film = chest_film(pixels=chest_pixels(640, 576))
    for keyword, value in change.items():
        setattr(film, keyword, value)
    path = save(in_syntax(film, uid.JPEG2000Lossless), tmp_path / "film.dcm")
    assert read_radiograph(path, least_side=140).pixels.shape == (640, 576)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLSLossless, uid.HTJ2KLossless, uid.RLELossless])
def test_other_codings_come_in_full(tmp_path: Path, syntax: str) -> None:
    path = save(in_syntax(chest_film(pixels=chest_pixels(640, 576)), syntax), tmp_path / "film.dcm")
    assert read_radiograph(path, least_side=140).pixels.shape == (640, 576)


@pytest.mark.parametrize("start", [0.2, 0.5, 0.8])
def test_damage_inside_never_escapes_as_another_error(tmp_path: Path, start: float) -> None:
    film = in_syntax(chest_film(pixels=chest_pixels(640, 576)), uid.JPEG2000Lossless)
    at = int(len(film.PixelData) * start)
    film.PixelData = film.PixelData[:at] + b"\xa5" * 300 + film.PixelData[at + 300 :]
    path = save(film, tmp_path / "film.dcm")
    with contextlib.suppress(PixelError):
        assert read_radiograph(path, least_side=140).pixels.shape in ((160, 144), (640, 576))
