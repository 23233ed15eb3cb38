"""Decoded samples to stored values: precision and sign of the codestream against those of the header."""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom_gateway.contexts import TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.errors import CodestreamMismatch
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.stored import TABLE, Cell, from_samples
from tests.phantoms import chest_film, chest_pixels
from tests.unit.gateway.films import codestream, read

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it

CHEST = chest_pixels(96, 80).astype(np.uint16)  # 12 bits
TURNED = CHEST.astype(np.int16) - 2048
COMPLEMENT = TURNED.view(np.uint16) & 0x0FFF
"""The same in two's complement of 12 bits."""


def with_stream(stream: bytes, syntax: str, shape: tuple[int, int], **header: Any) -> Dataset:
    film = in_syntax(chest_film("stream", pixels=np.zeros(shape, np.uint16)), syntax)
    film.PixelData = encapsulate([stream])
    for keyword, value in header.items():
        setattr(film, keyword, value)
    return film


def j2k(pixels: NDArray[Any], bits: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=bits, reversible=True))


def jpeg(pixels: NDArray[Any], bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits, predictor=1))


def jpegls(pixels: NDArray[Any], _bits: int) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels))  # of 16 bits


def htj2k(pixels: NDArray[Any], _bits: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))  # of 16 bits


UNSIGNED = [
    (uid.JPEG2000Lossless, j2k, 12),
    (uid.JPEG2000Lossless, j2k, 16),
    (uid.JPEGLosslessSV1, jpeg, 12),
    (uid.JPEGLosslessSV1, jpeg, 16),
    (uid.JPEGLSLossless, jpegls, 16),
    (uid.HTJ2KLossless, htj2k, 16),
]


def test_the_table_is_whole() -> None:
    assert len(TABLE) == 2 * 2 * 3
    assert all(way in ("plain", "masked", "stream", "header", "unsigned") for ways in TABLE.values() for way in ways)


@pytest.mark.parametrize(("syntax", "encode", "bits"), UNSIGNED)
@pytest.mark.parametrize("stored", [12, 14, 16])
def test_unsigned_samples_are_what_they_are(tmp_path: Path, syntax: str, encode: Any, bits: int, stored: int) -> None:
    film = with_stream(encode(CHEST, bits), syntax, CHEST.shape, BitsStored=stored, HighBit=stored - 1)
    assert np.array_equal(read(tmp_path, film).pixels, CHEST)


@pytest.mark.parametrize(("syntax", "encode", "bits"), UNSIGNED)
@pytest.mark.parametrize("stored", [12, 16])
def test_an_unsigned_stream_under_a_signed_header_is_twos_complement(
    tmp_path: Path, syntax: str, encode: Any, bits: int, stored: int
) -> None:
    """Of the stream's precision: JPEG and JPEG-LS know no sign, and some writers of JPEG 2000 do not set it."""
    coded = COMPLEMENT if bits == 12 else TURNED.view(np.uint16)
    film = with_stream(
        encode(coded, bits), syntax, CHEST.shape, BitsStored=stored, HighBit=stored - 1, PixelRepresentation=1
    )
    assert np.array_equal(read(tmp_path, film).pixels, TURNED)


@pytest.mark.parametrize(("syntax", "encode", "bits"), [row for row in UNSIGNED if row[2] == 16])
def test_or_of_bits_stored(tmp_path: Path, syntax: str, encode: Any, bits: int) -> None:
    film = with_stream(encode(COMPLEMENT, bits), syntax, CHEST.shape, PixelRepresentation=1)
    assert np.array_equal(read(tmp_path, film).pixels, TURNED)


def test_positive_values_under_a_signed_header_stay_positive(tmp_path: Path) -> None:
    film = with_stream(j2k(CHEST, 12), uid.JPEG2000Lossless, CHEST.shape, BitsStored=16, HighBit=15,
                       PixelRepresentation=1)  # fmt: skip
    assert np.array_equal(read(tmp_path, film).pixels, CHEST)


