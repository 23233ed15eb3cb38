"""The grayscale pipeline (PS3.3 C.11): Modality LUT, VOI LUT or window, polarity, padding, shutter.

Linear steps (rescale, window, MONOCHROME1) are not applied but folded into two numbers and a sign, so that the caller
can shrink the film before it touches grey values. Look-up tables and sigmoid windows are applied here.

A part of the header that cannot be used is left out as the standard would have it, and noted.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway import notes as noted
from dicom_gateway.aspect import aspect_of
from dicom_gateway.lookup import first_table
from dicom_gateway.modality import Modality, modality_of
from dicom_gateway.shutter import Grid, Mask, grey_of, hidden_by
from dicom_gateway.stored import Pixels
from dicom_gateway.values import UNREADABLE, as_stored, is_present, number, text
from dicom_gateway.windows import LINEAR, SIGMOID, Bounds, Window, function_of, window_of

EXACT = 1 / 512
"""Of the display range: a painted grey that whole stored values miss by more is painted in float."""


class By(StrEnum):
    """What a film's header chooses its grey values by."""

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

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest value that a pixel can have."""
        least = -(1 << (self.bits_stored - 1)) if self.signed else 0
        return least, (1 << self.bits_stored) - 1 + least


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a person wants to see a film, where that is not as it was sent."""

    window: Window | None = None
    """In place of the header's window, VOI LUT or the film's own range. It goes through the function of the window that
    it replaces; where it replaces no window it is LINEAR, and falls where a VOI LUT fell."""
    turned: bool = False
    """Black for white. Padding and shutter stay as they are."""


AS_SENT = Look()


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
    window: Window
    """In use. Where no window says what is shown: from the least value to the greatest of the film's own range, or of
    what a VOI LUT tells apart."""
    function: str
    """That the window goes through, of `windows.FUNCTIONS`."""
    notes: tuple[str, ...]
    """Codes of `dicom_gateway.notes`."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """After the modality and VOI transforms: shown black and white at `bounds`."""

    pixels: Pixels
    bounds: Bounds
    flipped: bool
    """A negative slope turned them round, or a falling VOI LUT that a window stands in for."""
    by: By
    window: Window
    function: str


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


def displayed(stored: Pixels, dataset: Dataset, image: ImagePixel, look: Look = AS_SENT) -> Displayed:
    """How stored values [rows, columns], or a smaller version of them, are to be shown."""
    notes: list[str] = []
    aspect, sensible = aspect_of(dataset)
    notes += [noted.ASPECT] * (not sensible)
    padding, hidden = _masks(stored, dataset, image, aspect, notes)
    modality = modality_of(stored, dataset, *image.limits, notes)
    values = _values(modality, _either(padding, hidden), dataset, look.window, notes)
    low, high = values.bounds
    shown = Displayed(
        pixels=values.pixels,
        low=low,
        high=high,
        inverted=(_starts_white(dataset, image, notes) != values.flipped) != look.turned,
        aspect=aspect,
        by=values.by,
        window=values.window,
        function=values.function,
        notes=tuple(dict.fromkeys(notes)),
    )
    pixels = _painted(shown, padding, 0.0)
    return replace(shown, pixels=_painted(replace(shown, pixels=pixels), hidden, grey_of(dataset)))


def value_range(stored: Pixels, dataset: Dataset, image: ImagePixel) -> Bounds:
    """Least and greatest value after the modality transform, of the pixels that are seen."""
    padding, hidden = _masks(stored, dataset, image, aspect_of(dataset)[0], [])
    modality = modality_of(stored, dataset, *image.limits, [])
    return modality.range_of(*_extremes(modality.pixels, _either(padding, hidden)))


def low_is_white(dataset: Dataset, image: ImagePixel) -> bool:
    """Whether low values, after the modality transform, are shown white."""
    return _starts_white(dataset, image, [])


def _masks(
    stored: Pixels, dataset: Dataset, image: ImagePixel, aspect: float, notes: list[str]
) -> tuple[Mask | None, Mask | None]:
    """Pixels of padding, and those that the shutter hides."""
    hidden, whole = hidden_by(dataset, Grid.of(stored.shape, aspect))
    notes += [noted.SHUTTER] * (not whole)
    return _padding(stored, dataset, image, notes), hidden


def _values(
    modality: Modality, left_out: Mask | None, dataset: Dataset, chosen: Window | None, notes: list[str]
) -> Values:
    """VOI LUT, else the window, else the range of the pixels that are not left out; or a chosen window instead."""
    voi = first_table(dataset, "VOILUTSequence", modality.lowest, noted.VOI_LUT, notes)
    if voi and chosen is None:
        return Values(
            pixels=voi.apply(modality.values),
            bounds=(0.0, voi.highest),
            flipped=False,
            by=By.VOI_LUT,
            window=Window.between(*voi.told_apart),
            function=LINEAR,
        )
    own = None if voi else window_of(dataset, notes)
    by = By.VOI_LUT if voi else By.WINDOW if own else By.OWN_RANGE
    window, function = chosen or own, function_of(dataset, notes) if own else LINEAR
    if window and function == SIGMOID:
        curve = window.sigmoid(modality.values)
        return Values(pixels=curve, bounds=(0.0, 1.0), flipped=False, by=by, window=window, function=function)
    pixels, slope = modality.pixels, modality.slope
    if window:
        low, high = sorted((edge - modality.intercept) / slope for edge in window.edges(function))
    else:
        low, high = _extremes(pixels, left_out)
    bounds = low, high if high > low else low + 1.0
    window = window or Window.between(*modality.range_of(*bounds))
    flipped = (slope < 0) != (voi is not None and voi.falls)
    return Values(pixels=pixels, bounds=bounds, flipped=flipped, by=by, window=window, function=function)


def _extremes(pixels: Pixels, left_out: Mask | None) -> Bounds:
    seen = pixels if left_out is None else pixels[~left_out]
    return float(seen.min()), float(seen.max())


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
