"""The grayscale pipeline (PS3.3 C.11): Modality LUT, VOI LUT or window, polarity, padding, shutter.

Linear steps (rescale, window, MONOCHROME1) are not applied but folded into two numbers and a sign, so that the caller
can shrink the film before it touches grey values. Look-up tables and sigmoid windows are applied here.

A part of the header that cannot be used is left out as the standard would have it, and noted.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway import notes as noted
from dicom_gateway.aspect import aspect_of
from dicom_gateway.lookup import Table, table_of
from dicom_gateway.shutter import Grid, Mask, grey_of, hidden_by
from dicom_gateway.stored import Pixels
from dicom_gateway.values import UNREADABLE, as_stored, is_present, number, numbers, text

Bounds = tuple[float, float]
STEP = 1e-3
"""A window of width 1 has no slope, but a step (PS3.3 C.11.2.1.2.1)."""
EXACT = 1 / 512
"""Of the display range: a painted grey that whole stored values miss by more is painted in float."""
LEAST_SLOPE = 1e-9
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


class By(StrEnum):
    """What a film's grey values are chosen by."""

    VOI_LUT = "voi_lut"
    WINDOW = "window"
    OWN_RANGE = "own_range"


@dataclass(frozen=True, kw_only=True)
class ImagePixel:
    """The Image Pixel module (PS3.3 C.7.6.3), checked."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    monochrome1: bool


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
    aspect: float
    """Height of a pixel by its width, 1 where it is square."""
    by: By
    notes: tuple[str, ...]
    """Codes of `dicom_gateway.notes`."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """After the modality and VOI transforms: shown black and white at `bounds`."""

    pixels: Pixels
    bounds: Bounds
    flipped: bool
    """A negative slope turned them round."""
    by: By


def is_linear(dataset: Dataset) -> bool:
    """Whether shrinking may come before the display transform: no table, no sigmoid, no padding to be told apart, no
    shutter with an edge between two pixels."""
    try:
        tables = any(dataset.get(keyword) for keyword in ("ModalityLUTSequence", "VOILUTSequence"))
    except UNREADABLE:
        return False
    sigmoid = text(dataset, "VOILUTFunction").upper() == "SIGMOID"
    masked = is_present(dataset, "PixelPaddingValue") or is_present(dataset, "ShutterShape")
    return not (tables or sigmoid or masked)


def displayed(stored: Pixels, dataset: Dataset, image: ImagePixel) -> Displayed:
    """How stored values [rows, columns], or a smaller version of them, are to be shown."""
    notes: list[str] = []
    aspect, sensible = aspect_of(dataset)
    hidden, whole = hidden_by(dataset, Grid.of(stored.shape, aspect))
    notes += [noted.ASPECT] * (not sensible) + [noted.SHUTTER] * (not whole)
    padding = _padding(stored, dataset, image, notes)
    values = _values(stored, _either(padding, hidden), dataset, image, notes)
    low, high = values.bounds
    inverted = _starts_white(dataset, image, notes) != values.flipped
    shown = Displayed(
        pixels=values.pixels,
        low=low,
        high=high,
        inverted=inverted,
        aspect=aspect,
        by=values.by,
        notes=tuple(dict.fromkeys(notes)),
    )
    pixels = _painted(shown, padding, 0.0)
    return replace(shown, pixels=_painted(replace(shown, pixels=pixels), hidden, grey_of(dataset)))


def _values(stored: Pixels, left_out: Mask | None, dataset: Dataset, image: ImagePixel, notes: list[str]) -> Values:
    """Modality transform, then VOI LUT, else the window, else the range of the pixels that are not left out."""
    least = -(1 << (image.bits_stored - 1)) if image.signed else 0
    modality = _table(dataset, "ModalityLUTSequence", least, noted.MODALITY_LUT, notes)
    pixels, (slope, intercept) = (
        (modality.apply(stored), (1.0, 0.0)) if modality else (stored, _rescale(dataset, notes))
    )
    most = (1 << image.bits_stored) - 1 + least
    lowest = 0.0 if modality else min(least * slope, most * slope) + intercept
    if voi := _table(dataset, "VOILUTSequence", lowest, noted.VOI_LUT, notes):
        looked_up = voi.apply(_rescaled(pixels, slope, intercept))
        return Values(pixels=looked_up, bounds=(0.0, voi.highest), flipped=False, by=By.VOI_LUT)
    window = _window(dataset, notes)
    if window is None:
        seen = pixels if left_out is None else pixels[~left_out]
        low, high = float(seen.min()), float(seen.max())
        by = By.OWN_RANGE
    elif (function := _function(dataset, notes)) == "SIGMOID":
        center, width = window
        steep = -4 * (_rescaled(pixels, slope, intercept).astype(np.float32) - np.float32(center)) / np.float32(width)
        curve = 1 / (1 + np.exp(np.clip(steep, -80, 80)))
        return Values(pixels=curve, bounds=(0.0, 1.0), flipped=False, by=By.WINDOW)
    else:
        low, high = sorted((edge - intercept) / slope for edge in _window_edges(*window, function))
        by = By.WINDOW
    return Values(pixels=pixels, bounds=(low, high if high > low else low + 1.0), flipped=slope < 0, by=by)


def _table(dataset: Dataset, keyword: str, least: float, note: str, notes: list[str]) -> Table | None:
    """The sequence's first table that can be used."""
    try:
        items = list(dataset.get(keyword) or ())
    except UNREADABLE:
        items = [Dataset()]
    for item in items:
        table = table_of(item, least)
        if table is not None:
            if note == noted.VOI_LUT and table.bits != table.declared:
                notes.append(noted.VOI_LUT_BITS)
            return table
        notes.append(note)
    return None


