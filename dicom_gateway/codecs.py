"""One compressed frame to pixels, for each coding of PS3.5 section 8.2.

Decoders allocate what a codestream's own header asks for before they look at the rest, and some return a picture from
half a stream. So the size marker and the end marker are checked first.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from rle.utils import decode_frame as decode_rle_frame

from dicom_gateway.errors import CodestreamMismatch, CorruptPixels, UnsupportedSyntax
from dicom_gateway.reduced import START as J2K_START
from dicom_gateway.reduced import decode_reduced

Frame = NDArray[np.generic]

SOF_MARKERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # baseline, extended, progressive, lossless (ITU T.81), JPEG-LS (T.87)
END_MARKER = b"\xff\xd9"  # EOI, and EOC


@dataclass(frozen=True, kw_only=True)
class FrameSize:
    """What a frame must decode to, from the header or from its own codestream."""

    rows: int
    columns: int
    components: int = 1


def decode_frame(
    codec: str, encoded: bytes, expected: FrameSize, bits_allocated: int, least_side: int | None = None
) -> Frame:
    """Decode one grayscale frame.

    Args:
        codec: rle, jpeg, jpegls, jpeg2k or htj2k, as in `contexts.TRANSFER_SYNTAXES`.
        encoded: the frame's fragments, joined.
        expected: size that the header promises.
        bits_allocated: 8 or 16; only RLE needs it.
        least_side: JPEG 2000 may come at a lower resolution, its shorter side at least this long; None: in full.

    Returns:
        [rows, columns] of the decoder's own integer type.

    Raises:
        CodestreamMismatch: the codestream is of another size or has several components.
        CorruptPixels: cut short, or the decoder refuses it.
        UnsupportedSyntax: no such codec.
    """
    if codec not in DECODERS:
        raise UnsupportedSyntax
    if codec != "rle":
        actual = _j2k_size(encoded) if codec in ("jpeg2k", "htj2k") else _jpeg_size(encoded)
        if actual != expected:
            raise CodestreamMismatch
        if END_MARKER not in encoded[-16:]:
            raise CorruptPixels
    if codec == "jpeg2k" and least_side and (reduced := decode_reduced(encoded, least_side)) is not None:
        return reduced
    try:
        frame = DECODERS[codec](encoded, expected, bits_allocated)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - pylibjpeg-rle panics with a BaseException; all mean the same here
        raise CorruptPixels(type(error).__name__) from None
    if frame.shape != (expected.rows, expected.columns):
        raise CodestreamMismatch
    return frame


def _decode_rle(encoded: bytes, size: FrameSize, bits_allocated: int) -> Frame:
    flat = decode_rle_frame(encoded, size.rows * size.columns, bits_allocated, "<")
    return np.frombuffer(flat, f"<u{bits_allocated // 8}").reshape(size.rows, size.columns)


def _decode_jpeg(encoded: bytes, _size: FrameSize, _bits: int) -> Frame:
    return np.asarray(imagecodecs.jpeg8_decode(encoded))


def _decode_jpegls(encoded: bytes, _size: FrameSize, _bits: int) -> Frame:
    return np.asarray(imagecodecs.jpegls_decode(encoded))


def _decode_jpeg2k(encoded: bytes, _size: FrameSize, _bits: int) -> Frame:
    return np.asarray(imagecodecs.jpeg2k_decode(encoded))


def _decode_htj2k(encoded: bytes, _size: FrameSize, _bits: int) -> Frame:
    return np.asarray(imagecodecs.htj2k_decode(encoded[max(encoded.find(J2K_START), 0) :]))


DECODERS: dict[str, Callable[[bytes, FrameSize, int], Frame]] = {
    "rle": _decode_rle,
    "jpeg": _decode_jpeg,
    "jpegls": _decode_jpegls,
    "jpeg2k": _decode_jpeg2k,
    "htj2k": _decode_htj2k,
}


def _jpeg_size(encoded: bytes) -> FrameSize:
    """The frame header's size (ITU T.81 B.2.2)."""
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
            rows, columns, components = struct.unpack_from(">HHB", encoded, position + 5)
            return FrameSize(rows=rows, columns=columns, components=components)
        position += 2 + struct.unpack_from(">H", encoded, position + 2)[0]
    raise CorruptPixels


def _j2k_size(encoded: bytes) -> FrameSize:
    """The SIZ marker's size (ITU T.800 A.5.1), also inside a JP2 box as some archives send it."""
    start = encoded.find(J2K_START, 0, 4096)
    if start < 0 or start + 44 > len(encoded):
        raise CorruptPixels
    width, height, left, top = struct.unpack_from(">LLLL", encoded, start + 8)
    (components,) = struct.unpack_from(">H", encoded, start + 40)
    return FrameSize(rows=height - top, columns=width - left, components=components)
