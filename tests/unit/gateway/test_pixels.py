"""A stored film to decoded pixels, or to the reason why not."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.encaps import encapsulate

from dicom_gateway.contexts import TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.encode import ENCODERS, in_syntax, save, wrap_image
from dicom_gateway.errors import (
    CorruptPixels,
    HeaderIncomplete,
    MultiFrame,
    NoPixelData,
    NotGrayscale,
    PixelError,
    TooManyPixels,
    UnsupportedSyntax,
)
from dicom_gateway.part10 import encode_meta
from dicom_gateway.pixels import read_radiograph
from tests.phantoms import chest_film, chest_pixels
from tests.unit.gateway.films import RAMP, SIGNED, SMALL, UNCOMPRESSED, codestream, film_of, read, shown
from tests.unit.gateway.test_part10 import DEEP, sequence, with_raw

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it


# -- decoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda row: row.name)
def test_every_transfer_syntax_gives_the_same_film(tmp_path: Path, syntax: TransferSyntax, bits: int) -> None:
    pixels = chest_pixels(bits=bits)
    pixels = pixels.astype(np.uint8) if bits == 8 else pixels
    film = chest_film("decoded", pixels=pixels, BitsStored=bits, HighBit=bits - 1, WindowCenter=1 << bits - 1,
                      WindowWidth=1 << bits)  # fmt: skip
    path = save(in_syntax(film, syntax.uid), tmp_path / "film.dcm")
    decoded = read_radiograph(path)
    original = read_radiograph(save(film, tmp_path / "original.dcm"))
    assert decoded.pixels.shape == pixels.shape
    if syntax.lossy:
        difference = np.abs(shown(decoded) - shown(original))
        assert difference.mean() < 0.01
        assert difference.max() < 0.08
    else:
        assert np.array_equal(decoded.pixels, pixels)
        assert np.array_equal(shown(decoded), shown(original))


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(16, 16), (15, 17), (1, 1), (3, 3)])
def test_uncompressed_pixels_are_pydicoms(
    tmp_path: Path, syntax: str, dtype: type[np.generic], shape: tuple[int, int]
) -> None:
    dice = np.random.default_rng(7)
    bits = np.dtype(dtype).itemsize * 8
    pixels = dice.integers(0, 1 << bits, shape).astype(f"u{bits // 8}").view(dtype)
    film = film_of(pixels, BitsStored=bits, HighBit=bits - 1)
    path = save(in_syntax(film, syntax), tmp_path / "film.dcm")
    assert np.array_equal(read_radiograph(path).pixels, pixels)
    assert np.array_equal(dcmread(path).pixel_array, pixels)


@pytest.mark.parametrize("shape", [(4, 6), (3, 3), (1, 1)])
def test_bytes_in_big_endian_words_are_swapped(tmp_path: Path, shape: tuple[int, int]) -> None:
    """PS3.5 A.3 and 8.2: 8-bit samples in OW, most significant byte of each word first."""
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    film = in_syntax(film_of(pixels), uid.ExplicitVRBigEndian)
    padded = pixels.tobytes() + b"\0" * (pixels.size % 2)
    film.PixelData = np.frombuffer(padded, np.uint8).reshape(-1, 2)[:, ::-1].tobytes()
    film["PixelData"].VR = "OW"
    assert np.array_equal(read(tmp_path, film).pixels, pixels)
    assert np.array_equal(dcmread(tmp_path / "film.dcm").pixel_array, pixels)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian], ids=lambda one: one.name)
@pytest.mark.parametrize("vr", [b"OB", b"OW"])
def test_an_odd_number_of_bytes_without_padding(tmp_path: Path, syntax: str, vr: bytes) -> None:
    path = save(in_syntax(film_of(np.ones((3, 3), np.uint8)), syntax), tmp_path / "odd.dcm")
    order = "<" if syntax == uid.ExplicitVRLittleEndian else ">"
    head = struct.pack(order + "HH", 0x7FE0, 0x0010)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(head)] + head + vr + struct.pack(order + "xxL", 9) + b"\1" * 9)
    try:
        assert np.array_equal(read_radiograph(path).pixels, np.ones((3, 3)))
    except PixelError:
        assert (order, vr) == (">", b"OW")  # whole words promised, and half of one missing


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000], ids=lambda one: one.name)
def test_jpeg_2000_in_a_jp2_box(tmp_path: Path, syntax: str) -> None:
    film = in_syntax(chest_film("boxed", pixels=SMALL), syntax)
    boxed = imagecodecs.jpeg2k_encode(SMALL, codecformat="jp2", reversible=True, bitspersample=12)
    assert b"jP  " in boxed[:16]
    film.PixelData = encapsulate([boxed])
    assert np.array_equal(read(tmp_path, film).pixels, SMALL)


@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda one: one.name)
def test_a_frame_in_several_fragments(tmp_path: Path, syntax: str) -> None:
    film = in_syntax(chest_film("fragments", pixels=SMALL), syntax)
    whole = read(tmp_path, film)
    film.PixelData = encapsulate([codestream(film)], fragments_per_frame=3)
    assert np.array_equal(read(tmp_path, film).pixels, whole.pixels)


def test_bits_above_bits_stored_are_not_pixels(tmp_path: Path) -> None:
    """Overlays in the high bits, as PS3.5 8.1.2 had them."""
    overlaid = RAMP | np.uint16(0xA000)
    assert np.array_equal(read(tmp_path, film_of(overlaid)).pixels, RAMP)
    signed = (SIGNED.view(np.uint16) & 0x0FFF) | np.uint16(0x5000)
    film = film_of(signed, PixelRepresentation=1)
    assert np.array_equal(read(tmp_path, film).pixels, SIGNED)


@pytest.mark.parametrize("high_bit", [11, 12, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_high_bit_moves_the_pixels(tmp_path: Path, high_bit: int, signed: bool) -> None:
    source = SIGNED if signed else RAMP
    moved = ((source.view(np.uint16) & 0x0FFF) << (high_bit - 11)).astype(np.uint16)
    film = film_of(moved, HighBit=high_bit, PixelRepresentation=int(signed))
    assert np.array_equal(read(tmp_path, film).pixels, source)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_negative_values_keep_their_sign(tmp_path: Path, bits: int) -> None:
    half = 1 << bits - 1
    pixels = np.linspace(-half, half - 1, 256).round().astype(np.int16).reshape(16, 16)
    film = film_of(pixels, BitsStored=bits, HighBit=bits - 1)
    read_back = read(tmp_path, film)
    assert np.array_equal(read_back.pixels, pixels)
    assert (read_back.low, read_back.high) == (-half, half - 1)


def test_a_wrapped_picture_is_read_back(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), chest_pixels(31, 33, bits=16))
    film = wrap_image(picture)
    read_back = read(tmp_path, film)
    assert np.array_equal(read_back.pixels, chest_pixels(31, 33, bits=16))
    assert (read_back.low, read_back.high) == (0, (1 << 16) - 1)
    assert wrap_image(picture).SOPInstanceUID == film.SOPInstanceUID
    with pytest.raises(ValueError, match="not a readable"):
        wrap_image(Path(__file__))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"PixelData": None}, NoPixelData),
        ({"PixelData": b""}, NoPixelData),
        ({"Rows": None}, HeaderIncomplete),
        ({"Columns": None}, HeaderIncomplete),
        ({"Rows": 0}, HeaderIncomplete),
        ({"BitsAllocated": None}, HeaderIncomplete),
        ({"BitsAllocated": 32}, HeaderIncomplete),
        ({"BitsAllocated": 1}, HeaderIncomplete),
        ({"BitsStored": 17}, HeaderIncomplete),
        ({"HighBit": 16}, HeaderIncomplete),
        ({"HighBit": 3}, HeaderIncomplete),
        ({"PhotometricInterpretation": None}, HeaderIncomplete),
        ({"PhotometricInterpretation": ""}, HeaderIncomplete),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, NotGrayscale),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, NotGrayscale),
        ({"SamplesPerPixel": 3}, NotGrayscale),
        ({"NumberOfFrames": 2}, MultiFrame),
        ({"Rows": 65535, "Columns": 65535}, TooManyPixels),
        ({"Rows": 65}, CorruptPixels),
    ],
)
def test_a_film_without_a_radiograph_says_why(
    tmp_path: Path, attributes: dict[str, Any], error: type[PixelError]
) -> None:
    with pytest.raises(error) as caught:
        read(tmp_path, film_of(SMALL, **attributes))
    assert type(caught.value) is error


@pytest.mark.parametrize("attributes", [{"SamplesPerPixel": None}, {"BitsStored": None, "HighBit": None},
                                        {"PixelRepresentation": None}, {"NumberOfFrames": 1}])  # fmt: skip
def test_what_can_be_told_without_guessing_is_read(tmp_path: Path, attributes: dict[str, Any]) -> None:
    assert np.array_equal(read(tmp_path, film_of(SMALL, **attributes)).pixels, SMALL)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00280010, b"US", b"abc"),
        (0x00280100, b"LO", b"many"),
        (0x00280100, b"US", b""),
    ],
)  # fmt: skip
def test_unreadable_attributes_are_a_pixel_error(tmp_path: Path, tag: int, vr: bytes, value: bytes) -> None:
    path = save(film_of(SMALL), tmp_path / "odd.dcm")
    with_raw(path, tag, vr, value)
    with pytest.raises(PixelError):
        read_radiograph(path)


NEST = sequence((0x0028, 0x3010), DEEP)
SEQUENCES = {
    "nested too deep": struct.pack("<HHL", 0xFFFE, 0xE000, len(NEST)) + NEST,
    "an item longer than the sequence": b"\xfe\xff\x00\xe0\x22\0\0\0" + bytes(18),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_look_up_table_that_cannot_be_parsed_is_left_out(tmp_path: Path, name: str) -> None:
    path = save(film_of(SMALL), tmp_path / "odd.dcm")
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    raw = struct.pack("<HH2sxxL", 0x0028, 0x3010, b"SQ", len(SEQUENCES[name])) + SEQUENCES[name]
    path.write_bytes(content[:start] + raw + content[start:])
    film = read_radiograph(path)
    assert np.array_equal(film.pixels, SMALL)
    assert film.notes == ("voi_lut_unusable",)


def test_a_window_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    path = save(film_of(SMALL), tmp_path / "odd.dcm")
    with_raw(path, 0x00281050, b"LO", b"wide")
    film = read_radiograph(path)
    assert np.array_equal(film.pixels, SMALL)
    assert film.notes == ("window_unusable",)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda row: row.name)
def test_enormous_films_are_refused_before_anything_is_allocated(tmp_path: Path, syntax: TransferSyntax) -> None:
    film = in_syntax(chest_film("huge", pixels=SMALL), syntax.uid)
    film.Rows = film.Columns = 65535
    path = save(film, tmp_path / "huge.dcm")
    tracemalloc.start()
    try:
        with pytest.raises(TooManyPixels):
            read_radiograph(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_unknown_transfer_syntax_is_unsupported(tmp_path: Path) -> None:
    path = save(film_of(SMALL), tmp_path / "film.dcm")
    body = path.read_bytes()
    body = body[body.index(b"\x08\x00\x16\x00UI") :]
    path.write_bytes(encode_meta(uid.DigitalXRayImageStorageForPresentation, "1.2.3", uid.MPEG2MPML) + body)
    with pytest.raises(UnsupportedSyntax):
        read_radiograph(path)


@pytest.mark.parametrize("claimed", [uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEG2000Lossless])
def test_plain_pixels_under_a_compressed_syntax_are_corrupt(tmp_path: Path, claimed: str) -> None:
    path = save(film_of(SMALL), tmp_path / "film.dcm")
    body = path.read_bytes()
    body = body[body.index(b"\x08\x00\x16\x00UI") :]
    path.write_bytes(encode_meta(uid.DigitalXRayImageStorageForPresentation, "1.2.3", claimed) + body)
    with pytest.raises(CorruptPixels):
        read_radiograph(path)
