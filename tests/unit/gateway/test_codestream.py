"""Compressed frames that are not what the header says, cut, damaged, or promise too much."""

import struct
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicom_gateway import openjpeg
from dicom_gateway.codecs import decode_codestream, decode_rle
from dicom_gateway.contexts import TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.encode import in_syntax, save
from dicom_gateway.errors import CodestreamMismatch, CorruptPixels, PixelError
from dicom_gateway.pixels import read_radiograph
from tests.phantoms import chest_film, chest_pixels, write_film
from tests.unit.gateway.films import SMALL, codestream, read
from tests.unit.gateway.test_damage import sample

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it


COMPRESSED = [row for row in TRANSFER_SYNTAXES if row.codec != "raw"]


CODESTREAMS = [row for row in COMPRESSED if row.codec != "rle"]


def with_codestream(film: Dataset, encoded: bytes) -> Dataset:
    film.PixelData = encapsulate([encoded])
    film["PixelData"].is_undefined_length = True
    film["PixelData"].VR = "OB"
    return film


@pytest.mark.parametrize("syntax", CODESTREAMS, ids=lambda row: row.name)
@pytest.mark.parametrize("size", [(64, 49), (65, 48), (48, 64), (32, 48)])
def test_a_codestream_of_another_size_is_refused(tmp_path: Path, syntax: TransferSyntax, size: tuple[int, int]) -> None:
    film = in_syntax(chest_film("size", pixels=chest_pixels(*size)), syntax.uid)
    film.Rows, film.Columns = 64, 48
    with pytest.raises(CodestreamMismatch):
        read(tmp_path, film)


def test_an_rle_frame_with_too_few_pixels_is_corrupt(tmp_path: Path) -> None:
    film = in_syntax(chest_film("size", pixels=chest_pixels(63, 48)), uid.RLELossless)
    film.Rows = 64
    with pytest.raises(CorruptPixels):
        read(tmp_path, film)


@pytest.mark.parametrize("codec", ["jpeg", "jpegls", "jpeg2k", "htj2k"])
def test_a_colour_codestream_under_a_grayscale_header_is_a_mismatch(tmp_path: Path, codec: str) -> None:
    row = next(row for row in TRANSFER_SYNTAXES if row.codec == codec)
    encode = {
        "jpeg": imagecodecs.jpeg8_encode,
        "jpegls": imagecodecs.jpegls_encode,
        "jpeg2k": lambda colour: imagecodecs.jpeg2k_encode(colour, codecformat="j2k"),
        "htj2k": imagecodecs.htj2k_encode,
    }[codec]
    film = in_syntax(chest_film("colour", pixels=SMALL), row.uid)
    colour = np.repeat((SMALL >> 4).astype(np.uint8)[:, :, None], 3, axis=2)
    with pytest.raises(CodestreamMismatch):
        read(tmp_path, with_codestream(film, bytes(encode(np.ascontiguousarray(colour)))))


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda row: row.name)
def test_a_cut_codestream_is_refused_wherever_it_is_cut(tmp_path: Path, syntax: TransferSyntax) -> None:
    film = in_syntax(chest_film("cut", pixels=SMALL), syntax.uid)
    encoded = codestream(film).rstrip(b"\0")
    cuts = sorted({*np.linspace(1, len(encoded) - 1, 40).astype(int), 2, 3, 20})
    for cut in cuts:
        with pytest.raises(PixelError):
            read(tmp_path, with_codestream(film, encoded[:cut]))


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda row: row.name)
@pytest.mark.parametrize("turns", [16, pytest.param(60, marks=pytest.mark.slow)])
def test_flipped_bytes_give_a_refusal_or_pixels_of_the_right_shape(
    tmp_path: Path, syntax: TransferSyntax, turns: int
) -> None:
    film = in_syntax(chest_film("flipped", pixels=SMALL), syntax.uid)
    encoded = codestream(film)
    dice = np.random.default_rng(11)
    refused = 0
    for turn in range(turns):
        damaged = bytearray(encoded)
        reach = 80 if turn % 2 else len(encoded)
        for position in dice.integers(0, min(reach, len(encoded)), 3):
            damaged[position] = dice.integers(256)
        try:
            assert read(tmp_path, with_codestream(film, bytes(damaged))).pixels.shape == SMALL.shape
        except PixelError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "items",
    [
        b"",
        b"\xfe\xff\x00\xe0\0\0\0\0",
        b"\xfe\xff\x00\xe0\x03\0\0\0abc",
        b"\xfe\xff\x00\xe0\x04\0\0\0\xff\xff\xff\x7f\xfe\xff\x00\xe0\x02\0\0\0ab",
    ],
    ids=["nothing", "empty table", "odd table", "offset behind the end"],
)
def test_encapsulation_without_a_frame_is_corrupt(tmp_path: Path, syntax: TransferSyntax, items: bytes) -> None:
    film = in_syntax(chest_film("items", pixels=SMALL), syntax.uid)
    path = save(film, tmp_path / "film.dcm")
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OB") + 12
    path.write_bytes(content[:start] + items + b"\xfe\xff\xdd\xe0\0\0\0\0")
    with pytest.raises(PixelError):
        read_radiograph(path)


