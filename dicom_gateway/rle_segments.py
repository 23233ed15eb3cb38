"""Whether the segments of an RLE frame hold as many bytes as the picture has, and nothing else (PS3.5 Annex G)."""

import struct
from itertools import pairwise

from dicom_gateway.errors import CorruptPixels

HEADER = 64


def check_segments(encoded: bytes, expected: int, size: int) -> None:
    """Walk the runs.

    Args:
        expected: number of segments, one for each byte of a pixel.
        size: bytes that each decodes to.

    Raises:
        CorruptPixels: another number or order of segments, or one that decodes to more or fewer bytes.
    """
    if len(encoded) < HEADER:
        raise CorruptPixels
    count, *offsets = struct.unpack_from("<16L", encoded)
    starts = [*offsets[:count], len(encoded)]
    if count != expected or starts[0] != HEADER or any(offsets[count:]) or starts != sorted(starts):
        raise CorruptPixels
    for start, end in pairwise(starts):
        _check(encoded[start:end], size)


def _check(segment: bytes, size: int) -> None:
    """A control byte below 128 stands before so many bytes and one more; above, before one byte to repeat (G.3.1)."""
    position = held = 0
    try:
        while held < size:
            control = segment[position]
            if control < 128:
                position += control + 2
                held += control + 1
            elif control > 128:
                position += 2
                held += 257 - control
            else:
                position += 1
    except IndexError:
        raise CorruptPixels from None
    if held > size or position > len(segment) or segment[position:].strip(b"\0"):  # padded to an even length
        raise CorruptPixels
