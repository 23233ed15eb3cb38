"""JPEG 2000 at a lower resolution: a wavelet level left out halves each side and most of the time.

A network that sees 224 x 224 pixels does not need the other ten million. Pillow (OpenJPEG) does this; whatever it does
not take goes to the decoder of `codecs`, which also says what is wrong with it.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import _Tile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from dicom_gateway.codestream import J2K_START

COD, SOT = 0xFF52, 0xFF90


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """What the main header says of a codestream with one component."""

    rows: int
    columns: int
    bits: int
    signed: bool
    levels: int
    """Wavelet decompositions: how often it can be halved."""


def decode_reduced(encoded: bytes, least_side: int) -> NDArray[np.generic] | None:
    """The smallest version whose shorter side has at least `least_side` pixels.

    Args:
        encoded: one JPEG 2000 frame of unsigned values.

    Returns:
        uint8 or uint16 [rows, columns]; None where the film is not large enough, or not of a kind this can do.
    """
    encoded = encoded[max(encoded.find(J2K_START, 0, 4096), 0) :]
    found = read_header(encoded)
    if found is None or found.signed or found.bits > 16:
        return None
    halvings = min(found.levels, (min(found.rows, found.columns) // least_side).bit_length() - 1)
    if halvings < 1:
        return None
    try:
        return _decode(encoded, found, halvings)
    except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, SyntaxError, struct.error):
        return None  # whatever is wrong, the full decoder says it


def read_header(encoded: bytes) -> Codestream | None:
    """SIZ and COD (ITU T.800 A.5.1, A.6.1); None where they are not as expected."""
    if encoded[:4] != J2K_START:
        return None
    try:
        (length,) = struct.unpack_from(">H", encoded, 4)
        width, height, left, top = struct.unpack_from(">LLLL", encoded, 8)
        components, depth, across, down = struct.unpack_from(">HBBB", encoded, 40)
        position = 4 + length
        while True:
            marker, length = struct.unpack_from(">HH", encoded, position)
            if marker == COD:
                levels = encoded[position + 9]
                break
            if marker == SOT:
                return None
            position += 2 + length
    except (struct.error, IndexError):
        return None
    if components != 1 or (left, top, across, down) != (0, 0, 1, 1) or levels > 32:
        return None
    return Codestream(rows=height, columns=width, bits=(depth & 0x7F) + 1, signed=bool(depth & 0x80), levels=levels)


def _decode(encoded: bytes, found: Codestream, halvings: int) -> NDArray[np.generic]:
    image: Any = Jpeg2KImageFile(io.BytesIO(encoded))
    # Pillow's own `reduce` rounds the size where the standard (ITU T.800 B.5) rounds up, and then refuses the picture.
    size = -(-found.columns >> halvings), -(-found.rows >> halvings)
    codec, _, _, arguments = image.tile[0]
    kind, _, layers, file, length = arguments
    image.tile = [_Tile(codec, (0, 0, *size), 0, (kind, halvings, layers, file, length))]
    image._size = size
    image.load()
    values = np.asarray(image)
    if values.shape != size[::-1] or values.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{values.dtype} {values.shape}")
    # Pillow fills 8 or 16 bits from the top.
    return np.asarray(np.right_shift(values, values.dtype.itemsize * 8 - found.bits))