@pytest.mark.parametrize("syntax", CODESTREAMS, ids=lambda row: row.name)
def test_a_codestream_that_promises_a_huge_frame_is_not_decoded(tmp_path: Path, syntax: TransferSyntax) -> None:
    film = in_syntax(chest_film("promise", pixels=SMALL), syntax.uid)
    encoded = codestream(film)
    for old, new in ((struct.pack(">HH", 64, 48), struct.pack(">HH", 65000, 65000)),
                     (struct.pack(">LL", 48, 64), struct.pack(">LL", 65000, 65000))):  # fmt: skip
        encoded = encoded.replace(old, new, 1)
    assert encoded != codestream(film)
    tracemalloc.start()
    try:
        with pytest.raises(CodestreamMismatch):
            read(tmp_path, with_codestream(film, encoded))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def beside_grey(encoded: bytes, rows: int, columns: int) -> bytes:
    """The JPEG 2000 picture as a first tile, and right of it as much mid grey: a tile of packets without data.

    Such a packet is one byte of zero (ITU T.800 B.10.3); its precincts are of 16 x 16.
    """
    cod, sot = encoded.index(b"\xff\x52"), encoded.index(b"\xff\x90")
    levels = encoded[cod + 9]
    style = struct.pack(">HHB", 0xFF52, 13 + levels, encoded[cod + 4] | 1) + encoded[cod + 5 : cod + 14]
    packets = 0
    for level in range(levels + 1):
        low, left, right = (-(-size >> level) for size in (rows, columns, 2 * columns))
        packets += -(-low // 16) * (-(-right // 16) - left // 16)
    second = style + b"\x44" * (levels + 1) + b"\xff\x93" + bytes(packets)
    assert packets > 1000
    main = bytearray(encoded[:sot])
    struct.pack_into(">L", main, 8, 2 * columns)
    struct.pack_into(">LL", main, 24, columns, rows)
    first = encoded[sot : encoded.rindex(b"\xff\xd9")]
    return bytes(main) + first + struct.pack(">HHHLBB", 0xFF90, 10, 1, 12 + len(second), 0, 1) + second + b"\xff\xd9"


def lossless_or_not(codec: str, reversible: bool) -> bytes:
    if codec == "jpeg2k":
        return bytes(imagecodecs.jpeg2k_encode(sample(), reversible=reversible, level=60, codecformat="j2k"))
    return bytes(imagecodecs.htj2k_encode(sample(), reversible=reversible, level=0.001))


@pytest.mark.parametrize("least_side", [None, 100])
@pytest.mark.parametrize("reversible", [True, False], ids=["lossless", "lossy"])
@pytest.mark.parametrize("codec", ["jpeg2k", "htj2k"])
def test_a_thousand_packets_without_data_are_no_damage(codec: str, reversible: bool, least_side: int | None) -> None:
    encoded = lossless_or_not(codec, reversible)
    rows, columns = sample().shape
    alone, _ = decode_codestream(codec, encoded, rows, columns, least_side)
    both, _ = decode_codestream(codec, beside_grey(encoded, rows, columns), rows, 2 * columns, least_side)
    assert np.array_equal(both[:, : alone.shape[1]], alone)
    assert (both[:, alone.shape[1] :] == 1 << 15).all()


@pytest.mark.parametrize("codec", ["jpeg", "jpegls", "jpeg2k", "htj2k"])
def test_a_comment_of_zeros_and_a_second_end_marker_are_no_damage(codec: str) -> None:
    if codec in ("jpeg2k", "htj2k"):
        encoded, place, marker = lossless_or_not(codec, False), b"\xff\x90", b"\xff\x64"
    else:
        pixels = (sample() >> 4).astype(np.uint8)
        encoded = bytes((imagecodecs.jpeg8_encode if codec == "jpeg" else imagecodecs.jpegls_encode)(pixels))
        place, marker = b"\xff\xda", b"\xff\xfe"
    plain, _ = decode_codestream(codec, encoded, *sample().shape)
    at = encoded.index(place)
    comment = encoded[:at] + marker + struct.pack(">H", 2004) + bytes(2002) + encoded[at:]
    end = encoded[-2:]
    assert end == b"\xff\xd9"
    for stream in (comment, encoded + end, encoded + b"\0" + end, encoded + bytes(300) + end + b"\0"):
        assert np.array_equal(decode_codestream(codec, stream, *sample().shape)[0], plain)


def test_zeros_for_the_data_of_a_lossy_high_throughput_film_are_damage() -> None:
    """Neither decoder sees them where they end before a code-block does."""
    encoded, unseen = bytes(imagecodecs.htj2k_encode(sample(), reversible=False, level=0.0002)), 0
    for at in range(3000, len(encoded) - 1000, 1000):
        damaged = encoded[:at] + bytes(512) + encoded[at + 512 :]
        try:
            openjpeg.decode(damaged)
        except CorruptPixels:
            continue
        unseen += 1
        with pytest.raises(CorruptPixels):
            decode_codestream("htj2k", damaged, *sample().shape)
    assert unseen


def literal_segment(plane: bytes) -> bytes:
    """RLE as it may be written and hardly is: each byte a run of one (PS3.5 G.3.1)."""
    return b"".join(bytes((0, value)) for value in plane)


def test_black_that_was_not_run_length_coded_is_no_damage() -> None:
    pixels = np.zeros((64, 48), np.uint16)
    plane = literal_segment(bytes(pixels.size))
    encoded = struct.pack("<16L", 2, 64, 64 + len(plane), *[0] * 13) + 2 * plane
    assert np.array_equal(decode_rle(encoded, *pixels.shape, 16), pixels)


def test_rle_is_pydicoms(tmp_path: Path) -> None:
    path = write_film(tmp_path, "round", syntax=uid.RLELossless)
    assert np.array_equal(read_radiograph(path).pixels, dcmread(path).pixel_array)


@pytest.mark.parametrize(
    "comment", [b"", b"\xff\xfe\x00\x0c\xff\xda" + bytes(8)], ids=["plain", "a comment like a scan"]
)
def test_a_corner_that_is_brighter_is_refused_whatever_a_comment_holds(comment: bytes) -> None:
    """What a damaged difference leaves where three neighbours predict: a new step in all rows and columns behind it."""
    pixels = sample()
    pixels[200:, 150:] = np.clip(pixels[200:, 150:].astype(int) + 300, 0, 4095)
    encoded = bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=12, predictor=4))
    with pytest.raises(CorruptPixels):
        decode_codestream("jpeg", encoded[:2] + comment + encoded[2:], *pixels.shape)
