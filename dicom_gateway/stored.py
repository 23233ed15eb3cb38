"""Decoded samples to stored values: which of their bits are the pixel, and which is its sign (PS3.5 8.1.1 and 8.2).

Native pixels (and RLE, which packs native ones) are cells: Bits Stored bits below High Bit, and above them overlays or
anything. The samples of a codestream have a precision of their own, which real files do not always keep equal to Bits
Stored. What each case means is in TABLE.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.errors import CodestreamMismatch, CorruptPixels

Pixels = NDArray[np.generic]
Precision = Literal["below", "equal", "above"]

# stream signed, header signed (Pixel Representation), precision of the stream against Bits Stored
# -> how the samples are read; of several the one that leaves the smoothest picture, the first where they are equal.
#   plain   as they are, even beyond Bits Stored: a lossy coder overshoots, and a wrapped white would be black
#   masked  the low Bits Stored bits: an overlay or rubbish above them, coded with the pixels
#   stream  two's complement of the stream's precision
#   header  two's complement of Bits Stored
TABLE: dict[tuple[bool, bool, Precision], tuple[str, ...]] = {
    (False, False, "below"): ("plain",),  # 12 bits of a scanner under a header that says 16
    (False, False, "equal"): ("plain",),
    (False, False, "above"): ("plain", "masked"),  # overshoot, or an overlay
    (False, True, "below"): ("stream", "plain"),  # the sign is the stream's top bit; or none of the values was negative
    (False, True, "equal"): ("stream",),  # JPEG and JPEG-LS know no sign, and some JPEG 2000 writers set none
    (False, True, "above"): ("stream", "header"),  # sign extended to the stream's precision, or not
    (True, False, "below"): ("unsigned",),  # the codec shifted values by half the range, or wrapped them: which one
    (True, False, "equal"): ("unsigned",),  # cannot be told, so that a negative value is a codestream_mismatch
    (True, False, "above"): ("unsigned",),
    (True, True, "below"): ("plain",),
    (True, True, "equal"): ("plain",),
    (True, True, "above"): ("plain",),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Where the header says that the pixel lies (PS3.3 C.7.6.3.1)."""

    bits_stored: int
    high_bit: int
    signed: bool


def from_cells(cells: Pixels, cell: Cell) -> Pixels:
    """Values of native pixel cells, unsigned [rows, columns]."""
    shift = cell.high_bit + 1 - cell.bits_stored
    if shift:
        cells = np.right_shift(cells, shift)
    return _extended(cells, cell.bits_stored) if cell.signed else _masked(cells, cell.bits_stored)


def from_samples(samples: Pixels, cell: Cell, *, bits: int, signed: bool) -> Pixels:
    """Values of a codestream's samples [rows, columns].

    Args:
        bits, signed: the stream's own precision and sign.

    Raises:
        CodestreamMismatch: what the samples mean cannot be told.
        CorruptPixels: they are no integers of at most 16 bits.
    """
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2 or (samples.dtype.kind == "i") != signed:
        raise CorruptPixels
    if bits >= cell.high_bit + 1 > cell.bits_stored and not signed:  # the cells themselves were coded
        return from_cells(samples, cell)
    precision: Precision = "equal" if bits == cell.bits_stored else "below" if bits < cell.bits_stored else "above"
    readings = [_read(samples, way, bits, cell.bits_stored) for way in TABLE[signed, cell.signed, precision]]
    if all(reading is readings[0] for reading in readings):
        return readings[0]
    return min(readings, key=_roughness)


def _read(samples: Pixels, way: str, bits: int, bits_stored: int) -> Pixels:
    if way == "masked":
        return _masked(samples, bits_stored)
    if way in ("stream", "header"):
        return _extended(samples, bits if way == "stream" else bits_stored)
    if way == "unsigned" and int(samples.min()) < 0:
        raise CodestreamMismatch
    return samples


def _masked(values: Pixels, bits: int) -> Pixels:
    mask = (1 << bits) - 1
    return np.bitwise_and(values, values.dtype.type(mask)) if int(values.max()) > mask else values


def _extended(values: Pixels, bits: int) -> Pixels:
    """The low `bits` bits as two's complement."""
    width = values.dtype.itemsize * 8
    spare = max(width - bits, 0)
    return np.asarray(np.right_shift(np.left_shift(values, spare).view(f"i{width // 8}"), spare))


def _roughness(values: Pixels) -> int:
    """Sum of the steps between neighbours: a value that is read wrongly stands far from those around it."""
    whole = values.astype(np.int32)
    return sum(int(np.abs(np.diff(whole, axis=axis)).sum(dtype=np.int64)) for axis in (0, 1))
