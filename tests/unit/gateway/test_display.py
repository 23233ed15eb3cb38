"""How decoded pixels are shown, against pydicom and against the standard's own formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.notes import NOTES
from dicom_gateway.pixels import read_radiograph
from tests.unit.gateway.films import RAMP, SIGNED, UNCOMPRESSED, film_of, lut, read, shown
from tests.unit.gateway.test_part10 import with_raw

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what we do to it


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


LINEAR = {"WindowCenter": 2000, "WindowWidth": 1500}


CURVE = [int(65535 * (number / 4095) ** 2) for number in range(4096)]


def short(entries: list[int]) -> Sequence:
    """A table with one entry fewer than it says."""
    table = lut(entries[:-1])
    table[0].LUTDescriptor = [len(entries), 0, 16]
    return table


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
    "VOI LUT, first mapped": {"VOILUTSequence": lut(CURVE[3096:], first=500)},
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


STANDS_IN: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "the next window": (
        {"WindowCenter": [2000, 100], "WindowWidth": [0, 50]},
        {"WindowCenter": 100, "WindowWidth": 50},
        ("window_unusable",),
    ),
    "own range for a width alone": ({"WindowWidth": 50}, {}, ("window_unusable",)),
    "the window for an empty table": (
        LINEAR | {"VOILUTSequence": Sequence([Dataset()])},
        LINEAR,
        ("voi_lut_unusable",),
    ),
    "the window for a short table": (LINEAR | {"VOILUTSequence": short(CURVE)}, LINEAR, ("voi_lut_unusable",)),
    "the window for a table of 0 bits": (
        LINEAR | {"VOILUTSequence": lut(CURVE, bits=0)},
        LINEAR,
        ("voi_lut_unusable",),
    ),
    "the window for a table of 17 bits": (
        LINEAR | {"VOILUTSequence": lut(CURVE, bits=17)},
        LINEAR,
        ("voi_lut_unusable",),
    ),
    "the window for a table of one grey": (
        LINEAR | {"VOILUTSequence": lut([7] * 4096)},
        LINEAR,
        ("voi_lut_unusable",),
    ),
    "own range for an empty table": ({"VOILUTSequence": Sequence([Dataset()])}, {}, ("voi_lut_unusable",)),
    "nothing for an empty sequence": ({"VOILUTSequence": Sequence(), "ModalityLUTSequence": Sequence()}, {}, ()),
    "the next table": (
        {"VOILUTSequence": Sequence([Dataset(), *lut(CURVE)])},
        {"VOILUTSequence": lut(CURVE)},
        ("voi_lut_unusable",),
    ),
    "the rescale for a modality table": (
        LINEAR | {"ModalityLUTSequence": Sequence([Dataset()]), "RescaleSlope": 2, "RescaleIntercept": -1000},
        LINEAR | {"RescaleSlope": 2, "RescaleIntercept": -1000},
        ("modality_lut_unusable",),
    ),
    "stored values for a modality table": (
        LINEAR | {"ModalityLUTSequence": short(CURVE)},
        LINEAR,
        ("modality_lut_unusable",),
    ),
    "1 for a slope of 0": (
        LINEAR | {"RescaleSlope": 0, "RescaleIntercept": 5},
        LINEAR | {"RescaleIntercept": 5, "RescaleSlope": 1},
        ("rescale_unusable",),
    ),
    "LINEAR for another function": (LINEAR | {"VOILUTFunction": "GAMMA"}, LINEAR, ("voi_function_unknown",)),
    "the bits that a table uses": (
        {"VOILUTSequence": lut([value >> 4 for value in CURVE])},
        {"VOILUTSequence": lut([value >> 4 for value in CURVE], bits=12)},
        ("voi_lut_bits",),
    ),
    "nothing for a padding that no pixel has": (LINEAR | {"PixelPaddingValue": 65535}, LINEAR, ("padding_unusable",)),
}


@pytest.mark.parametrize("name", STANDS_IN)
def test_what_stands_in_for_a_part_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    broken, whole, notes = STANDS_IN[name]
    expected = read_radiograph(save(film_of(RAMP, **whole), tmp_path / "whole.dcm"))
    film = read_radiograph(save(film_of(RAMP, **broken), tmp_path / "broken.dcm"))
    assert shown(film) == pytest.approx(shown(expected), abs=1e-6)
    assert (expected.notes, film.notes) == ((), notes)
    assert set(notes) <= set(NOTES)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(b"2047,5", 2047.5), (b" 2047.5\0", 2047.5), (b"2047,5HU", 2047.5), (b"\\2047,5", 2047.5)],
)
def test_a_window_as_vendors_write_it(tmp_path: Path, written: bytes, meant: float) -> None:
    widths = b"1\\1500" if written.startswith(b"\\") else b"1500"
    film = save(film_of(RAMP, **LINEAR), tmp_path / "film.dcm")
    for tag, value in ((0x00281050, written), (0x00281051, widths)):
        with_raw(film, tag, b"DS", value + b" " * (len(value) % 2))
    expected = read(tmp_path, film_of(RAMP, WindowCenter=meant, WindowWidth=1500))
    found = read_radiograph(film)
    assert (found.low, found.high) == (expected.low, expected.high)


@pytest.mark.parametrize("value", [b"0", b"wide", b"12 34"])
def test_a_slope_that_cannot_be_used_is_1_and_the_intercept_stays(tmp_path: Path, value: bytes) -> None:
    """A window is in units after the rescale."""
    film = save(film_of(RAMP, WindowCenter=40, WindowWidth=400, RescaleIntercept=-1024), tmp_path / "film.dcm")
    found = read_radiograph(with_raw(film, 0x00281053, b"DS", value + b" " * (len(value) % 2)))
    assert (found.low, found.high) == (864, 1263)
    assert found.notes == ("rescale_unusable",)


def test_an_intercept_that_cannot_be_read_is_0_and_the_slope_stays(tmp_path: Path) -> None:
    film = save(film_of(RAMP, **LINEAR, RescaleSlope=2, RescaleIntercept=0), tmp_path / "film.dcm")
    found = read_radiograph(with_raw(film, 0x00281052, b"DS", b"none"))
    assert (found.low, found.high) == (625, 1374.5)
    assert found.notes == ("rescale_unusable",)


def test_decimal_commas_with_three_decimals(tmp_path: Path) -> None:
    film = save(film_of(RAMP, **LINEAR), tmp_path / "film.dcm")
    for tag, value in ((0x00281050, b"128,000 "), (0x00281051, b"256,000 ")):
        with_raw(film, tag, b"DS", value)
    found = read_radiograph(film)
    assert (found.low, found.high, found.notes) == (0, 255, ())


@pytest.mark.parametrize(
    ("most", "declared", "white", "notes"),
    [
        (2000, 12, 4095, ()),  # a dark film
        (200, 12, 4095, ()),
        (200, 10, 1023, ()),
        (40000, 16, 65535, ()),
        (4096, 16, 65535, ()),
        (4095, 16, 4095, ("voi_lut_bits",)),
        (2000, 16, 4095, ("voi_lut_bits",)),
        (1023, 16, 1023, ("voi_lut_bits",)),
        (255, 16, 255, ("voi_lut_bits",)),
        (4095, 8, 4095, ("voi_lut_bits",)),
    ],
)
def test_white_is_what_the_bits_hold_that_a_table_can_be_of(
    tmp_path: Path, most: int, declared: int, white: int, notes: tuple[str, ...]
) -> None:
    """PS3.3 C.11.2.1.1."""
    entries = [most * number // 4095 for number in range(4096)]
    film = read(tmp_path, film_of(RAMP, VOILUTSequence=lut(entries, bits=declared)))
    assert (film.low, film.high, film.notes) == (0, white, notes)


def test_a_window_of_width_1_is_a_step(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: black up to center - 0.5, white above."""
    film = read(tmp_path, film_of(RAMP, WindowCenter=100, WindowWidth=1))
    assert np.array_equal(shown(film).ravel(), np.arange(4096) > 99)


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_the_first_entry_of_a_table_has_a_sign_where_pixels_do(tmp_path: Path, vr: str) -> None:
    film = film_of(SIGNED, VOILUTSequence=lut(CURVE))
    film.VOILUTSequence[0].add_new("LUTDescriptor", vr, [4096, -2048 if vr == "SS" else 0x10000 - 2048, 16])
    assert shown(read(tmp_path, film)) == pytest.approx(np.array(CURVE).reshape(64, 64) / 65535, abs=1e-6)


