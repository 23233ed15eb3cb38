"""How decoded pixels are shown, against pydicom and against the standard's own formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.pixels import read_radiograph
from tests.unit.gateway.films import RAMP, SIGNED, UNCOMPRESSED, film_of, lut, read, shown

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
