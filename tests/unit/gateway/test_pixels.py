"""A stored film to decoded pixels and how they are shown, against pydicom and against the standard's own formulas."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from dicom_gateway.contexts import TRANSFER_SYNTAXES, TransferSyntax
from dicom_gateway.encode import ENCODERS, in_syntax, save, wrap_image
from dicom_gateway.errors import (
    CodestreamMismatch,
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
from dicom_gateway.pixels import Radiograph, read_radiograph
from tests.phantoms import chest_film, chest_pixels, write_film
from tests.unit.gateway.test_part10 import DEEP, sequence, with_raw

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it

SMALL = chest_pixels(64, 48)
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
SIGNED = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)


def shown(film: Radiograph) -> NDArray[np.float64]:
    """What `Radiograph` says it shows, 0 black to 1 white."""
    display = np.clip((film.pixels.astype(np.float64) - film.low) / (film.high - film.low), 0, 1)
    return 1 - display if film.inverted else display


def shown_by_pydicom(film: Dataset) -> NDArray[np.float64]:
    """apply_modality_lut and apply_voi_lut, scaled from the output range that pydicom documents to 0..1."""
    signed = film.PixelRepresentation == 1
    low, high = (
        (-(2 ** (film.BitsStored - 1)), 2 ** (film.BitsStored - 1) - 1) if signed else (0, 2**film.BitsStored - 1)
    )
    if "ModalityLUTSequence" in film:
        low, high = 0, 2 ** film.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    slope, intercept = float(film.get("RescaleSlope", 1)), float(film.get("RescaleIntercept", 0))
    low, high = low * slope + intercept, high * slope + intercept
    if "VOILUTSequence" in film:
        low, high = 0, 2 ** film.VOILUTSequence[0].LUTDescriptor[2] - 1
    output = np.asarray(apply_voi_lut(apply_modality_lut(film.pixel_array, film), film), np.float64)
    display = (output - low) / (high - low)
    return 1 - display if film.PhotometricInterpretation == "MONOCHROME1" else display


def lut(entries: list[int], *, first: int = 0, bits: int = 16) -> Sequence:
    table = Dataset()
    table.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries), first, bits])
    table.add_new("LUTData", "US", entries)
    table.ModalityLUTType = "US"
    return Sequence([table])


def film_of(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    if pixels.dtype.kind == "i":
        attributes = {"PixelRepresentation": 1} | attributes
    return chest_film("shown", pixels=pixels, **attributes)


def read(folder: Path, film: Dataset) -> Radiograph:
    return read_radiograph(save(film, folder / "film.dcm"))


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


UNCOMPRESSED = [row.uid for row in TRANSFER_SYNTAXES if row.codec == "raw"]


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


# -- display -----------------------------------------------------------------------------------------------------------

LINEAR = {"WindowCenter": 2000, "WindowWidth": 1500}
CURVE = [int(65535 * (number / 4095) ** 2) for number in range(4096)]
DISPLAYS: dict[str, dict[str, Any]] = {
    "linear": LINEAR,
    "linear, wider than the pixels": {"WindowCenter": 2000, "WindowWidth": 9000},
    "linear, beside the pixels": {"WindowCenter": 9000, "WindowWidth": 100},
    "linear exact": LINEAR | {"VOILUTFunction": "LINEAR_EXACT"},
    "linear exact, narrow": {"WindowCenter": 2000, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"},
    "linear, narrow": {"WindowCenter": 2000, "WindowWidth": 2},
    "sigmoid": LINEAR | {"VOILUTFunction": "SIGMOID"},
    "sigmoid, flat": {"WindowCenter": 2000, "WindowWidth": 9000, "VOILUTFunction": "SIGMOID"},
    "first of two windows": {"WindowCenter": [2000, 100], "WindowWidth": [1500, 10]},
    "rescale": {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 1000, "WindowWidth": 3000},
    "negative slope": {"RescaleSlope": -1, "RescaleIntercept": 4095} | LINEAR,
    "negative slope, sigmoid": {"RescaleSlope": -1, "RescaleIntercept": 4095, "VOILUTFunction": "SIGMOID"} | LINEAR,
    "rescale, sigmoid": {"RescaleSlope": 0.5, "RescaleIntercept": 100, "VOILUTFunction": "SIGMOID"} | LINEAR,
    "VOI LUT": {"VOILUTSequence": lut(CURVE)},
    "VOI LUT before a window": {"VOILUTSequence": lut(CURVE)} | LINEAR,
    "VOI LUT, first mapped": {"VOILUTSequence": lut(CURVE[:1000], first=500)},
    "VOI LUT of 12 bits": {"VOILUTSequence": lut([value >> 4 for value in CURVE], bits=12)},
    "modality LUT and window": {"ModalityLUTSequence": lut(CURVE), "WindowCenter": 30000, "WindowWidth": 20000},
    "modality LUT, wide window": {"ModalityLUTSequence": lut(CURVE), "WindowCenter": 30000, "WindowWidth": 90000},
    "modality and VOI LUT": {
        "ModalityLUTSequence": lut([value >> 4 for value in CURVE]),
        "VOILUTSequence": lut(CURVE),
    },
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("name", DISPLAYS)
def test_the_display_is_pydicoms(tmp_path: Path, name: str, photometric: str) -> None:
    film = film_of(RAMP, PhotometricInterpretation=photometric, **DISPLAYS[name])
    assert shown(read(tmp_path, film)) == pytest.approx(shown_by_pydicom(film), abs=2e-4)


@pytest.mark.parametrize("name", ["linear", "linear exact", "sigmoid", "rescale", "negative slope"])
def test_the_display_of_signed_pixels_is_pydicoms(tmp_path: Path, name: str) -> None:
    film = film_of(SIGNED, **(DISPLAYS[name] | {"WindowCenter": -100}))
    assert shown(read(tmp_path, film)) == pytest.approx(shown_by_pydicom(film), abs=2e-4)


def test_an_8_bit_look_up_table_of_4096_entries(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.1, by hand: pydicom 3.0 wraps the index at 256 here."""
    entries = [value >> 8 for value in CURVE]
    film = film_of(RAMP, VOILUTSequence=lut(entries, bits=8))
    assert shown(read(tmp_path, film)) == pytest.approx(np.array(entries).reshape(64, 64) / 255, abs=1e-6)


