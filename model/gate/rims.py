"""Rims: what a collimator leaves around the field, drawn on films to learn from and to measure with."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

NARROW, WIDE = 20 / 224, 60 / 224
"""Of the film's side. With the widest rims on all sides the field is a fifth of the film."""
NEARLY = 24.0
"""Grey values: so far from black or white is a rim that is nearly so."""
NOISE = 6.0
"""Largest standard deviation of a rim's noise, in grey values."""


@dataclass(frozen=True, kw_only=True)
class RimKind:
    """What is drawn."""

    sides: int
    """1, 2 or 4: any one side, any two, all."""
    whole: bool
    """The film is shrunk into the field; else the rims lie over it and hide its edges."""
    white: bool = False
    """Not black: some devices show what no ray has reached as it was taken."""


RIMS: dict[str, RimKind] = {
    "one side": RimKind(sides=1, whole=True),
    "two sides": RimKind(sides=2, whole=True),
    "all sides": RimKind(sides=4, whole=True),
    "one side hidden": RimKind(sides=1, whole=False),
    "two sides hidden": RimKind(sides=2, whole=False),
    "all sides hidden": RimKind(sides=4, whole=False),
    "all sides white": RimKind(sides=4, whole=True, white=True),
}


def rimmed(film: NDArray[np.uint8], kind: RimKind, random: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 [S, S] with rims NARROW to WIDE: half of them plain black (white), the others nearly so, with noise."""
    size = len(film)
    widths = np.zeros(4)
    widths[random.choice(4, kind.sides, replace=False)] = random.uniform(NARROW, WIDE, kind.sides)
    top, bottom, left, right = (round(width * size) for width in widths)
    rows, columns = slice(top, size - bottom), slice(left, size - right)
    grey, noise = (0.0, 0.0) if random.random() < 0.5 else (random.uniform(0, NEARLY), random.uniform(0, NOISE))
    rim = np.clip(grey + noise * random.standard_normal((size, size), np.float32), 0, 255).astype(np.uint8)
    made: NDArray[np.uint8] = 255 - rim if kind.white else rim
    field = _covering(film, size - top - bottom, size - left - right) if kind.whole else film[rows, columns]
    made[rows, columns] = field
    return made


def _covering(film: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The film shrunk, its shape kept, until one side just fits; the middle of the other."""
    side = max(height, width)
    small = cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA)
    top, left = (side - height) // 2, (side - width) // 2
    return np.asarray(small[top : top + height, left : left + width])