def test_a_table_of_65536_entries_says_0(tmp_path: Path) -> None:
    film = film_of(RAMP, BitsStored=16, HighBit=15, VOILUTSequence=lut(list(range(65536))[::-1]))
    film.VOILUTSequence[0].add_new("LUTData", "OW", np.arange(65536, dtype="<u2")[::-1].tobytes())
    film.VOILUTSequence[0].add_new("LUTDescriptor", "US", [0, 0, 16])
    assert shown(read(tmp_path, film)) == pytest.approx(1 - RAMP / 65535, abs=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "low_is_white", "notes"),
    [
        ("MONOCHROME2", "IDENTITY", False, ()),
        ("MONOCHROME1", "INVERSE", True, ()),
        ("MONOCHROME2", "INVERSE", True, ("polarity_contradiction",)),
        ("MONOCHROME1", "IDENTITY", True, ("polarity_contradiction",)),
        ("MONOCHROME1", "LIN OD", True, ()),
        ("MONOCHROME1", "", True, ()),
    ],
)
def test_presentation_lut_shape(
    tmp_path: Path, photometric: str, shape: str, low_is_white: bool, notes: tuple[str, ...]
) -> None:
    film = read(tmp_path, film_of(RAMP, PhotometricInterpretation=photometric, PresentationLUTShape=shape, **LINEAR))
    assert (film.inverted, film.notes) == (low_is_white, notes)


