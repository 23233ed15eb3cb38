"""A person's own look at a film: another window, or black for white."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_windowing

from dicom_gateway.display import By, Look, low_is_white, value_range
from dicom_gateway.encode import save
from dicom_gateway.pixels import StoredFilm, read_stored, shown
from dicom_gateway.windows import Window
from tests.unit.gateway.films import RAMP, film_of, lut
from tests.unit.gateway.films import shown as greys

CHOSEN = Look(window=Window(center=1500, width=800))


def stored(folder: Path, **attributes: Any) -> StoredFilm:
    return read_stored(save(film_of(RAMP, **attributes), folder / "film.dcm"))


@pytest.mark.parametrize(("by", "function", "attributes"), [
    (By.OWN_RANGE, "LINEAR", {}),
    (By.WINDOW, "LINEAR", {"WindowCenter": 900, "WindowWidth": 100}),
    (By.WINDOW, "LINEAR_EXACT", {"WindowCenter": 900, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}),
    (By.WINDOW, "SIGMOID", {"WindowCenter": 900, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"}),
    (By.WINDOW, "LINEAR", {"WindowCenter": 9, "WindowWidth": 9, "RescaleSlope": "-0.5", "RescaleIntercept": "2000"}),
    (By.VOI_LUT, "LINEAR", {"VOILUTSequence": lut([0, 20, 300, 4000, 65535])}),
])  # fmt: skip
def test_a_chosen_window_is_shown_as_pydicom_shows_it(
    by: By, function: str, attributes: dict[str, Any], tmp_path: Path
) -> None:
    """The same header with that window in place of what it had."""
    film = shown(stored(tmp_path, **attributes), CHOSEN)
    assert (film.by, film.window, film.function) == (by, CHOSEN.window, function)
    header = dcmread(tmp_path / "film.dcm")
    header.WindowCenter, header.WindowWidth = 1500, 800
    if "VOILUTSequence" in header:
        del header.VOILUTSequence
    values = np.asarray(apply_modality_lut(header.pixel_array, header), np.float64)
    slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
    low, high = intercept, slope * 4095 + intercept  # pydicom maps its output so, also where the slope is negative
    theirs = (apply_windowing(values, header) - low) / (high - low)
    assert np.abs(greys(film) - theirs).max() < 1e-3


def test_a_window_in_place_of_a_falling_table_falls(tmp_path: Path) -> None:
    film = stored(tmp_path, VOILUTSequence=lut([65535, 4000, 300, 20, 0], first=1000))
    assert np.array_equal(shown(film).pixels[[0, -1], [0, -1]], [65535, 0])
    chosen = greys(shown(film, CHOSEN))
    assert (chosen[0, 0], chosen[-1, -1]) == (1, 0)


@pytest.mark.parametrize(("attributes", "window"), [
    ({}, Window(center=2048, width=4096)),
    ({"WindowCenter": 900, "WindowWidth": 100}, Window(center=900, width=100)),
    ({"RescaleSlope": "-2", "RescaleIntercept": "10"}, Window(center=-4084.5, width=8191)),
    ({"VOILUTSequence": lut([7, 7, 8, 500, 900, 900, 900], first=100)}, Window(center=103, width=4)),
])  # fmt: skip
def test_the_window_in_use(attributes: dict[str, Any], window: Window, tmp_path: Path) -> None:
    """Choosing a window that is in use already, in place of a window or the own range, changes nothing."""
    film = stored(tmp_path, **attributes)
    as_sent = shown(film)
    assert as_sent.window == window
    if as_sent.by is not By.VOI_LUT:
        assert np.abs(greys(shown(film, Look(window=window))) - greys(as_sent)).max() < 1e-6


def test_padding_and_shutter_stay_as_they_are(tmp_path: Path) -> None:
    attributes = {
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelPaddingValue": 4095,
        "ShutterShape": "RECTANGULAR",
        "ShutterUpperHorizontalEdge": 2,
        "ShutterLowerHorizontalEdge": 64,
        "ShutterLeftVerticalEdge": 1,
        "ShutterRightVerticalEdge": 64,
    }
    film = stored(tmp_path, **attributes)
    assert value_range(film.pixels, film.dataset, film.image) == (64, 4094)
    assert low_is_white(film.dataset, film.image)
    looks = [greys(shown(film, look)) for look in (Look(), CHOSEN, Look(turned=True))]
    for grey in looks:
        assert not grey[0].any()
        assert grey[-1, -1] == 0
    seen = np.s_[1:-1]
    assert np.abs(looks[0][seen] + looks[2][seen] - 1).max() < 1e-6


@pytest.mark.parametrize(("center", "width"), [(float("nan"), 1), (0, 0), (0, -5), (float("inf"), 1), (0, 1e300)])
def test_a_window_that_nobody_can_mean(center: float, width: float) -> None:
    assert not Window(center=center, width=width).usable
    assert CHOSEN.window
    assert CHOSEN.window.usable
