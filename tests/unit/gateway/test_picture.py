"""The film as it is displayed, small: the same grey values, square pixels, no side too long."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_gateway.display import By, Displayed
from dicom_gateway.picture import MOST_SIDE, picture_of
from dicom_gateway.windows import Window
from tests.phantoms import chest_pixels
from tests.unit.gateway.films import RAMP, SIGNED, film_of, lut, read, shown

AS_DISPLAYED: dict[str, dict[str, Any]] = {
    "its own range": {},
    "window": {"WindowCenter": 1000, "WindowWidth": 800},
    "low is white": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 3000},
    "sigmoid": {"WindowCenter": 1500, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    "table": {"VOILUTSequence": lut([0, 20, 300, 4000, 65535])},
    "rescaled": {"RescaleSlope": "-0.5", "RescaleIntercept": "100", "WindowCenter": -900, "WindowWidth": 700},
    "shutter": {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [32, 32], "RadiusOfCircularShutter": 20},
    "narrow window": {"WindowCenter": 1024, "WindowWidth": 1},
}


@pytest.mark.parametrize("pixels", [RAMP, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize("name", AS_DISPLAYED)
def test_every_grey_is_the_displayed_one(name: str, pixels: NDArray[Any], tmp_path: Path) -> None:
    film = read(tmp_path, film_of(pixels, **AS_DISPLAYED[name]))
    picture = picture_of(film)
    assert (picture.dtype, picture.shape) == (np.uint8, pixels.shape)
    assert np.abs(picture - 255 * shown(film)).max() <= 0.501
    assert len(np.unique(picture)) > 1


def test_a_large_film_is_averaged(tmp_path: Path) -> None:
    film = read(tmp_path, film_of(chest_pixels(600, 480), WindowCenter=1800, WindowWidth=1500))
    picture = picture_of(film, most_side=200)
    assert picture.shape == (200, 160)
    means = shown(film).reshape(200, 3, 160, 3).mean(axis=(1, 3))
    assert np.abs(picture - 255 * means).max() < 0.51


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((64, 48), [0.2, 0.2], (64, 48)),
        ((64, 48), [0.4, 0.2], (64, 24)),
        ((64, 48), [0.1, 0.2], (32, 48)),
        ((2000, 1000), [0.2, 0.1], (1024, 256)),
        ((1500, 20), [0.2, 0.2], (1024, 14)),
        ((20, 3000), [0.2, 0.2], (7, 1024)),
    ],
)
def test_its_sides(shape: tuple[int, int], spacing: list[float], expected: tuple[int, int], tmp_path: Path) -> None:
    film = read(tmp_path, film_of(np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape), PixelSpacing=spacing))
    assert picture_of(film).shape == expected
    assert max(expected) <= MOST_SIDE


def test_a_window_that_float32_cannot_tell_apart() -> None:
    edge = Displayed(
        pixels=np.array([[65534, 65535]], np.uint16),
        low=65534.9995,
        high=65535.0005,
        inverted=False,
        aspect=1.0,
        by=By.WINDOW,
        window=Window(center=65535.5, width=1),
        function="LINEAR",
        notes=(),
    )
    assert picture_of(edge).tolist() == [[0, 128]]