def test_the_sign_of_the_intensity_relationship_turns_nothing(tmp_path: Path) -> None:
    """PS3.3 C.8.11.3.1.2: it tells dose from value, not value from grey."""
    film = read(tmp_path, film_of(RAMP, PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=-1, **LINEAR))
    assert not film.inverted


@pytest.mark.parametrize(
    ("attributes", "refused"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, True),
        ({"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}, True),
        ({"PresentationIntentType": "FOR PROCESSING", **LINEAR}, False),
        ({"PresentationIntentType": "FOR PROCESSING", "VOILUTSequence": lut(CURVE)}, False),
        ({"PresentationIntentType": "FOR PROCESSING", "WindowCenter": 5, "WindowWidth": 0}, True),
        ({"PresentationIntentType": "FOR PRESENTATION"}, False),
        ({}, False),
    ],
)
def test_a_film_for_processing_without_a_window(tmp_path: Path, attributes: dict[str, Any], refused: bool) -> None:
    assert read(tmp_path, film_of(RAMP, **attributes)).for_processing is refused


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


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("limit", [None, -4000])
def test_padding_is_compared_as_bits(tmp_path: Path, vr: str, limit: int | None) -> None:
    pixels = SIGNED.astype(np.int16) * 2
    pixels[:8] = -4096
    film = film_of(pixels, BitsStored=16, HighBit=15)
    for keyword, value in (("PixelPaddingValue", -4096), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            film.add_new(keyword, vr, value if vr == "SS" else value + 0x10000)
    found = read(tmp_path, film)
    assert found.low == -3072
    assert shown(found)[:8] == pytest.approx(0)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_where_no_stored_value_is(tmp_path: Path, photometric: str) -> None:
    """A window that shows every stored value in grey."""
    pixels = np.full((8, 8), 100, np.uint8)
    pixels[0] = 7
    attributes = {"WindowCenter": 128, "WindowWidth": 9000, "PhotometricInterpretation": photometric}
    film = read(tmp_path, film_of(pixels, PixelPaddingValue=7, **attributes))
    assert shown(film)[0] == pytest.approx(0)
    assert shown(film)[1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_beside_a_step_far_from_0(tmp_path: Path, photometric: str) -> None:
    """Where float32 does not tell one end of the window from the other."""
    pixels = np.full((8, 8), 40000, np.uint16)
    pixels[0] = 50000
    attributes = {"WindowCenter": 30000, "WindowWidth": 1, "PhotometricInterpretation": photometric}
    film = read(tmp_path, film_of(pixels, PixelPaddingValue=50000, BitsStored=16, HighBit=15, **attributes))
    assert not shown(film)[0].any()