def test_a_12_bit_modality_table(tmp_path: Path) -> None:
    """PS3.3 C.11.1.1, by hand: pydicom 3.0 knows tables of 8 and 16 bits only."""
    entries = [value >> 4 for value in CURVE]
    film = read(tmp_path, film_of(RAMP, ModalityLUTSequence=lut(entries, bits=12), WindowCenter=2048, WindowWidth=4096))
    assert shown(film) == pytest.approx(np.array(entries).reshape(64, 64) / 4095, abs=1e-6)


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda one: one.name)
def test_a_table_of_words_in_every_byte_order(tmp_path: Path, syntax: str) -> None:
    film = film_of(RAMP, VOILUTSequence=lut(CURVE))
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    film.VOILUTSequence[0].add_new("LUTData", "OW", np.array(CURVE, f"{order}u2").tobytes())
    path = save(in_syntax(film, syntax), tmp_path / "film.dcm")
    assert shown(read_radiograph(path)) == pytest.approx(np.array(CURVE).reshape(64, 64) / 65535, abs=1e-6)


def test_a_table_for_negative_values(tmp_path: Path) -> None:
    film = film_of(SIGNED, VOILUTSequence=lut(CURVE, first=-2048))
    assert shown(read(tmp_path, film)) == pytest.approx(np.array(CURVE).reshape(64, 64) / 65535, abs=1e-6)


def test_linear_and_linear_exact_differ_by_the_standards_half(tmp_path: Path) -> None:
    linear = read(tmp_path, film_of(RAMP, WindowCenter=100, WindowWidth=11))
    exact = read(tmp_path, film_of(RAMP, WindowCenter=100, WindowWidth=11, VOILUTFunction="LINEAR_EXACT"))
    assert (linear.low, linear.high) == (94.5, 104.5)
    assert (exact.low, exact.high) == (94.5, 105.5)


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"WindowCenter": 100},
        {"WindowWidth": 100},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": 100, "WindowWidth": -5},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
    ],
)
def test_without_a_sensible_window_the_film_fills_the_range(tmp_path: Path, window: dict[str, float]) -> None:
    film = read(tmp_path, film_of(RAMP[10:30], **window))
    assert (film.low, film.high) == (RAMP[10].min(), RAMP[29].max())


def test_monochrome1_is_monochrome2_turned_round(tmp_path: Path) -> None:
    one = shown(read(tmp_path, film_of(RAMP, PhotometricInterpretation="MONOCHROME1", **LINEAR)))
    two = shown(read(tmp_path, film_of(RAMP, **LINEAR)))
    assert one == pytest.approx(1 - two)


