"""The grayscale pipeline (PS3.3 C.11): Modality LUT, VOI LUT or window, polarity, padding.

Linear steps (rescale, window, MONOCHROME1) are not applied but folded into two numbers and a sign, so that the caller
can shrink the film before it touches grey values. Look-up tables and sigmoid windows are applied here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.errors import HeaderIncomplete
from dicom_gateway.header import UNREADABLE, integer, number, text

Pixels = NDArray[np.generic]
Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Displayed:
    """A value v is shown as clip((v - low) / (high - low), 0, 1), then 1 - that if inverted."""

    pixels: Pixels
    """[rows, columns], stored values, or the output of a look-up table."""
    low: float
    high: float
    """Greater than `low`."""
    inverted: bool
    """True where low values are white: MONOCHROME1, or a negative rescale slope under MONOCHROME2."""


def is_linear(dataset: Dataset) -> bool:
    """Whether shrinking may come before the display transform: no table, no sigmoid, no padding to be told apart."""
    try:
        tables = any(dataset.get(keyword) for keyword in ("ModalityLUTSequence", "VOILUTSequence"))
    except UNREADABLE:
        return False
    sigmoid = text(dataset, "VOILUTFunction").upper() == "SIGMOID"
    return not tables and not sigmoid and integer(dataset, "PixelPaddingValue") is None


def displayed(stored: Pixels, dataset: Dataset, *, monochrome1: bool, little_endian: bool) -> Displayed:
    """How stored values [rows, columns] are to be shown. Raises HeaderIncomplete when a look-up table is none."""
    padding = _padding_mask(stored, dataset)
    if padding is not None and padding.all():
        padding = None
    pixels, (low, high), flipped = _pipeline(stored, padding, dataset, little_endian)
    inverted = monochrome1 != flipped
    if padding is not None:
        pixels = pixels.copy()
        black = high if inverted else low
        least, most = _limits(pixels)
        pixels[padding] = black if pixels.dtype.kind == "f" else min(max(round(black), least), most)
    return Displayed(pixels=pixels, low=low, high=high, inverted=inverted)


def _pipeline(
    stored: Pixels, padding: NDArray[np.bool_] | None, dataset: Dataset, little: bool
) -> tuple[Pixels, Bounds, bool]:
    """Modality and VOI transform: pixels, their (low, high) shown black and white, and whether a slope turned them
    round."""
    modality, voi = _table(dataset, "ModalityLUTSequence", little), _table(dataset, "VOILUTSequence", little)
    window, function = _window(dataset), text(dataset, "VOILUTFunction").upper()
    slope, intercept = number(dataset, "RescaleSlope") or 1.0, number(dataset, "RescaleIntercept") or 0.0
    pixels = stored
    if modality:
        pixels, slope, intercept = modality.of(stored), 1.0, 0.0
    if voi:
        return voi.of(_rescaled(pixels, slope, intercept)), (0.0, voi.highest), False
    if window and function == "SIGMOID":
        center, width = window
        steep = -4 * (_rescaled(pixels, slope, intercept).astype(np.float32) - np.float32(center)) / np.float32(width)
        return 1 / (1 + np.exp(np.clip(steep, -80, 80))), (0.0, 1.0), False
    if window is None:
        visible = pixels if padding is None else pixels[~padding]
        low, high = float(visible.min()), float(visible.max())
    else:
        low, high = sorted((edge - intercept) / slope for edge in _window_edges(*window, function))
    return pixels, (low, high if high > low else low + 1.0), slope < 0


def _rescaled(pixels: Pixels, slope: float, intercept: float) -> Pixels:
    if (slope, intercept) == (1.0, 0.0):
        return pixels
    return pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A Modality or VOI LUT (PS3.3 C.11.1.1 and C.11.2.1.1)."""

    first: int
    """The value that the first entry is for."""
    entries: NDArray[np.uint16]
    highest: float
    """Largest output that its number of bits can hold."""

    def of(self, values: Pixels) -> Pixels:
        last = len(self.entries) - 1
        values = np.rint(values.astype(np.float32)) if values.dtype.kind == "f" else values
        return self.entries[np.clip(values.astype(np.int32) - self.first, 0, last)]


def _table(dataset: Dataset, keyword: str, little_endian: bool) -> Table | None:
    """The sequence's first table, None without one. Raises HeaderIncomplete when it is no table."""
    try:
        sequence = dataset.get(keyword)
        if not sequence:
            return None
        count, first, bits = (int(value) for value in sequence[0].LUTDescriptor)
        content = sequence[0].LUTData
        if isinstance(content, bytes):
            size = 2 if len(content) >= 2 * (count or 1 << 16) else 1
            entries = np.frombuffer(content, f"{'<' if little_endian else '>'}u{size}").astype(np.uint16)
        else:
            entries = np.atleast_1d(np.asarray(content, np.uint16))
    except UNREADABLE:
        raise HeaderIncomplete(keyword) from None
    count = count or 1 << 16
    if len(entries) < count or not 1 <= bits <= 16:
        raise HeaderIncomplete(keyword)
    return Table(first=first, entries=entries[:count], highest=float((1 << bits) - 1))


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """The first window's (center, width), None when there is none that makes sense."""
    center, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    return None if center is None or width is None or width <= 0 else (center, width)


def _window_edges(center: float, width: float, function: str) -> Bounds:
    """PS3.3 C.11.2.1.2.1 (LINEAR) and C.11.2.1.3.2 (LINEAR_EXACT), in units after the modality transform."""
    if function == "LINEAR_EXACT" or width <= 1:
        return center - width / 2, center + width / 2
    return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2


def _padding_mask(stored: Pixels, dataset: Dataset) -> NDArray[np.bool_] | None:
    """Pixels of Pixel Padding Value, or of its range (PS3.3 C.7.5.1.1.2); None when there are none."""
    first = integer(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = integer(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    values: NDArray[Any] = stored
    mask = (values >= low) & (values <= high) if high > low else values == low
    return mask if mask.any() else None


def _limits(pixels: Pixels) -> tuple[float, float]:
    if pixels.dtype.kind == "f":
        return float(pixels.min()), float(pixels.max())
    limits = np.iinfo(pixels.dtype)  # type: ignore[type-var]
    return limits.min, limits.max
