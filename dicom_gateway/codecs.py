"""One compressed frame to pixels, for each coding of PS3.5 section 8.2.

Decoders rather show something than nothing: most go on with a guess where the stream is damaged. Here each of them is
listened to, and what it does not check is checked beside it. A picture that is not the one that was sent is worse than
none.
"""

from collections.abc import Callable

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from rle.utils import decode_frame as decode_rle_frame

from dicom_gateway import openjpeg
from dicom_gateway.codestream import (
    J2K_START,
    LOSSLESS_JPEG,
    Codestream,
    has_a_hole,
    read_codestream,
    with_holes_filled,
    without_padding,
)
from dicom_gateway.errors import CodestreamMismatch, CorruptPixels, UnsupportedSyntax
from dicom_gateway.huffman import check_entropy
from dicom_gateway.listening import refusing_complaints
from dicom_gateway.reduced import halvings, read_main_header
from dicom_gateway.rle_segments import check_segments
from dicom_gateway.seams import check_corner, check_seams

Frame = NDArray[np.generic]


def decode_rle(encoded: bytes, rows: int, columns: int, bits_allocated: int) -> Frame:
    """Pixel cells [rows, columns] of an RLE frame (PS3.5 Annex G). Raises CorruptPixels."""
    check_segments(encoded, bits_allocated // 8, rows * columns)
    with refusing_complaints():
        flat = decode_rle_frame(encoded, rows * columns, bits_allocated, "<")
    return np.frombuffer(flat, f"<u{bits_allocated // 8}").reshape(rows, columns)


def decode_codestream(
    codec: str, encoded: bytes, rows: int, columns: int, least_side: int | None = None
) -> tuple[Frame, Codestream]:
    """Decode one grayscale frame.

    Args:
        codec: jpeg, jpegls, jpeg2k or htj2k, as in `contexts.TRANSFER_SYNTAXES`.
        encoded: the frame's fragments, joined.
        rows, columns: size that the header promises.
        least_side: JPEG 2000 may come at a lower resolution, its shorter side at least this long; None: in full.

    Returns:
        Samples [rows, columns] of the decoder's own integer type, and what the codestream says of them.

    Raises:
        CodestreamMismatch: the codestream is of another size or has several components.
        CorruptPixels: cut short, damaged, or the decoder refuses it.
        UnsupportedSyntax: no such codec.
    """
    if codec not in DECODERS:
        raise UnsupportedSyntax
    found = read_codestream(codec, encoded)
    if (found.rows, found.columns, found.components) != (rows, columns, 1):
        raise CodestreamMismatch
    encoded = without_padding(encoded)
    if codec in ("jpeg2k", "htj2k"):
        encoded = encoded[encoded.index(J2K_START) :]  # a JP2 box says nothing that the film's header does not
    halved = halvings(encoded, least_side) if codec == "jpeg2k" and least_side and openjpeg.library() else 0
    frame = openjpeg.decode(encoded, halved) if halved else DECODERS[codec](encoded, found)
    if frame.shape != (-(-rows >> halved), -(-columns >> halved)):  # halving rounds up (ITU T.800 B.5)
        raise CodestreamMismatch
    return frame, found


def _decode_jpeg(encoded: bytes, found: Codestream) -> Frame:
    data = check_entropy(encoded)
    with refusing_complaints():
        frame = np.asarray(imagecodecs.jpeg8_decode(encoded))
    if int(frame.max()) >> found.bits:  # lossless: a damaged difference leads out of the range
        raise CorruptPixels
    if found.process != LOSSLESS_JPEG:
        check_seams(frame)
    elif data and data.predictor == THREE_NEIGHBOURS:
        check_corner(frame)
    return frame


def _decode_jpegls(encoded: bytes, _found: Codestream) -> Frame:
    if has_a_hole(encoded):
        raise CorruptPixels
    with refusing_complaints():
        return np.asarray(imagecodecs.jpegls_decode(encoded))


def _decode_jpeg2k(encoded: bytes, _found: Codestream) -> Frame:
    if openjpeg.library():
        return openjpeg.decode(encoded)
    with refusing_complaints():
        return np.asarray(imagecodecs.jpeg2k_decode(encoded, verbose=2))


def _decode_htj2k(encoded: bytes, _found: Codestream) -> Frame:
    frame, header = _openjph(encoded), read_main_header(encoded)
    if header and not header.reversible:
        filled = with_holes_filled(encoded)
        if filled != encoded and not np.array_equal(frame, _openjph(filled)):
            raise CorruptPixels
    if openjpeg.library() is None:
        return frame
    second = openjpeg.decode(encoded)
    # What damage leads out of the range, OpenJPH wraps round and OpenJPEG cuts off. A lossy coder overshoots by itself.
    if header and header.reversible and not np.array_equal(frame, second):
        raise CorruptPixels
    return second


def _openjph(encoded: bytes) -> Frame:
    with refusing_complaints():
        return np.asarray(imagecodecs.htj2k_decode(encoded))


THREE_NEIGHBOURS = 4
DECODERS: dict[str, Callable[[bytes, Codestream], Frame]] = {
    "jpeg": _decode_jpeg,
    "jpegls": _decode_jpegls,
    "jpeg2k": _decode_jpeg2k,
    "htj2k": _decode_htj2k,
}
