"""The pixels of a prepared set are those of serving."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid

from model.data.raw_films import RawFilm, read_image, source_statistics
from model.preprocess import PreprocessSpec, to_input
from tests.phantoms import chest_pixels, write_film
from tests.unit.model.films import class_pixels, one_film, prepared, rows_for, write_films
from worker.scoring.decoding import decode_film

SPEC = PreprocessSpec(size=32)
ROWS = rows_for({"train": 2, "val": 1})


def test_films_are_preprocessed_as_in_serving(tmp_path: Path) -> None:
    films = prepared(write_films(tmp_path / "raw", ROWS))
    assert (films.images.dtype, films.images.shape) == (np.uint8, (len(ROWS), 1, 32, 32))
    assert films.identifiers == tuple(sorted(row["image_id"] for row in ROWS))
    for seed, row in enumerate(ROWS):
        expected = to_input(class_pixels(row["label"], seed), low=0, high=255, spec=SPEC)
        assert np.array_equal(films.images[films.identifiers.index(row["image_id"]), 0], expected)


@pytest.mark.parametrize(
    ("suffix", "dtype", "slack"), [(".png", np.uint8, 0), (".png", np.uint16, 1), (".jpg", np.uint8, 4)]
)
def test_image_formats(tmp_path: Path, suffix: str, dtype: type, slack: int) -> None:
    pixels = class_pixels("normal", 1).astype(dtype) * (257 if dtype is np.uint16 else 1)
    path = tmp_path / f"film{suffix}"
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    film = read_image(path)
    assert (film.pixels.dtype, film.low, film.high, film.inverted) == (dtype, 0, np.iinfo(dtype).max, False)
    plain = to_input(class_pixels("normal", 1), low=0, high=255, spec=SPEC).astype(int)
    found = to_input(film.pixels, low=film.low, high=film.high, spec=SPEC)
    assert np.abs(found - plain).max() <= slack


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    """A film whose values all lie within one 8-bit step."""
    pixels = (30_000 + chest_pixels(64, 64) // 64).astype(np.uint16)
    (tmp_path / "film.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    assert np.array_equal(read_image(tmp_path / "film.png").pixels, pixels)


DICOM = {
    "plain": {},
    "monochrome1": {"PhotometricInterpretation": "MONOCHROME1"},
    "window": {"WindowCenter": "1800", "WindowWidth": "400"},
    "two windows": {"WindowCenter": ["1800", "900"], "WindowWidth": ["400", "80"]},
    "monochrome1 window": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "1800", "WindowWidth": "400"},
    "rescale": {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "2600", "WindowWidth": "800"},
    "sigmoid": {"WindowCenter": "1800", "WindowWidth": "400", "VOILUTFunction": "SIGMOID"},
}


@pytest.mark.parametrize("attributes", DICOM.values(), ids=DICOM)
def test_dicom_gives_the_pixels_that_serving_scores(tmp_path: Path, attributes: dict[str, Any]) -> None:
    film = write_film(tmp_path, "film", **attributes)
    served = decode_film(str(film), SPEC, 10_000_000)
    assert served.image is not None, served.reason
    assert np.array_equal(one_film(tmp_path).images[0, 0], served.image)


def shown(folder: Path, **attributes: Any) -> NDArray[np.int64]:
    folder.mkdir()
    write_film(folder, "film", **attributes)
    return one_film(folder).images[0, 0].astype(int)


def test_monochrome1_and_windows_are_honoured(tmp_path: Path) -> None:
    pixels = chest_pixels(96, 96)
    plain = shown(tmp_path / "plain", pixels=pixels)
    turned = {"pixels": 4095 - pixels, "PhotometricInterpretation": "MONOCHROME1"}
    assert np.abs(shown(tmp_path / "turned", **turned) - plain).max() <= 1
    narrow = shown(tmp_path / "window", pixels=pixels, WindowCenter="1800", WindowWidth="401")
    edges = {"low": 1800 - 0.5 - 200, "high": 1800 - 0.5 + 200}  # PS3.3 C.11.2.1.2.1
    assert np.array_equal(narrow, to_input(pixels, **edges, spec=SPEC))
    assert np.abs(narrow - plain).max() > 50


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.ImplicitVRLittleEndian])
def test_compressed_dicom(tmp_path: Path, syntax: str) -> None:
    write_film(tmp_path, "film", syntax=syntax)
    pixels = chest_pixels()
    expected = to_input(pixels, low=float(pixels.min()), high=float(pixels.max()), spec=SPEC)
    assert np.array_equal(one_film(tmp_path).images[0, 0], expected)


def test_source_statistics() -> None:
    pixels = np.zeros((10, 20), np.uint8)
    pixels[:, 15:], pixels[:, 10:15] = 255, 51
    film = RawFilm(pixels=pixels, low=0, high=255)
    expected = {
        "aspect": 2.0,
        "mean": 0.3,
        "spread": round(float((pixels / 255).std()), 5),
        "black": 0.5,
        "white": 0.25,
    }
    assert source_statistics(film) == pytest.approx(expected)
    inverted = source_statistics(replace(film, inverted=True))
    assert inverted == pytest.approx(expected | {"mean": 0.7, "black": 0.25, "white": 0.5})
    assert source_statistics(replace(film, low=51.0, high=52.0))["black"] == 0.75  # the window decides
