"""Films as they come, before preprocessing: a table that names them, image files, and what gives their source away."""

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import DatasetError
from model.preprocess import PreprocessSpec, to_input

METADATA = "metadata.csv"
SAMPLES = 512
"""Source statistics are taken on at most about so many rows and columns."""


@dataclass(frozen=True, kw_only=True)
class RawFilm:
    """A film as read, before preprocessing. Shown, a value v is (v - low) / (high - low), then 1 - that if inverted."""

    pixels: NDArray[np.generic]
    """[H, W]"""
    low: float
    high: float
    inverted: bool = False
    aspect: float = 1.0
    """Height of a pixel by its width."""
    view: str = ""
    """View position the file itself names; "" where it names none."""
    age: float | None = None
    """Years, likewise."""


def read_image(path: Path) -> RawFilm:
    """A JPEG or PNG file, 8 or 16 bits, as a grey film. Raises DatasetError naming the file."""
    return decode_image(path.read_bytes(), path.name)


def decode_image(encoded: bytes, name: str) -> RawFilm:
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags) if encoded else None
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise DatasetError(f"{name}: not a readable JPEG or PNG")
    values = np.asarray(pixels)
    return RawFilm(pixels=values, low=0.0, high=float(np.iinfo(values.dtype).max))


def image_to_input(encoded: bytes, name: str, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """JPEG or PNG bytes -> uint8 [size, size]."""
    film = decode_image(encoded, name)
    return to_input(film.pixels, low=film.low, high=film.high, spec=spec)


def source_statistics(film: RawFilm) -> dict[str, float]:
    """Aspect, mean, spread, and shares of black and white of the whole film: what gives a source away."""
    height, width = film.pixels.shape
    step = max(1, min(height, width) // SAMPLES)
    values = np.clip((film.pixels[::step, ::step].astype(np.float64) - film.low) / (film.high - film.low), 0.0, 1.0)
    values = 1.0 - values if film.inverted else values
    return {
        "aspect": round(width / (height * film.aspect), 4),
        "mean": round(float(values.mean()), 5),
        "spread": round(float(values.std()), 5),
        "black": round(float((values < 0.04).mean()), 5),
        "white": round(float((values > 0.96).mean()), 5),
    }


def read_table(path: Path, required: set[str], about: str) -> list[dict[str, str]]:
    """Rows of a CSV file in UTF-8, cells stripped. `about` says in words what should be there.

    Raises:
        DatasetError: no such file, not CSV, without a required column or without rows.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing: {about}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            missing = required - set(reader.fieldnames or ())
            rows = [{name: (cell or "").strip() for name, cell in row.items() if name} for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not CSV in UTF-8: {error}") from error
    if missing:
        raise DatasetError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    if not rows:
        raise DatasetError(f"{path} names no film")
    return rows