def test_a_signed_stream_under_a_signed_header(tmp_path: Path) -> None:
    for stored in (12, 16):
        film = with_stream(j2k(TURNED, 12), uid.JPEG2000Lossless, CHEST.shape, BitsStored=stored, HighBit=stored - 1,
                           PixelRepresentation=1)  # fmt: skip
        assert np.array_equal(read(tmp_path, film).pixels, TURNED)


def test_a_signed_stream_under_an_unsigned_header_is_never_guessed(tmp_path: Path) -> None:
    film = with_stream(j2k(TURNED, 12), uid.JPEG2000Lossless, CHEST.shape)
    with pytest.raises(CodestreamMismatch):
        read(tmp_path, film)
    positive = with_stream(j2k(CHEST.astype(np.int16), 13), uid.JPEG2000Lossless, CHEST.shape)
    assert np.array_equal(read(tmp_path, positive).pixels, CHEST)


def test_more_bits_than_are_allocated_are_a_mismatch(tmp_path: Path) -> None:
    film = with_stream(j2k(CHEST, 12), uid.JPEG2000Lossless, CHEST.shape, BitsAllocated=8, BitsStored=8, HighBit=7)
    with pytest.raises(CodestreamMismatch):
        read(tmp_path, film)


@pytest.mark.parametrize("encode", [jpegls, htj2k, j2k, jpeg])
def test_overshoot_is_not_wrapped_to_black(tmp_path: Path, encode: Any) -> None:
    """White that a lossy coder made a little whiter: kept, so that a window that reaches further shows it, too."""
    syntax = {jpegls: uid.JPEGLSLossless, htj2k: uid.HTJ2KLossless, j2k: uid.JPEG2000Lossless,
              jpeg: uid.JPEGLosslessSV1}[encode]  # fmt: skip
    over = CHEST.copy()
    over[10:20, 10:20], over[15, 15], over[12, 18] = 4095, 4097, 4103
    assert np.array_equal(read(tmp_path, with_stream(encode(over, 16), syntax, over.shape)).pixels, over)


def test_near_lossless_overshoot(tmp_path: Path) -> None:
    white = np.minimum(CHEST.astype(np.uint32) * 2, 4095).astype(np.uint16)
    near = bytes(imagecodecs.jpegls_encode(white, level=4))
    pixels = read(tmp_path, with_stream(near, uid.JPEGLSNearLossless, white.shape)).pixels
    assert np.abs(pixels.astype(int) - white).max() <= 4


