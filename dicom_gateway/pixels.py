"""A stored film to a `Radiograph`: its header checked, its frame decoded, its stored values restored."""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway.aspect import aspect_of
from dicom_gateway.codecs import decode_codestream, decode_rle
from dicom_gateway.codestream import read_codestream
from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.display import AS_SENT, By, Displayed, ImagePixel, Look, displayed, is_linear
from dicom_gateway.encapsulated import join_fragments
from dicom_gateway.errors import (
    CodestreamMismatch,
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
from dicom_gateway.header import IMAGE_TAGS
from dicom_gateway.inflated import InflatedStream
from dicom_gateway.part10 import PixelLocation, Scan, scan
from dicom_gateway.stored import Cell, Pixels, from_cells, from_samples
from dicom_gateway.values import integer, text

MAX_PIXELS = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Radiograph(Displayed):
    """A decoded film."""

    bits_stored: int
    rows: int
    columns: int
    """As the header says; `pixels` has fewer where it came at a lower resolution."""
    for_processing: bool
    """Meant for a machine, and without a window or VOI LUT: nobody has said how it is to be shown."""


@dataclass(frozen=True, kw_only=True)
class StoredFilm:
    """A decoded frame, and the header that says how it is shown."""

    pixels: Pixels
    """[rows, columns], stored values; maybe a mapping of the file."""
    dataset: Dataset
    image: ImagePixel
    has_levels: bool
    """JPEG 2000: it comes at a lower resolution where `least_side` lets it."""


def read_radiograph(path: Path, *, max_pixels: int = MAX_PIXELS, least_side: int | None = None) -> Radiograph:
    """A film as it was sent: `read_stored`, then `shown`."""
    return shown(read_stored(path, max_pixels=max_pixels, least_side=least_side))


def read_stored(path: Path, *, max_pixels: int = MAX_PIXELS, least_side: int | None = None) -> StoredFilm:
    """Decode a Part 10 file. One film at a time, in one thread of a process: see `listening`.

    Args:
        max_pixels: largest rows x columns; checked from the header before anything is allocated.
        least_side: a film may come at a lower resolution if that saves time, its shorter side at least this long. Only
            JPEG 2000 does, and only where the display is linear and hides nothing. None: as stored.

    Raises:
        PixelError: a subclass whose `reason` says why there is no radiograph.
    """
    with path.open("rb") as handle:
        try:
            scanned = scan(handle, IMAGE_TAGS, count_inflated=False)  # that was done at the door
        except Refusal as refusal:
            raise PixelError(refusal.comment) from refusal
        image = image_pixel(scanned.dataset, max_pixels)
        if scanned.pixels is None or scanned.pixels.length == 0:
            raise NoPixelData
        least_side = _least_side(scanned.dataset, least_side)
        stored = _stored_values(scanned, scanned.pixels, image, least_side)
        has_levels = SYNTAX_BY_UID[scanned.transfer_syntax_uid].codec == "jpeg2k"
    return StoredFilm(pixels=stored, dataset=scanned.dataset, image=image, has_levels=has_levels)


def shown(film: StoredFilm, look: Look = AS_SENT) -> Radiograph:
    """The film as its header says, or as a person wants to see it."""
    values = displayed(film.pixels, film.dataset, film.image, look)
    return Radiograph(
        **vars(values),
        bits_stored=film.image.bits_stored,
        rows=film.image.rows,
        columns=film.image.columns,
        for_processing=values.by is By.OWN_RANGE and _is_for_processing(film.dataset),
    )


def _least_side(dataset: Dataset, asked: int | None) -> int | None:
    """In stored pixels; more where these are not square, because the longer side of a pixel is the coarser one."""
    if asked is None or not is_linear(dataset):
        return None
    aspect, _ = aspect_of(dataset)
    return math.ceil(asked * max(aspect, 1 / aspect))


def _is_for_processing(dataset: Dataset) -> bool:
    """By SOP class (PS3.4 B.5) or Presentation Intent Type (0008,0068)."""
    intent = text(dataset, "PresentationIntentType").upper()
    return intent == "FOR PROCESSING" or text(dataset, "SOPClassUID") == uid.DigitalXRayImageStorageForProcessing


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


def _stored_values(scanned: Scan, where: PixelLocation, image: ImagePixel, least_side: int | None) -> Pixels:
    syntax = SYNTAX_BY_UID.get(scanned.transfer_syntax_uid)
    if syntax is None:
        raise UnsupportedSyntax
    if (syntax.codec != "raw") != where.encapsulated:
        raise CorruptPixels
    cell = Cell(bits_stored=image.bits_stored, high_bit=image.high_bit, signed=image.signed)
    if syntax.codec == "raw":
        return from_cells(_raw_frame(scanned, where, image), cell)
    scanned.stream.seek(where.offset)
    encoded = join_fragments(scanned.stream.read(where.length))
    if syntax.codec == "rle":
        return from_cells(decode_rle(encoded, image.rows, image.columns, image.bits_allocated), cell)
    found = read_codestream(syntax.codec, encoded)
    if found.bits > image.bits_allocated:
        raise CodestreamMismatch
    # Only where samples are pixels without any doubt may they be mixed with their neighbours before they are read.
    plain = not found.signed and not image.signed and found.bits == image.bits_stored == image.high_bit + 1
    samples, found = decode_codestream(syntax.codec, encoded, image.rows, image.columns, least_side if plain else None)
    return from_samples(samples, cell, bits=found.bits, signed=found.signed)


def _raw_frame(scanned: Scan, where: PixelLocation, image: ImagePixel) -> Pixels:
    count = image.rows * image.columns
    order = "<" if scanned.little_endian else ">"
    # PS3.5 A.3: two bytes of OW change places in big endian, so that an odd count takes one more.
    swapped_bytes = image.bits_allocated == 8 and not scanned.little_endian and where.vr == "OW"
    held = count + count % 2 if swapped_bytes else count
    if where.length < held * image.bits_allocated // 8:
        raise CorruptPixels
    dtype = np.dtype(f"{order}u{image.bits_allocated // 8}")
    flat = _values(scanned.stream, dtype, held, where.offset)
    if swapped_bytes:
        flat = flat.reshape(-1, 2)[:, ::-1].reshape(-1)[:count]
    return np.asarray(flat.reshape(image.rows, image.columns)).astype(dtype.newbyteorder("="), copy=False)


def _values(stream: BinaryIO, dtype: "np.dtype[Any]", count: int, offset: int) -> Pixels:
    """A mapping of the file; of a deflated one these values and no more."""
    if isinstance(stream, InflatedStream):
        stream.seek(offset)
        try:
            values = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
        except (Refusal, ValueError):
            raise CorruptPixels from None
        if len(values) < count:
            raise CorruptPixels
        return values
    return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype, count, offset)
