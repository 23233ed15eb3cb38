"""Films of different splits that look the same, to be looked at by eye."""

import cv2
import numpy as np
from numpy.typing import NDArray

from model.data.dataset import FilmRow

LOOK_ALIKE = 0.99
"""Correlation of two films at 32 x 32 from which they are reported."""


def look_alikes(store: NDArray[np.uint8], records: list[FilmRow], block: int = 2048) -> tuple[tuple[str, str], ...]:
    """Pairs of different splits whose 32 x 32 versions correlate by LOOK_ALIKE or more."""
    small = np.stack([cv2.resize(image[0], (32, 32), interpolation=cv2.INTER_AREA).ravel() for image in store])
    values = small.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.linalg.norm(values, axis=1, keepdims=True).clip(min=1e-6)
    part = np.array([film.part for film in records])
    pairs = []
    for start in range(0, len(values), block):
        alike = values[start : start + block] @ values.T >= LOOK_ALIKE
        alike &= part[start : start + block, None] < part[None, :]
        pairs += [(records[start + a].identifier, records[b].identifier) for a, b in np.argwhere(alike)]
    return tuple(pairs)
