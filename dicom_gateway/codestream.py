"""What a codestream says of itself, before anything decodes it (ITU T.81 JPEG, T.87 JPEG-LS, T.800 JPEG 2000).

Decoders allocate what a codestream's own header asks for, and some make a picture from half a stream. So size,
precision and the end marker are read here first.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_gateway.errors import CorruptPixels

J2K_START = b"\xff\x4f\xff\x51"  # SOC then SIZ (ITU T.800 Annex A)
COD, COC, SOT = 0xFF52, 0xFF53, 0xFF90  # coding style, that of a component, start of a tile-part
LONGEST_READ = 14
"""Bytes that are read of a segment of the main header, with its marker."""
SCAN_MARKER, END_MARKER = b"\xff\xda", b"\xff\xd9"  # SOS; EOI, and EOC
EMPTY_PACKET = b"\x01"
"""A bit of 0 and padding (ITU T.800 B.10.3). As the end of a high-throughput code-block it is a likely length."""
LOSSLESS_JPEG = 0xC3
SOF_MARKERS = {0xC0, 0xC1, 0xC2, LOSSLESS_JPEG, 0xF7}  # baseline, extended, progressive, lossless, JPEG-LS
PADDING_AT_MOST = 16
"""Bytes of any value that may follow the end marker; more must all be the same."""
HOLE = bytes(400)
"""So many zeros come from a file that was not written, where a coder cannot write them."""
HOLE_EDGE = 16
"""Zeros at each end of a hole that may belong to the data around it."""


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """One frame's own header."""

    rows: int
    columns: int
    components: int
    bits: int
    """Precision of a sample."""
    signed: bool = False
    """Only JPEG 2000 can be."""
    process: int = 0
    """JPEG's SOF marker: which of its codings."""


def read_codestream(codec: str, encoded: bytes) -> Codestream:
    """Header of a jpeg, jpegls, jpeg2k or htj2k frame. Raises CorruptPixels where there is none."""
    return _siz(encoded) if codec in ("jpeg2k", "htj2k") else _sof(encoded)


def without_padding(encoded: bytes) -> bytes:
    """The stream up to and with its end marker. Raises CorruptPixels without one, or with more behind it than padding.

    PS3.5 A.4: a fragment has an even length, so that a zero may follow. Real ones are padded to whole blocks, and some
    have the end marker once more. It cannot stand in the data before it, whose coders write no such byte after an FF.
    """
    end, behind = encoded.rfind(END_MARKER), len(encoded)
    if end < 0 or not _is_padding(encoded[end + 2 :]):
        raise CorruptPixels
    while end >= 0 and _is_padding(encoded[end + 2 : behind]):
        end, behind = encoded.rfind(END_MARKER, 0, end), end
    return encoded[: behind + 2]


def _is_padding(behind: bytes) -> bool:
    return len(behind) <= PADDING_AT_MOST or not behind.strip(behind[:1])


def has_a_hole(encoded: bytes) -> bool:
    """Whether a JPEG-LS scan has one. Each of its codes has a bit that is set (ITU T.87 A.5.3, A.7).

    A comment before it may be anything. No SOS stands in a scan: there a bit of 0 follows each FF (T.87 A.1).
    """
    return encoded.find(HOLE, max(encoded.rfind(SCAN_MARKER), 0)) >= 0


def with_holes_filled(encoded: bytes) -> bytes:
    """A JPEG 2000 stream with other bytes for the zeros of its holes. It is another picture only if they were data.

    A packet without data is one byte, and a film with black borders may have hundreds of them in a row. Nor does a
    comment change the picture.
    """
    if HOLE not in encoded:  # the search below is slow
        return encoded
    return re.sub(rb"\0{%d,}" % len(HOLE), _filled, encoded)


def _filled(hole: re.Match[bytes]) -> bytes:
    edge = bytes(HOLE_EDGE)
    return edge + EMPTY_PACKET * (len(hole[0]) - 2 * HOLE_EDGE) + edge


def main_header(encoded: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG 2000 main header, behind SOC (ITU T.800 A.3)."""
    position = 2
    while position + LONGEST_READ <= len(encoded):
        marker, length = struct.unpack_from(">HH", encoded, position)
        if marker == SOT or marker < 0xFF00:
            return
        yield marker, position
        position += 2 + length


def _sof(encoded: bytes) -> Codestream:
    """The frame header (ITU T.81 B.2.2)."""
    position = 2
    if encoded[:2] != b"\xff\xd8":
        raise CorruptPixels
    while position + 4 <= len(encoded):
        if encoded[position] != 0xFF:
            raise CorruptPixels
        marker = encoded[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in SOF_MARKERS:
            if position + 10 > len(encoded):
                raise CorruptPixels
            bits, rows, columns, components = struct.unpack_from(">BHHB", encoded, position + 4)
            return Codestream(rows=rows, columns=columns, components=components, bits=bits, process=marker)
        position += 2 + struct.unpack_from(">H", encoded, position + 2)[0]
    raise CorruptPixels


def _siz(encoded: bytes) -> Codestream:
    """The SIZ marker (ITU T.800 A.5.1), also inside a JP2 box as some archives send it."""
    start = encoded.find(J2K_START, 0, 4096)
    if start < 0 or start + 44 > len(encoded):
        raise CorruptPixels
    width, height, left, top = struct.unpack_from(">LLLL", encoded, start + 8)
    components, depth = struct.unpack_from(">HB", encoded, start + 40)
    return Codestream(
        rows=height - top,
        columns=width - left,
        components=components,
        bits=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
    )
