"""How far a JPEG 2000 film may be halved: a wavelet level left out halves each side and most of the time."""

import struct
from dataclasses import dataclass

from dicom_gateway.codestream import COD, J2K_START, main_header


@dataclass(frozen=True, kw_only=True)
class MainHeader:
    """What the main header says of a codestream with one component whose pixels lie as they are counted."""

    rows: int
    columns: int
    bits: int
    signed: bool
    levels: int
    """Wavelet decompositions: how often it can be halved."""
    reversible: bool


def halvings(encoded: bytes, least_side: int) -> int:
    """How often the film can be halved and keeps a shorter side of at least `least_side` pixels; 0 where it cannot.

    Args:
        encoded: one JPEG 2000 codestream, without a JP2 box.
    """
    found = read_main_header(encoded)
    if found is None or found.signed or found.bits > 16:
        return 0
    return max(0, min(found.levels, (min(found.rows, found.columns) // least_side).bit_length() - 1))


def read_main_header(encoded: bytes) -> MainHeader | None:
    """SIZ and COD (ITU T.800 A.5.1, A.6.1); None where they are not as expected."""
    if encoded[:4] != J2K_START:
        return None
    try:
        width, height, left, top = struct.unpack_from(">LLLL", encoded, 8)
        components, depth, across, down = struct.unpack_from(">HBBB", encoded, 40)
        position = next(place for marker, place in main_header(encoded) if marker == COD)
    except (struct.error, StopIteration):
        return None
    levels, reversible = encoded[position + 9], encoded[position + 13] == 1
    if components != 1 or (left, top, across, down) != (0, 0, 1, 1) or levels > 32:
        return None
    return MainHeader(
        rows=height,
        columns=width,
        bits=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        levels=levels,
        reversible=reversible,
    )
