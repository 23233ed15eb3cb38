"""The display shutter: which pixels are hidden, and what is shown in their place."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.pixels import read_radiograph
from tests.phantoms import chest_pixels
from tests.unit.gateway.films import film_of, read, shown

ROWS, COLUMNS = 60, 40
FLAT = np.full((ROWS, COLUMNS), 2000, np.uint16)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
RECTANGLE = {
    "ShutterUpperHorizontalEdge": 5,
    "ShutterLowerHorizontalEdge": 50,
    "ShutterLeftVerticalEdge": 3,
    "ShutterRightVerticalEdge": 30,
}
CIRCLE = {"CenterOfCircularShutter": [30, 20], "RadiusOfCircularShutter": 15}
Y, X = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
IN_RECTANGLE = (Y >= 5) & (Y <= 50) & (X >= 3) & (X <= 30)
IN_CIRCLE = (Y - 30) ** 2 + (X - 20) ** 2 <= 15**2

SHUTTERS: dict[str, tuple[dict[str, Any], NDArray[np.bool_]]] = {
    "rectangle": ({"ShutterShape": "RECTANGULAR", **RECTANGLE}, IN_RECTANGLE),
    "circle": ({"ShutterShape": "CIRCULAR", **CIRCLE}, IN_CIRCLE),
    "rectangle as a polygon": (
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [5, 3, 5, 30, 50, 30, 50, 3]},
        IN_RECTANGLE,
    ),
    "triangle": (
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 1, 40, 40, 1]},
        X + Y <= 41,
    ),
    "arrow that points to the right, with a notch": (
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 21, 40, 41, 1, 21, 20]},
        (abs(Y - 21) <= (40 - X) * 20 / 39 + 1e-9) & ~((abs(Y - 21) < (20 - X) * 20 / 19 - 1e-9) & (X < 20)),
    ),
    "all together": (
        {
            "ShutterShape": ["CIRCULAR", "RECTANGULAR", "POLYGONAL"],
            "VerticesOfThePolygonalShutter": [1, 1, 1, 40, 40, 1],
            **RECTANGLE,
            **CIRCLE,
        },
        IN_RECTANGLE & IN_CIRCLE & (X + Y <= 41),
    ),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("name", SHUTTERS)
def test_what_lies_outside_is_black(tmp_path: Path, name: str, photometric: str) -> None:
    attributes, visible = SHUTTERS[name]
    film = read(tmp_path, film_of(FLAT, PhotometricInterpretation=photometric, **WINDOW, **attributes))
    assert np.array_equal(shown(film) > 0.1, visible)
    assert shown(film)[~visible] == pytest.approx(0)
    assert film.notes == ()


@pytest.mark.parametrize("seed", range(20))
def test_a_polygon_is_opencvs(tmp_path: Path, seed: int) -> None:
    """3 to 12 corners around a middle, so that edges do not cross; what lies on an edge is seen."""
    random = np.random.default_rng(seed)
    turns = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 13)))
    reach = random.uniform(5, 28, len(turns))
    corners = np.rint(np.stack([30 + reach * np.sin(turns), 20 + reach * np.cos(turns)], 1)).astype(int)
    attributes = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": corners.ravel().tolist()}
    film = read(tmp_path, film_of(FLAT, **WINDOW, **attributes))
    outline = corners[:, ::-1].astype(np.float32)
    inside = np.array(
        [[cv2.pointPolygonTest(outline, (x, y), False) >= 0 for x in X[0].tolist()] for y in Y[:, 0].tolist()]
    )
    assert np.array_equal(shown(film) > 0.1, inside)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("value", "grey"),
    [
        ({"ShutterPresentationValue": 0x8000}, 0.5),
        ({"ShutterPresentationValue": 0xFFFF}, 1),
        ({"ShutterPresentationColorCIELabValue": [0x4000, 0x8080, 0x8080]}, 0.25),
        ({"ShutterPresentationValue": 0, "ShutterPresentationColorCIELabValue": [0x4000, 0x8080, 0x8080]}, 0),
    ],
)
def test_or_the_presentation_value(tmp_path: Path, value: dict[str, Any], grey: float, photometric: str) -> None:
    attributes, visible = SHUTTERS["rectangle"]
    film = read(tmp_path, film_of(FLAT, PhotometricInterpretation=photometric, **WINDOW, **attributes, **value))
    assert shown(film)[~visible] == pytest.approx(grey, abs=1 / 500)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ShutterShape": "BITMAP"},
        {"ShutterShape": "ROUND", **CIRCLE},
        {"ShutterShape": "RECTANGULAR"},
        {"ShutterShape": "RECTANGULAR", **RECTANGLE, "ShutterLeftVerticalEdge": 31},
        {"ShutterShape": "RECTANGULAR", **dict.fromkeys(RECTANGLE, 0)},
        {
            "ShutterShape": "RECTANGULAR",
            **RECTANGLE,
            "ShutterUpperHorizontalEdge": 100,
            "ShutterLowerHorizontalEdge": 200,
        },
        {"ShutterShape": "CIRCULAR", **CIRCLE, "RadiusOfCircularShutter": 0},
        {"ShutterShape": "CIRCULAR", **CIRCLE, "CenterOfCircularShutter": [500, 500]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 50, 30]},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 50, 30, 7]},
    ],
)
def test_a_shutter_that_cannot_be_right_hides_nothing(tmp_path: Path, attributes: dict[str, Any]) -> None:
    film = read(tmp_path, film_of(chest_pixels(ROWS, COLUMNS), **WINDOW, **attributes))
    assert np.array_equal(film.pixels, chest_pixels(ROWS, COLUMNS))
    assert film.notes == ("shutter_unusable",)


def test_the_good_one_of_two_shapes_is_used(tmp_path: Path) -> None:
    attributes = {"ShutterShape": ["CIRCULAR", "RECTANGULAR"], **RECTANGLE}
    film = read(tmp_path, film_of(FLAT, **WINDOW, **attributes))
    assert np.array_equal(shown(film) > 0.1, IN_RECTANGLE)
    assert film.notes == ("shutter_unusable",)


def test_a_shutter_wider_than_the_film_changes_nothing(tmp_path: Path) -> None:
    edges = dict(zip(RECTANGLE, (0, 9999, -5, 9999), strict=True))
    film = read(tmp_path, film_of(chest_pixels(ROWS, COLUMNS), ShutterShape="RECTANGULAR", **edges))
    assert np.array_equal(film.pixels, chest_pixels(ROWS, COLUMNS))
    assert film.notes == ()


def test_hidden_pixels_do_not_stretch_a_film_without_a_window(tmp_path: Path) -> None:
    pixels = FLAT.copy()
    pixels[10:20, 10:20] = 1000
    pixels[0] = 4095
    film = read(tmp_path, film_of(pixels, ShutterShape="RECTANGULAR", **RECTANGLE))
    assert (film.low, film.high) == (1000, 2000)


def test_a_circle_is_round_on_the_screen(tmp_path: Path) -> None:
    """The radius counts pixels along a row (PS3.3 C.7.6.11): half as many rows of pixels twice as high."""
    film = read(tmp_path, film_of(FLAT, ShutterShape="CIRCULAR", PixelAspectRatio=[2, 1], **WINDOW, **CIRCLE))
    assert np.array_equal(shown(film) > 0.1, (2 * (Y - 30)) ** 2 + (X - 20) ** 2 <= 15**2)


def test_a_film_with_a_shutter_comes_at_full_resolution(tmp_path: Path) -> None:
    """Half a pixel of a black edge at half the resolution moved a probability by .025."""
    film = film_of(chest_pixels(512, 448), ShutterShape="RECTANGULAR", **WINDOW, **RECTANGLE)
    path = save(in_syntax(film, uid.JPEG2000Lossless), tmp_path / "film.dcm")
    assert read_radiograph(path, least_side=112).pixels.shape == (512, 448)