def test_a_film_of_one_grey_value_is_no_division_by_zero(tmp_path: Path) -> None:
    film = read(tmp_path, film_of(np.full((8, 8), 77, np.uint16)))
    assert film.high > film.low
    assert np.isfinite(shown(film)).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "display", [{}, LINEAR, {"RescaleSlope": -1, "RescaleIntercept": 4095}, LINEAR | {"VOILUTFunction": "SIGMOID"}]
)
@pytest.mark.parametrize("limit", [None, 4095])
def test_padding_is_shown_black_and_stretches_nothing(
    tmp_path: Path, photometric: str, display: dict[str, Any], limit: int | None
) -> None:
    pixels = np.clip(RAMP, 1000, 3000)
    padded = pixels.copy()
    padded[:8] = 4000 if limit is None else 4090
    attributes = {"PhotometricInterpretation": photometric, **display}
    film = film_of(padded, PixelPaddingValue=4000, **attributes)
    if limit:
        film.PixelPaddingRangeLimit = limit
    with_padding = read(tmp_path, film)
    without = read(tmp_path, film_of(pixels, **attributes))
    assert (with_padding.low, with_padding.high) == (without.low, without.high)
    assert shown(with_padding)[8:] == pytest.approx(shown(without)[8:])
    assert shown(with_padding)[:8] == pytest.approx(0, abs=0.01)


def test_a_film_of_padding_alone_is_still_a_film(tmp_path: Path) -> None:
    film = read(tmp_path, film_of(np.full((8, 8), 5, np.uint16), PixelPaddingValue=5))
    assert film.pixels.shape == (8, 8)


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
        ({"VOILUTSequence": lut([])}, HeaderIncomplete),
        ({"VOILUTSequence": lut([1, 2, 3], bits=40)}, HeaderIncomplete),
        ({"VOILUTSequence": Sequence([Dataset()])}, HeaderIncomplete),
        ({"ModalityLUTSequence": Sequence([Dataset()])}, HeaderIncomplete),
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
        (0x00283010, b"SQ", b"xx"),
        (0x00280100, b"US", b""),
    ],
)  # fmt: skip
def test_unreadable_attributes_are_a_pixel_error(tmp_path: Path, tag: int, vr: bytes, value: bytes) -> None:
    path = save(film_of(SMALL), tmp_path / "odd.dcm")
    if vr == b"SQ":
        content = path.read_bytes()
        start = content.index(b"\xe0\x7f\x10\x00OW")
        raw = struct.pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, vr, 26) + b"\xfe\xff\x00\xe0\x22\0\0\0" + bytes(18)
        path.write_bytes(content[:start] + raw + content[start:])
    else:
        with_raw(path, tag, vr, value)
    with pytest.raises(PixelError):
        read_radiograph(path)


@pytest.mark.parametrize("vr", ["LO", "SQ"])
def test_odd_display_attributes_never_raise_anything_else(tmp_path: Path, vr: str) -> None:
    path = save(film_of(SMALL), tmp_path / "odd.dcm")
    nest = sequence((0x0028, 0x3010), DEEP)
    inner = struct.pack("<HHL", 0xFFFE, 0xE000, len(nest)) + nest
    raw = struct.pack("<HH2sxxL", 0x0028, 0x3010, b"SQ", len(inner)) + inner if vr == "SQ" else b""
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(content[:start] + raw + content[start:])
    if vr == "LO":
        with_raw(path, 0x00281050, b"LO", b"wide")
        assert np.array_equal(read_radiograph(path).pixels, SMALL)
    else:
        with pytest.raises(PixelError):
            read_radiograph(path)


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


# -- codestreams -------------------------------------------------------------------------------------------------------

COMPRESSED = [row for row in TRANSFER_SYNTAXES if row.codec != "raw"]
CODESTREAMS = [row for row in COMPRESSED if row.codec != "rle"]


def codestream(film: Dataset) -> bytes:
    """The one frame of an encapsulated film."""
    return next(generate_frames(film.PixelData, number_of_frames=1))


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
def test_flipped_bytes_give_a_refusal_or_pixels_of_the_right_shape(tmp_path: Path, syntax: TransferSyntax) -> None:
    film = in_syntax(chest_film("flipped", pixels=SMALL), syntax.uid)
    encoded = codestream(film)
    dice = np.random.default_rng(11)
    refused = 0
    for turn in range(60):
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


def test_rle_is_pydicoms(tmp_path: Path) -> None:
    path = write_film(tmp_path, "round", syntax=uid.RLELossless)
    assert np.array_equal(read_radiograph(path).pixels, dcmread(path).pixel_array)
