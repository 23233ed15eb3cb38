"""Results of films and their pictures."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_gateway.capture_frames import DrawnMap
from dicom_gateway.picture import Picture
from dicom_gateway.result import Algorithm, FilmResult, FindingResult, NotAnalysed
from tests.phantoms import chest_film

AT = datetime(2026, 11, 28, 13, 14, 15, 123456, tzinfo=UTC)
NOT_NORMAL = FindingResult(
    name="not_normal", probability=0.83, operating_point=0.61, chosen_for="specificity at least 0.90", flag=True
)
PNEUMONIA = FindingResult(name="pneumonia", probability=0.752, operating_point=0.45, flag=True)
COVID19 = FindingResult(name="covid19", probability=0.08, operating_point=0.3)
NORMAL = FindingResult(name="normal", probability=0.17)
NOT_PA = NotAnalysed(code="not_pa", meaning="not a PA view")


def header(name: str = "captured", **attributes: Any) -> Dataset:
    """A film without its pixels, as it was sent."""
    film = chest_film(name, **attributes)
    del film.PixelData
    return film


def result_of(film: Dataset | None = None, **changes: Any) -> FilmResult:
    """Two flags up, unless changed."""
    result = FilmResult(
        film=header() if film is None else film,
        film_digest="cd" * 32,
        at=AT,
        algorithm=Algorithm(
            name="reference", version="0.4.0", bundle_digest="ab12" * 16, software_version="0.1.0", engine="ort-int8"
        ),
        findings=(NOT_NORMAL, PNEUMONIA, COVID19, NORMAL),
        prediction_set=("pneumonia",),
    )
    return replace(result, **changes)


def unflagged(**changes: Any) -> FilmResult:
    return result_of(findings=(replace(PNEUMONIA, probability=0.02, flag=False), COVID19), **changes)


def picture(rows: int = 300, columns: int = 256) -> Picture:
    return np.random.default_rng(1).integers(0, 256, (rows, columns), np.uint8)


def drawn(film: Picture, finding: str = "pneumonia", most: float = 0.37) -> DrawnMap:
    """The film with some red over it."""
    pixels = np.repeat(film[:, :, None], 3, axis=2)
    pixels[10:30, 10:30, 0] = 255
    colours = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=1)
    return DrawnMap(finding=finding, pixels=pixels, colours=colours, most=most)
