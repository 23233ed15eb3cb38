"""The one frame of encapsulated Pixel Data (PS3.5 A.4): all of its fragments, joined.

A film has one frame, so nothing has to be asked of the Basic or the Extended Offset Table: real ones name each fragment
as if it were a frame, or are wrong. A fragment may be empty or of odd length, and may end anywhere.
"""

import struct

from dicom_gateway.errors import CorruptPixels

ITEM, DELIMITER = 0xFFFEE000, 0xFFFEE0DD


def join_fragments(value: bytes) -> bytes:
    """Every item behind the first, which is the Basic Offset Table.

    Raises:
        CorruptPixels: the value is no sequence of items, or it holds no byte of a frame.
    """
    items: list[bytes] = []
    position = 0
    while position + 8 <= len(value):
        group, element, length = struct.unpack_from("<HHL", value, position)
        tag = group << 16 | element
        if tag == DELIMITER:
            break
        if tag != ITEM and items and len(items[-1]) % 2 and not value[position]:
            position += 1  # padding that the odd length does not count
            continue
        if tag != ITEM or position + 8 + length > len(value):
            raise CorruptPixels
        items.append(value[position + 8 : position + 8 + length])
        position += 8 + length
    frame = b"".join(items[1:])
    if not frame:
        raise CorruptPixels
    return frame