def _rescale(dataset: Dataset, notes: list[str]) -> tuple[float, float]:
    """Slope and intercept (PS3.3 C.11.1.1.2), each for itself: 1 and 0 where there is none.

    1 also for a slope that cannot be used, although window and VOI LUT depend on it: it is the only one that a DX image
    may have (C.8.11.3), and what radiographs have.
    """
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    flat = slope is not None and abs(slope) < LEAST_SLOPE
    if flat or (slope is None and is_present(dataset, "RescaleSlope")):
        notes.append(noted.RESCALE)
    if intercept is None and is_present(dataset, "RescaleIntercept"):
        notes.append(noted.RESCALE)
    return (1.0 if slope is None or flat else slope), intercept or 0.0


def _rescaled(pixels: Pixels, slope: float, intercept: float) -> Pixels:
    if (slope, intercept) == (1.0, 0.0):
        return pixels
    return pixels.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _window(dataset: Dataset, notes: list[str]) -> tuple[float, float] | None:
    """The first window (center, width) that makes sense (PS3.3 C.11.2.1.2)."""
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    for center, width in zip_longest(centers, widths):
        if center is not None and width is not None and width > 0:
            return center, width
        notes.append(noted.WINDOW)
    return None


def _function(dataset: Dataset, notes: list[str]) -> str:
    function = text(dataset, "VOILUTFunction").upper()
    if function and function not in FUNCTIONS:
        notes.append(noted.VOI_FUNCTION)
    return function if function in FUNCTIONS else "LINEAR"


def _window_edges(center: float, width: float, function: str) -> Bounds:
    """PS3.3 C.11.2.1.2.1 (LINEAR) and C.11.2.1.3.2 (LINEAR_EXACT), in units after the modality transform.

    A LINEAR window under 1 is not allowed; units that need one mean it as LINEAR_EXACT.
    """
    if function == "LINEAR_EXACT" or width < 1:
        return center - width / 2, center + width / 2
    return center - 0.5 - (width - 1) / 2, center - 0.5 + max(width - 1, STEP) / 2


def _starts_white(dataset: Dataset, image: ImagePixel, notes: list[str]) -> bool:
    """Whether low values are white.

    INVERSE goes with MONOCHROME1 and IDENTITY with MONOCHROME2 (PS3.3 C.7.6.1): one turn, not two. INVERSE beside
    MONOCHROME2 is a turn as well (C.11.6.1.2). IDENTITY beside MONOCHROME1 turns nothing back: devices write it by
    mistake.
    """
    shape = text(dataset, "PresentationLUTShape").upper()
    if shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != image.monochrome1:
        notes.append(noted.POLARITY)
    return image.monochrome1 or shape == "INVERSE"


def _padding(stored: Pixels, dataset: Dataset, image: ImagePixel, notes: list[str]) -> Mask | None:
    """Pixels of Pixel Padding Value, or of its range (PS3.3 C.7.5.1.1.2); None where there are none, or no others."""
    ends: list[int] = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if is_present(dataset, keyword):
            value = number(dataset, keyword)
            end = None if value is None else as_stored(int(value), signed=image.signed, bits=image.bits_stored)
            if end is None:
                notes.append(noted.PADDING)
            else:
                ends.append(end)
        elif not ends:
            return None
    if not ends:
        return None
    low, high = min(ends), max(ends)
    values: NDArray[Any] = stored
    mask = np.asarray((values >= low) & (values <= high) if high > low else values == low)
    return mask if mask.any() and not mask.all() else None


def _either(first: Mask | None, second: Mask | None) -> Mask | None:
    """Pixels of one or the other; None where that is every pixel, or none."""
    if first is None or second is None:
        return first if second is None else second
    both = first | second
    return None if both.all() else both


def _painted(shown: Displayed, mask: Mask | None, grey: float) -> Pixels:
    """The pixels with those of the mask shown in a grey, 0 black to 1 white."""
    if mask is None:
        return shown.pixels
    share = 1 - grey if shown.inverted else grey
    value = shown.low + share * (shown.high - shown.low)
    pixels = shown.pixels.copy()
    if pixels.dtype.kind in "iu":
        limits = np.iinfo(pixels.dtype)  # type: ignore[type-var]
        if limits.min <= value <= limits.max and abs(round(value) - value) <= EXACT * (shown.high - shown.low):
            pixels[mask] = round(value)
            return pixels
        pixels = pixels.astype(np.float32)
    # A whole number outside: float32 may not tell the ends of a narrow window apart.
    pixels[mask] = value if 0 < share < 1 else math.floor(value) if share == 0 else math.ceil(value)
    return pixels
