"""From stored pixels to the network's input. Training and serving both call `to_input`, and nothing else does this.

The order is chosen for speed and measured to be equivalent: make pixels square where they are not, crop to a square,
shrink the stored pixels with area averaging, and only then window, invert and stretch the 224 x 224 values left.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.manifest_values import Rule, count, number, read_by

Pixels = NDArray[np.generic]
Input = NDArray[np.uint8]
MOST_SIDE = 4096
"""Pixels of an input: finer than chest films are taken."""
REDUCED_SIDES = 4
"""A film decoded at a lower resolution keeps at least so many times the input's side. With 2, one probability of 24
real films moved by .018; with 4 none by more than .005."""


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """How a film becomes an input. Lives in the bundle, so weights and preprocessing cannot part ways."""

    size: int = 224
    """Side of the square input, pixels."""
    stretch_low: float = 1.0
    """Percentile of the shrunk film that becomes 0. Takes source-dependent brightness out of the input."""
    stretch_high: float = 99.0
    """Percentile of the shrunk film that becomes 255."""

    @property
    def least_side(self) -> int:
        """Of a film that is decoded at a lower resolution, pixels of its shorter side."""
        return REDUCED_SIDES * self.size

    @classmethod
    def read(cls, found: object) -> "PreprocessSpec":
        """From a manifest. Raises ValueError."""
        spec = cls(**read_by(_RULES, found, "preprocess"))
        if spec.stretch_low >= spec.stretch_high:
            raise ValueError(f"stretch_low {spec.stretch_low:g} must be under stretch_high {spec.stretch_high:g}")
        return spec

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_PERCENTILE: Rule = partial(number, low=0, high=100)
_RULES: dict[str, Rule] = {
    "size": partial(count, low=1, high=MOST_SIDE),
    "stretch_low": _PERCENTILE,
    "stretch_high": _PERCENTILE,
}


def to_input(
    pixels: Pixels,
    *,
    low: float,
    high: float,
    inverted: bool = False,
    aspect: float = 1.0,
    spec: PreprocessSpec | None = None,
) -> Input:
    """Crop, shrink, window, invert and stretch one film.

    Args:
        pixels: stored values [H, W], any integer or float type.
        low: stored value shown as black (window's lower end).
        high: stored value shown as white (window's upper end), greater than `low`.
        inverted: True where low values are white (MONOCHROME1).
        aspect: height of a pixel by its width.
        spec: sizes and percentiles; the default spec when None.

    Returns:
        uint8 [size, size], 0 black.

    Raises:
        ValueError: not two-dimensional, empty, or `high <= low`.
    """
    spec = spec or PreprocessSpec()
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise ValueError(f"expected pixels [H, W], got shape {pixels.shape}")
    if not high > low:
        raise ValueError(f"window is empty: low {low}, high {high}")
    values = shrink(centre_square(square_pixels(pixels, aspect)), spec.size)
    values = np.clip((values - low) / (high - low), 0.0, 1.0)
    if inverted:
        values = 1.0 - values
    return stretch(values, spec.stretch_low, spec.stretch_high)


def square_pixels(pixels: Pixels, aspect: float) -> Pixels:
    """[H, W] of pixels `aspect` times as high as wide, the finer side averaged to the step of the coarser one."""
    if aspect == 1.0:
        return pixels
    height, width = pixels.shape
    shape = (height, max(round(width / aspect), 1)) if aspect > 1 else (max(round(height * aspect), 1), width)
    return _resized(pixels, shape)


def centre_square(pixels: Pixels) -> Pixels:
    """The largest centred square of [H, W]: the aspect ratio must not tell the network where a film came from."""
    height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def shrink(pixels: Pixels, size: int) -> NDArray[np.float32]:
    """Area-average [S, S] to float32 [size, size]; smaller films are enlarged bilinearly."""
    return np.asarray(_resized(pixels, (size, size)), np.float32)


def _resized(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    import cv2  # not in the gateway's image, where `xrayq doctor` reads bundles

    if pixels.dtype not in (np.uint8, np.uint16, np.int16, np.float32):
        pixels = pixels.astype(np.float32)
    method = cv2.INTER_AREA if pixels.shape[0] >= shape[0] else cv2.INTER_LINEAR
    # Integer input would be rounded to whole grey levels: cheap to avoid for small films, 16 bits do not care.
    source = pixels.astype(np.float32) if pixels.dtype == np.uint8 else np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(source, shape[::-1], interpolation=method))


def stretch(values: NDArray[np.float32], low: float, high: float) -> Input:
    """Map the [low, high] percentiles of float [S, S] to 0..255. A flat film becomes all zero."""
    bottom, top = np.percentile(values, (low, high))
    if top - bottom < 1e-6:
        return np.zeros(values.shape, np.uint8)
    return np.asarray(np.rint(np.clip((values - bottom) / (top - bottom), 0.0, 1.0) * 255.0), np.uint8)
