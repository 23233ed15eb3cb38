"""A decoded film as a person sees it: 8 bits, square pixels, small enough to send along."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dicom_gateway.display import Displayed

Picture = NDArray[np.uint8]
MOST_SIDE = 1024
"""Pixels. Two frames of a square film in colour take 8.3 MB then."""


def picture_of(film: Displayed, most_side: int | None = MOST_SIDE) -> Picture:
    """The film as displayed, uint8 [rows, columns], 0 black.

    Grey values first, then their averages over areas, as in a viewer that shrinks a film. Pixels that are not square
    lose detail along their finer side; nothing is enlarged.

    Args:
        film: such as `read_radiograph` gives; one that was decoded at a lower resolution will do.
        most_side: of the longer side, pixels; None: as large as the film is.
    """
    return drawn(film, shape_of(film.pixels.shape, film.aspect, most_side))


def drawn(film: Displayed, shape: tuple[int, int]) -> Picture:
    """The same in rows and columns that are known, none of them more than the film has."""
    shown = _grey(film)
    if shape != shown.shape:
        shown = np.asarray(cv2.resize(shown, shape[::-1], interpolation=cv2.INTER_AREA))
    shown *= 255
    return np.asarray(np.rint(shown, out=shown), np.uint8)


def shape_of(stored: tuple[int, ...], aspect: float, most_side: int | None) -> tuple[int, int]:
    """Rows and columns of the picture of a film of `stored` rows and columns."""
    height, width = stored[0] * min(aspect, 1.0), stored[1] / max(aspect, 1.0)
    scale = 1.0 if most_side is None else min(1.0, most_side / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _grey(film: Displayed) -> NDArray[np.float32]:
    """0 black to 1 white. Whole numbers by a table, whose float64 tells the ends of a narrow window apart."""
    pixels: NDArray[Any] = film.pixels
    whole = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2
    if whole:
        limits = np.iinfo(pixels.dtype)
        values = np.concatenate([np.arange(limits.max + 1.0), np.arange(float(limits.min), 0.0)])  # -1 is the last
    else:
        values = np.asarray(pixels, np.float32)
    shown = np.clip((values - film.low) / (film.high - film.low), 0.0, 1.0)
    shown = np.asarray(1.0 - shown if film.inverted else shown, np.float32)
    return np.asarray(shown[pixels] if whole else shown, np.float32)
