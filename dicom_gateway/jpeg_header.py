"""The entropy-coded data of a grayscale JPEG and all that is needed to walk them (ITU T.81 Annex B)."""

import re
import struct
from dataclasses import dataclass

from dicom_gateway.errors import CorruptPixels

DHT, SOS, DRI, DNL = 0xC4, 0xDA, 0xDD, 0xDC
PROGRESSIVE, LOSSLESS = 0xC2, 0xC3
SEQUENTIAL = (0xC0, 0xC1, LOSSLESS)
MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)

HuffmanCodes = tuple[bytes, ...]
"""The values that have a code of 1, 2, ... 16 bits, in order (T.81 B.2.4.2)."""


@dataclass(frozen=True, kw_only=True)
class EntropyData:
    lossless: bool
    predictor: int
    """Of a lossless stream: its selection value, 1 to 7 (T.81 Table H.1). Else the first coefficient, 0."""
    blocks: tuple[int, ...]
    """8 x 8 blocks in each restart interval; of a lossless stream, samples."""
    codes: tuple[HuffmanCodes, ...]
    """DC and AC table; of a lossless stream one, of the differences."""
    content: bytes
    """All intervals, without restart markers and stuffed zeros (T.81 B.1.1.5)."""
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    """Where each interval ends in `content`."""


def read_entropy_data(encoded: bytes) -> EntropyData | None:
    """Of a stream of one component and one scan, ending with EOI. None for a progressive one.

    Raises:
        CorruptPixels: a marker segment is no such thing, or restart markers are missing or out of order.
    """
    tables: dict[int, HuffmanCodes] = {}
    interval = rows = columns = process = 0
    position = 2
    try:
        while True:
            if encoded[position] != 0xFF:
                raise CorruptPixels
            marker = encoded[position + 1]
            if marker == 0xFF:  # fill byte
                position += 1
                continue
            (length,) = struct.unpack_from(">H", encoded, position + 2)
            body, position = encoded[position + 4 : position + 2 + length], position + 2 + length
            if marker == DHT:
                tables |= _tables(body)
            elif marker == DRI:
                (interval,) = struct.unpack(">H", body)
            elif marker == PROGRESSIVE:
                return None
            elif marker in SEQUENTIAL:
                process = marker
                rows, columns = struct.unpack_from(">HH", body, 1)
            elif marker == SOS:
                break
        lossless = process == LOSSLESS
        used, predictor = body[2], body[3]
        codes = (tables[used >> 4],) if lossless else (tables[used >> 4], tables[0x10 | used & 15])
    except (struct.error, IndexError, KeyError):
        raise CorruptPixels from None
    blocks = rows * columns if lossless else -(-rows // 8) * -(-columns // 8)
    parts = _intervals(encoded[position:-2])
    interval = interval or blocks
    if not process or len(parts) != -(-blocks // interval):
        raise CorruptPixels
    ends: list[int] = []
    for part in parts:
        ends.append((ends[-1] if ends else 0) + len(part))
    return EntropyData(
        lossless=lossless,
        predictor=predictor,
        blocks=(*[interval] * (len(parts) - 1), blocks - interval * (len(parts) - 1)),
        codes=codes,
        content=b"".join(parts),
        begins=(0, *ends[:-1]),
        ends=tuple(ends),
    )


def _tables(body: bytes) -> dict[int, HuffmanCodes]:
    """DHT segments by class and destination."""
    tables, position = {}, 0
    while position < len(body):
        counts = body[position + 1 : position + 17]
        end = position + 17 + sum(counts)
        if len(counts) < 16 or end > len(body):
            raise CorruptPixels
        values, first = [], position + 17
        for count in counts:
            values.append(body[first : first + count])
            first += count
        tables[body[position]] = tuple(values)
        position = end
    return tables


def _intervals(data: bytes) -> list[bytes]:
    """Split at restart markers, which count from 0 to 7 and begin again (T.81 E.1.4)."""
    data = data.rstrip(b"\xff")  # fill bytes
    if data[-6:-4] == bytes((0xFF, DNL)):  # says the number of rows once more
        data = data[:-6]
    markers = list(MARKER.finditer(data)) if b"\xff" in data.replace(b"\xff\0", b"") else []  # the search is slow
    if any(found[1][0] != 0xD0 + turn % 8 for turn, found in enumerate(markers)):
        raise CorruptPixels
    begins = [0, *(found.end() for found in markers)]
    ends = [*(found.start() for found in markers), len(data)]
    return [data[begin:end].replace(b"\xff\x00", b"\xff") for begin, end in zip(begins, ends, strict=True)]
