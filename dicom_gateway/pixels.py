"""A stored film to a `Radiograph`: decoded pixels and how to display them (the PS3.3 C.11 grayscale pipeline).

Linear steps (rescale, window, MONOCHROME1) are not applied but folded into two numbers and a sign, so that the caller
can shrink the film before it touches grey values. Look-up tables and sigmoid windows are applied here.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from dicom_gateway.codecs import FrameSize, decode_frame
from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.errors import (
    CorruptPixels,
    HeaderIncomplete,
    MultiFrame,
    NoPixelData,
    NotGrayscale,
    PixelError,
    Refusal,
    TooManyPixels,
    UnsupportedSyntax,
)
from dicom_gateway.header import IMAGE_TAGS, UNREADABLE, integer, number, text
from dicom_gateway.part10 import PixelLocation, Scan, scan

Pixels = NDArray[np.generic]
Bounds = tuple[float, float]

MAX_PIXELS = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Radiograph:
    """A decoded film. Shown, a stored value v is clip((v - low) / (high - low), 0, 1), then 1 - that if inverted."""

    pixels: Pixels
    """[rows, columns], stored values (or the output of a look-up table)."""
    low: float
    high: float
    """Greater than `low`."""
    inverted: bool
    """True where low values are white: MONOCHROME1, or a negative rescale slope under MONOCHROME2."""
    bits_stored: int
    rows: int
    columns: int
    """As the header says; `pixels` has fewer where it came at a lower resolution."""


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


def read_radiograph(path: Path, *, max_pixels: int = MAX_PIXELS, least_side: int | None = None) -> Radiograph:
    """Decode a Part 10 file.

    Args:
        max_pixels: largest rows x columns; checked from the header before anything is allocated.
        least_side: a film may come at a lower resolution if that saves time, its shorter side at least this long. Only
            JPEG 2000 does, and only where the display is linear. None: as stored.

    Raises:
        PixelError: a subclass whose `reason` says why there is no radiograph.
    """
    with path.open("rb") as handle:
        try:
            scanned = scan(handle, IMAGE_TAGS)
        except Refusal as refusal:
            raise PixelError(refusal.comment) from refusal
        image = image_pixel(scanned.dataset, max_pixels)
        if scanned.pixels is None or scanned.pixels.length == 0:
            raise NoPixelData
        least_side = least_side if _is_linear(scanned.dataset) else None
        stored = _stored_values(_decode(scanned, scanned.pixels, image, least_side), image)
    return _displayed(stored, image, scanned)


def image_pixel(dataset: Dataset, max_pixels: int) -> ImagePixel:
    """Check the header. Raises HeaderIncomplete, TooManyPixels, NotGrayscale or MultiFrame."""
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    allocated = integer(dataset, "BitsAllocated")
    photometric = text(dataset, "PhotometricInterpretation").upper()
    if not rows or not columns or rows < 0 or columns < 0 or allocated is None or not photometric:
        raise HeaderIncomplete
    if rows * columns > max_pixels:
        raise TooManyPixels
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or (integer(dataset, "SamplesPerPixel") or 1) != 1:
        raise NotGrayscale
    if (integer(dataset, "NumberOfFrames") or 1) > 1:
        raise MultiFrame
    stored = integer(dataset, "BitsStored") or allocated
    high_bit = integer(dataset, "HighBit")
    high_bit = stored - 1 if high_bit is None else high_bit
    if allocated not in (8, 16) or not 1 <= stored <= allocated or not stored - 1 <= high_bit < allocated:
        raise HeaderIncomplete
    return ImagePixel(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=integer(dataset, "PixelRepresentation") == 1,
        monochrome1=photometric == "MONOCHROME1",
    )


def _is_linear(dataset: Dataset) -> bool:
    """Whether shrinking may come before the display transform: no table, no sigmoid, no padding to be told apart."""
    try:
        tables = any(dataset.get(keyword) for keyword in ("ModalityLUTSequence", "VOILUTSequence"))
    except UNREADABLE:
        return False
    sigmoid = text(dataset, "VOILUTFunction").upper() == "SIGMOID"
    return not tables and not sigmoid and integer(dataset, "PixelPaddingValue") is None


def _decode(scanned: Scan, where: PixelLocation, image: ImagePixel, least_side: int | None) -> Pixels:
    syntax = SYNTAX_BY_UID.get(scanned.transfer_syntax_uid)
    if syntax is None:
        raise UnsupportedSyntax
    if (syntax.codec != "raw") != where.encapsulated:
        raise CorruptPixels
    if syntax.codec == "raw":
        return _raw_frame(scanned, where, image)
    scanned.stream.seek(where.offset)
    encoded = scanned.stream.read(where.length)
    try:
        frame = next(generate_frames(encoded, number_of_frames=1))
    except (ValueError, StopIteration, IndexError):
        raise CorruptPixels from None
    size = FrameSize(rows=image.rows, columns=image.columns)
    return decode_frame(syntax.codec, frame, size, image.bits_allocated, least_side)


def _raw_frame(scanned: Scan, where: PixelLocation, image: ImagePixel) -> Pixels:
    count = image.rows * image.columns
    order = "<" if scanned.little_endian else ">"
    swapped_bytes = (
        image.bits_allocated == 8 and not scanned.little_endian and where.vr == "OW"
    )  # PS3.5 A.3, OW of bytes
    if where.length < (count + (count % 2 if swapped_bytes else 0)) * image.bits_allocated // 8:
        raise CorruptPixels
    dtype = np.dtype(f"{order}u{image.bits_allocated // 8}")
    flat = np.frombuffer(_bytes_of(scanned.stream), dtype, count + (count % 2 if swapped_bytes else 0), where.offset)
    if swapped_bytes:
        flat = flat.reshape(-1, 2)[:, ::-1].reshape(-1)[:count]
    return np.asarray(flat.reshape(image.rows, image.columns)).astype(dtype.newbyteorder("="), copy=False)


def _bytes_of(stream: BinaryIO) -> Any:
    if hasattr(stream, "getbuffer"):
        return stream.getbuffer()
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _stored_values(frame: Pixels, image: ImagePixel) -> Pixels:
    """Keep BitsStored bits below HighBit and extend the sign (PS3.5 8.1.1).

    A decoder's signed values are already right.
    """
    if frame.dtype.kind == "i":
        return frame
    if frame.dtype.kind != "u" or frame.dtype.itemsize > 2:
        raise CorruptPixels
    bits = frame.dtype.itemsize * 8
    shift = image.high_bit + 1 - image.bits_stored
    if shift:
        frame = np.right_shift(frame, shift)
    if image.bits_stored < bits and not image.signed:
        mask = frame.dtype.type((1 << image.bits_stored) - 1)
        return np.bitwise_and(frame, mask) if frame.max() > mask else frame
    if image.signed:
        spare = bits - image.bits_stored
        signed = np.left_shift(frame, spare).view(f"i{bits // 8}") if spare >= 0 else frame.view(f"i{bits // 8}")
        return np.asarray(np.right_shift(signed, max(spare, 0)))
    return frame


def _displayed(stored: Pixels, image: ImagePixel, scanned: Scan) -> Radiograph:
    padding = _padding_mask(stored, scanned.dataset)
    if padding is not None and padding.all():
        padding = None
    pixels, bounds, flipped = _pipeline(stored, padding, scanned)
    low, high = bounds
    inverted = image.monochrome1 != flipped
    if padding is not None:
        pixels = pixels.copy()
        black = high if inverted else low
        least, most = _limits(pixels)
        pixels[padding] = black if pixels.dtype.kind == "f" else min(max(round(black), least), most)
    return Radiograph(
        pixels=pixels,
        low=low,
        high=high,
        inverted=inverted,
        bits_stored=image.bits_stored,
        rows=image.rows,
        columns=image.columns,
    )


def _pipeline(stored: Pixels, padding: NDArray[np.bool_] | None, scanned: Scan) -> tuple[Pixels, Bounds, bool]:
    """Modality and VOI transform: pixels, their (low, high) shown black and white, and whether a slope turned them
    round."""
    dataset, little = scanned.dataset, scanned.little_endian
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
