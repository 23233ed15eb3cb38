"""The shape of a pixel: which attribute says it, and what is no shape at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import uid

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.pixels import read_radiograph
from tests.phantoms import chest_pixels
from tests.unit.gateway.films import SMALL, film_of, read

CASES: list[tuple[dict[str, Any], float, tuple[str, ...]]] = [
    ({}, 1, ()),
    ({"PixelAspectRatio": [2, 1]}, 2, ()),
    ({"PixelAspectRatio": [1, 2]}, 0.5, ()),
    ({"PixelSpacing": [0.4, 0.2]}, 2, ()),
    ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.5, ()),
    ({"NominalScannedPixelSpacing": [0.3, 0.2]}, 1.5, ()),
    ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [2, 1]}, 1, ()),
    ({"PixelSpacing": [0.4, 0.2], "ImagerPixelSpacing": [0.1, 0.1]}, 2, ()),
    ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.4, 0.2]}, 2, ()),
    ({"PixelSpacing": [0, 0], "PixelAspectRatio": [0, 0]}, 1, ()),
    ({"PixelSpacing": [0.143, 0.1429]}, 1, ()),
    ({"PixelSpacing": 0.2, "PixelAspectRatio": [2, 1]}, 2, ("aspect_unusable",)),
    ({"PixelSpacing": [0.2, 0]}, 1, ("aspect_unusable",)),
    ({"PixelSpacing": [-0.4, 0.2]}, 1, ("aspect_unusable",)),
    ({"PixelAspectRatio": [100, 1]}, 1, ("aspect_unusable",)),
]


@pytest.mark.parametrize(("attributes", "aspect", "notes"), CASES)
def test_height_by_width(tmp_path: Path, attributes: dict[str, Any], aspect: float, notes: tuple[str, ...]) -> None:
    film = read(tmp_path, film_of(SMALL, **attributes))
    assert (film.aspect, film.notes) == (pytest.approx(aspect), notes)


def test_a_reduced_film_keeps_as_many_pixels_along_its_coarser_side(tmp_path: Path) -> None:
    pixels = np.repeat(chest_pixels(512, 448), 2, axis=1)
    path = save(in_syntax(film_of(pixels, PixelAspectRatio=[2, 1]), uid.JPEG2000Lossless), tmp_path / "film.dcm")
    assert read_radiograph(path, least_side=112).pixels.shape == (256, 448)