def test_ten_bits_in_a_twelve_bit_jpeg(tmp_path: Path) -> None:
    ten = np.where(np.arange(80)[None, :] // 5 % 2, 1023, CHEST // 4).astype(np.uint16)  # sharp edges overshoot
    lossy = bytes(imagecodecs.jpeg8_encode(ten, level=80, bitspersample=12))
    film = with_stream(lossy, uid.JPEGExtended12Bit, ten.shape, BitsStored=10, HighBit=9)
    pixels = read(tmp_path, film).pixels
    assert int(pixels.max()) > 1023
    assert np.abs(pixels.astype(int) - ten).max() < 100


@pytest.mark.parametrize(("syntax", "encode", "bits"), [row for row in UNSIGNED if row[2] == 16])
def test_an_overlay_above_bits_stored_is_no_pixel(tmp_path: Path, syntax: str, encode: Any, bits: int) -> None:
    overlay = np.zeros_like(CHEST)
    overlay[5:20, 5:9] = overlay[16:20, 5:15] = overlay[48:50, 10:70] = 1 << 12
    assert np.array_equal(read(tmp_path, with_stream(encode(CHEST | overlay, bits), syntax, CHEST.shape)).pixels, CHEST)


@pytest.mark.parametrize("kind", ["complement", "overlay", "signed", "below"])
def test_a_lower_resolution_only_where_samples_are_pixels(tmp_path: Path, kind: str) -> None:
    """Neighbours must not be mixed before their sign is known and what is no pixel is gone."""
    pixels = chest_pixels(640, 576)
    turned = pixels.astype(np.int16) - 2048
    stream, header = {
        "complement": (j2k(turned.view(np.uint16) & 0x0FFF, 12), {"PixelRepresentation": 1}),
        "overlay": (j2k(pixels | (np.eye(640, 576, dtype=np.uint16) << 12), 16), {}),
        "signed": (j2k(turned, 12), {"PixelRepresentation": 1}),
        "below": (j2k(pixels, 12), {"BitsStored": 16, "HighBit": 15}),
    }[kind]
    path = save(with_stream(stream, uid.JPEG2000Lossless, pixels.shape, **header), tmp_path / "film.dcm")
    right = turned if kind in ("complement", "signed") else pixels
    assert np.array_equal(read_radiograph(path, least_side=140).pixels, right)


@pytest.mark.parametrize("signed", [False, True])
def test_cells_that_were_coded_as_they_lie(tmp_path: Path, signed: bool) -> None:
    """High Bit 15 with 12 Bits Stored: the pixel is in the upper bits of a 16-bit sample."""
    coded = (COMPLEMENT if signed else CHEST) << 4
    film = with_stream(jpeg(coded, 16), uid.JPEGLosslessSV1, CHEST.shape, HighBit=15, PixelRepresentation=int(signed))
    assert np.array_equal(read(tmp_path, film).pixels, TURNED if signed else CHEST)


def test_native_cells_are_masked_and_their_sign_extended(tmp_path: Path) -> None:
    for syntax in (uid.ExplicitVRLittleEndian, uid.RLELossless):
        film = chest_film("cells", pixels=COMPLEMENT | np.uint16(0x5000), PixelRepresentation=1)
        assert np.array_equal(read(tmp_path, in_syntax(film, syntax)).pixels, TURNED)


def test_samples_of_the_wrong_kind_are_no_picture() -> None:
    cell = Cell(bits_stored=12, high_bit=11, signed=False)
    for samples in (CHEST.astype(np.float32), CHEST.astype(np.uint32), TURNED):
        with pytest.raises(Exception, match=""):
            from_samples(samples, cell, bits=12, signed=False)


# -- one frame in any number of items ----------------------------------------------------------------------------------

COMPRESSED = [row for row in TRANSFER_SYNTAXES if row.codec != "raw"]
SMALL = chest_pixels(64, 48)


def items(fragments: list[bytes], table: bytes = b"") -> bytes:
    return b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item for item in [table, *fragments])


def cut(encoded: bytes, *places: int) -> list[bytes]:
    edges = [0, *places, len(encoded)]
    return [encoded[begin:end] for begin, end in pairwise(edges)]


WAYS = {
    "an offset for each fragment": lambda e: items(cut(e, 100, 200, 300), struct.pack("<4L", 0, 108, 216, 324)),
    "offsets that are wrong": lambda e: items(cut(e, 100), struct.pack("<2L", 7, 1 << 30)),
    "an empty item": lambda e: items([b"", *cut(e, 200), b""]),
    "fragments of odd length": lambda e: items(cut(e, 33, 101, 102)),
    "odd lengths that leave the padding out": lambda e: b"".join(
        struct.pack("<HHL", 0xFFFE, 0xE000, len(part)) + part + b"\0" * (len(part) % 2)
        for part in [b"", *cut(e, 33, 101)]
    ),
    "zeros behind the end": lambda e: items([e + bytes(600)]),
    "zeros in an item of their own": lambda e: items([e, bytes(64)]),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda row: row.name)
def test_one_frame_however_it_is_wrapped(tmp_path: Path, syntax: TransferSyntax, way: Any) -> None:
    film = in_syntax(chest_film("wrapped", pixels=SMALL), syntax.uid)
    whole = read(tmp_path, film).pixels
    film.PixelData = way(codestream(film))
    assert np.array_equal(read(tmp_path, film).pixels, whole)


def test_an_extended_offset_table_changes_nothing(tmp_path: Path) -> None:
    film = in_syntax(chest_film("extended", pixels=SMALL), uid.JPEGLosslessSV1)
    film.PixelData, film.ExtendedOffsetTable, film.ExtendedOffsetTableLengths = (
        items([codestream(film)]), struct.pack("<Q", 0), struct.pack("<Q", 99),
    )  # fmt: skip
    assert np.array_equal(read(tmp_path, film).pixels, SMALL)
