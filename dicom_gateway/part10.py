"""A bounded walk over a Part 10 file (PS3.10 7): chosen elements, where the pixels lie, and whether the file is whole.

pydicom tokenises; its `stop_when` hook sees every top-level element before its value is read, which is where we check
that the value is really there.
"""

import io
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag

from dicom_gateway.errors import Malformed, TooDeep, TooLarge, Truncated

IMPLEMENTATION_CLASS_UID = "2.25.302843957260183674116873480514972603181"
IMPLEMENTATION_VERSION = "XRAYQ_0.1"
PIXEL_DATA = 0x7FE00010
UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM, SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE0DD
DEFLATED_LIMIT = 1 << 30
"""Largest data set we inflate, bytes."""
HEADER_LIMIT = 64 << 20
"""Most bytes that may stand before Pixel Data."""


@dataclass(frozen=True, kw_only=True)
class PixelLocation:
    """Where the value of Pixel Data (7FE0,0010) lies in `stream`."""

    offset: int
    length: int
    """Bytes of the value; for encapsulated pixels up to and with the sequence delimiter."""
    encapsulated: bool
    vr: str


@dataclass(frozen=True, kw_only=True)
class Scan:
    dataset: Dataset
    """The elements asked for, those that were there."""
    transfer_syntax_uid: str
    little_endian: bool
    pixels: PixelLocation | None
    stream: BinaryIO
    """What the offsets count in: the file itself, or the inflated data set."""


def encode_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information (PS3.10 7.1).

    A function of its arguments and our version: no time, no AE title.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = uid.UID(sop_instance_uid)
    meta.TransferSyntaxUID = uid.UID(transfer_syntax_uid)
    meta.ImplementationClassUID = uid.UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(buffer.getvalue())


def scan(handle: BinaryIO, keywords: Sequence[str]) -> Scan:
    """Read the named top-level elements of an open Part 10 file.

    Raises:
        Truncated: an element, an item or the deflated stream ends after the file does.
        Malformed: no Part 10 header, unknown coding, or bytes that are no data elements.
        TooDeep: sequences nested past the interpreter's stack.
        TooLarge: over HEADER_LIMIT before the pixels, or over DEFLATED_LIMIT when inflated.
    """
    syntax = _read_meta(handle)
    stream: BinaryIO = handle
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        stream = _inflate(handle)
        size = len(cast(io.BytesIO, stream).getbuffer())
    else:
        size = os.fstat(handle.fileno()).st_size
    implicit, little = syntax == uid.ImplicitVRLittleEndian, syntax != uid.ExplicitVRBigEndian
    start = stream.tell()
    found: list[PixelLocation] = []
    last_end: int | None = 0  # None: behind a sequence delimiter

    def at_element(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal last_end
        offset = stream.tell()
        last_end = None if length == UNDEFINED_LENGTH else offset + length
        if tag == PIXEL_DATA:
            encapsulated = length == UNDEFINED_LENGTH
            end = _end_of_items(stream, offset, size) if encapsulated else offset + length
            if end > size:
                raise Truncated
            found.append(PixelLocation(offset=offset, length=end - offset, encapsulated=encapsulated, vr=vr or "OW"))
            return True
        if length != UNDEFINED_LENGTH and offset + length > size:
            raise Truncated
        if offset - start > HEADER_LIMIT:
            raise TooLarge
        return False

    tags = cast("list[BaseTag | int]", [Tag(cast(int, tag_for_keyword(keyword))) for keyword in keywords])
    try:
        dataset = read_dataset(stream, implicit, little, stop_when=at_element, specific_tags=tags)
    except RecursionError:
        raise TooDeep from None
    except EOFError:
        raise Truncated from None
    except OSError as error:
        if error.errno is None:  # pydicom's own, for a sequence that ends after the file does
            raise Truncated from None
        raise
    except (ValueError, TypeError, LookupError, struct.error, AttributeError, OverflowError, NotImplementedError):
        raise Malformed from None  # the original text may quote patient data
    if not found and not _ends_at(stream, last_end, size, little):
        raise Truncated
    return Scan(
        dataset=dataset,
        transfer_syntax_uid=syntax,
        little_endian=little,
        pixels=found[0] if found else None,
        stream=stream,
    )


def dataset_offset(handle: BinaryIO) -> int:
    """Where the data set begins in an open Part 10 file. Raises Malformed."""
    _read_meta(handle)
    return handle.tell()


def _read_meta(handle: BinaryIO) -> str:
    """Transfer syntax of the file meta information; leaves `handle` at the data set."""
    try:
        if read_preamble(handle, force=False) is None:
            raise Malformed

        def past_group_two(tag: BaseTag, _vr: str | None, _length: int) -> bool:
            return tag.group != 2

        meta = read_dataset(handle, False, True, stop_when=past_group_two)
        syntax: Any = meta.get("TransferSyntaxUID")
    except RecursionError:
        raise TooDeep from None
    except (
        InvalidDicomError, ValueError, TypeError, LookupError, EOFError, struct.error, AttributeError,
        NotImplementedError, OSError,
    ) as error:  # fmt: skip
        if getattr(error, "errno", None) is not None:
            raise
        raise Malformed from None
    if not syntax:
        raise Malformed
    return str(syntax)


def _inflate(handle: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(handle.read(), DEFLATED_LIMIT)
    except zlib.error:
        raise Malformed from None
    if inflater.unconsumed_tail:
        raise TooLarge
    if not inflater.eof:
        raise Truncated
    return io.BytesIO(plain)


def _ends_at(stream: BinaryIO, last_end: int | None, size: int, little: bool) -> bool:
    """Whether the last element ends with the file. pydicom only warns of a value without its delimiter."""
    if last_end is not None:
        return last_end >= size
    stream.seek(max(size - 8, 0))
    return stream.read(8) == struct.pack("<HHL" if little else ">HHL", 0xFFFE, 0xE0DD, 0)


def _end_of_items(stream: BinaryIO, offset: int, size: int) -> int:
    """Offset after the sequence delimiter of encapsulated pixels (PS3.5 A.4), without reading the items' values."""
    position, odd = offset, 0
    while position + 8 <= size:
        stream.seek(position)
        group, element, length = struct.unpack("<HHL", stream.read(8))
        tag = group << 16 | element
        if tag == SEQUENCE_DELIMITER:
            stream.seek(offset)
            return position + 8
        if tag != ITEM or length == UNDEFINED_LENGTH:
            if not odd:
                raise Malformed
            position, odd = position + 1, 0  # an odd length that does not count the byte of padding behind it
            continue
        position, odd = position + 8 + length, length % 2
    raise Truncated
