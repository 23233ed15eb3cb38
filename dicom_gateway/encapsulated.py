"""Encapsulated Pixel Data (PS3.5 A.4): its items, and the one frame that they hold together.

A film has one frame, so nothing has to be asked of the Basic or the Extended Offset Table: real ones name each fragment
as if it were a frame, or are wrong. A fragment may be empty or of odd length, and may end anywhere.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from dicom_gateway.errors import CorruptPixels, Malformed, Truncated

ITEM, DELIMITER = 0xFFFEE000, 0xFFFEE0DD
UNDEFINED_LENGTH = 0xFFFFFFFF


def walk_items(stream: BinaryIO, offset: int, end: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each item's value, without reading it; the first is the Basic Offset Table.

    Args:
        offset: where the first item begins.
        end: nothing is read from here on.

    `stream` may be moved between two items. After the last one it stands behind the sequence delimiter.

    Raises:
        Malformed: something else stands where an item or the delimiter belongs.
        Truncated: no delimiter before `end`.
    """
    position, padded = offset, False
    while position + 8 <= end:
        stream.seek(position)
        group, element, length = struct.unpack("<HHL", stream.read(8))
        tag = group << 16 | element
        if tag == DELIMITER:
            return
        if tag == ITEM and length != UNDEFINED_LENGTH:
            yield position + 8, length
            position, padded = position + 8 + length, length % 2 == 1
        elif padded:
            position, padded = position + 1, False  # an odd length that does not count the byte of padding behind it
        else:
            raise Malformed
    raise Truncated


def join_fragments(value: bytes) -> bytes:
    """Every item behind the first, which is the Basic Offset Table.

    Args:
        value: the whole value, with its sequence delimiter.

    Raises:
        CorruptPixels: the value is no sequence of items, or it holds no byte of a frame.
    """
    try:
        _, *fragments = walk_items(io.BytesIO(value), 0, len(value))
    except (Malformed, Truncated, ValueError):
        raise CorruptPixels from None
    frame = b"".join(value[offset : offset + length] for offset, length in fragments)
    if not frame:
        raise CorruptPixels
    return frame
