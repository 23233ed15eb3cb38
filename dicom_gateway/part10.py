"""A bounded walk over a Part 10 file (PS3.10 7): chosen elements, where the pixels lie, and whether the file is whole.

pydicom tokenises; its `stop_when` hook sees every top-level element before its value is read, which is where we check
that the value is really there.
"""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO, cast

from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag

from dicom_gateway.encapsulated import UNDEFINED_LENGTH, walk_items
from dicom_gateway.errors import Malformed, TooDeep, TooLarge, Truncated
from dicom_gateway.inflated import AT_ONCE, InflatedStream, inflated_size

IMPLEMENTATION_CLASS_UID = "2.25.302843957260183674116873480514972603181"
IMPLEMENTATION_VERSION = "XRAYQ_0.1"
TRANSFER_SYNTAX, PIXEL_DATA = 0x00020010, 0x7FE00010
PREAMBLE, PREFIX = 128, b"DICM"
SECOND_METAS = 16
"""Most file meta information that is passed over at the start of a data set."""
DEFLATED = (
    uid.DeflatedExplicitVRLittleEndian,
    "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
    "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
)
HEADER_LIMIT = 64 << 20
"""Most bytes that may stand before Pixel Data; of a deflated data set `inflated.HEAD`."""
VALUE_LIMIT, READ_LIMIT = 2 << 20, 16 << 20
"""Most bytes of a value that is asked for, such as a sequence of look-up tables, and of any other that is read."""
UNCOUNTED = sys.maxsize
READS_LIMIT = 100_000
"""Most reads before the pixels, one or two for each element or item: a million empty items, which are 12 KB when
deflated, took pydicom 16 s and 700 MB. A film has some hundreds of elements."""


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


def scan(
    handle: BinaryIO, keywords: Sequence[str], *, most_inflated: int | None = None, count_inflated: bool = True
) -> Scan:
    """Read the named top-level elements of an open Part 10 file.

    Args:
        most_inflated: largest deflated data set, bytes when inflated; None: any. It is never held as a whole.
        count_inflated: check that a deflated data set is whole. It costs inflating it once more than reading it.

    Raises:
        Truncated: an element, an item or the deflated stream ends after the file does.
        Malformed: no Part 10 header, unknown coding, or bytes that are no data elements.
        TooDeep: sequences nested past the interpreter's stack.
        TooLarge: over one of the limits above before the pixels, or over `most_inflated`.
    """
    syntax = str(at_dataset(handle).TransferSyntaxUID)
    past_second_meta(handle, little=syntax != uid.ExplicitVRBigEndian)
    with AT_ONCE if syntax in DEFLATED else nullcontext():
        if syntax not in DEFLATED:
            return _scan(handle, os.fstat(handle.fileno()).st_size, syntax, keywords)
        start = handle.tell()
        size = inflated_size(handle, start, most_inflated) if count_inflated else UNCOUNTED
        stream = InflatedStream(handle, start, size)
        past_second_meta(cast(BinaryIO, stream), little=True)
        scanned = _scan(cast(BinaryIO, stream), size, syntax, keywords)
        stream.leave_head()
        return scanned


def _scan(stream: BinaryIO, size: int, syntax: str, keywords: Sequence[str]) -> Scan:
    """The data set from here to `size`, where the stream ends; UNCOUNTED where nobody knows."""
    implicit, little = syntax == uid.ImplicitVRLittleEndian, syntax != uid.ExplicitVRBigEndian
    start = stream.tell()
    counted = cast(BinaryIO, Counted(stream, size))
    found: list[PixelLocation] = []
    last_end: int | None = 0  # None: behind a sequence delimiter
    tags = [Tag(cast(int, tag_for_keyword(keyword))) for keyword in keywords]

    def at_element(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal last_end
        offset = stream.tell()
        last_end = None if length == UNDEFINED_LENGTH else offset + length
        if tag == PIXEL_DATA:
            encapsulated = length == UNDEFINED_LENGTH
            end = _end_of_items(counted, offset, size) if encapsulated else offset + length
            if end > size:
                raise Truncated
            found.append(PixelLocation(offset=offset, length=end - offset, encapsulated=encapsulated, vr=vr or "OW"))
            return True
        if length != UNDEFINED_LENGTH and offset + length > size:
            raise Truncated
        if offset - start > HEADER_LIMIT or (length != UNDEFINED_LENGTH and length > VALUE_LIMIT and tag in tags):
            raise TooLarge
        return False

    try:
        dataset = read_dataset(
            counted, implicit, little, stop_when=at_element, specific_tags=cast("list[BaseTag | int]", tags)
        )
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
    if not found and size != UNCOUNTED and not _ends_at(stream, last_end, size, little):
        raise Truncated
    return Scan(
        dataset=dataset,
        transfer_syntax_uid=syntax,
        little_endian=little,
        pixels=found[0] if found else None,
        stream=stream,
    )


def at_dataset(handle: BinaryIO) -> Dataset:
    """The file meta information of an open Part 10 file, which is left at the start of its data set.

    Raises:
        Malformed: there is none, or it names no transfer syntax.

    Its elements rise. One that does not, once the transfer syntax is known, begins another group 0002, which is not
    ours to believe.
    """
    last, known = 0, False
    first = PREAMBLE + len(PREFIX)

    def behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal last, known
        again = tag <= last and handle.tell() > first + 12  # pydicom may ask twice for the first one
        if tag.group != 2 or (again and known):
            return True
        last, known = tag, known or tag == TRANSFER_SYNTAX
        return False

    with _damage_told():
        if read_preamble(handle, force=False) is None:
            raise Malformed
        counted = cast(BinaryIO, Counted(handle))
        meta = read_dataset(counted, False, True, stop_when=behind)
        named = bool(meta.get("TransferSyntaxUID"))
    if not named:
        raise Malformed
    return meta


def past_second_meta(stream: BinaryIO, *, little: bool) -> None:
    """Past each group 0002 at the start of the data set, with or without a preamble: it has no business there.

    What was negotiated, or what the file's own meta information says, stays true. Such elements are explicit VR little
    endian as in a file, or coded as the data set. The bytes of a preamble are anything (PS3.10 7.1).
    """
    for _ in range(SECOND_METAS):
        if not _past_one_meta(stream, little):
            return


def _past_one_meta(stream: BinaryIO, little: bool) -> bool:
    """Whether there was one; where there is none, the stream stays where it is."""
    start = stream.tell()
    head = stream.read(PREAMBLE + len(PREFIX) + 2)
    blank = head.startswith(bytes(PREAMBLE) + PREFIX)
    if head[PREAMBLE:-2] == PREFIX and (blank or _group_2(head[-2:], little)):
        start += PREAMBLE + len(PREFIX)
        head = head[-2:]
    stream.seek(start)
    if not _group_2(head, little):
        return False

    def behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag.group != 2

    with _damage_told():
        read_dataset(cast(BinaryIO, Counted(stream)), False, head.startswith(b"\x02\x00"), stop_when=behind)
    return True


def _group_2(head: bytes, little: bool) -> bool:
    return head.startswith(b"\x02\x00") or (not little and head.startswith(b"\x00\x02"))


class Counted:
    """As much of a file as pydicom reads by.

    Raises TooLarge after READS_LIMIT reads, and for one over READ_LIMIT: Truncated where the file has not so much.
    """

    def __init__(self, stream: BinaryIO, end: int = sys.maxsize) -> None:
        self._stream_read, self.seek, self.tell = stream.read, stream.seek, stream.tell
        self._end, self._left = end, READS_LIMIT

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise TooLarge
        if size > READ_LIMIT:
            raise Truncated if self.tell() + size > self._end else TooLarge
        return self._stream_read(size)


@contextmanager
def _damage_told() -> Iterator[None]:
    """What pydicom raises for bytes that are no data elements, as Malformed or TooDeep."""
    try:
        yield
    except RecursionError:
        raise TooDeep from None
    except (
        InvalidDicomError, ValueError, TypeError, LookupError, EOFError, struct.error, AttributeError,
        NotImplementedError, OSError, BytesLengthException,
    ) as error:  # fmt: skip
        if getattr(error, "errno", None) is not None:
            raise
        raise Malformed from None


def _ends_at(stream: BinaryIO, last_end: int | None, size: int, little: bool) -> bool:
    """Whether the last element ends with the file. pydicom only warns of a value without its delimiter."""
    if last_end is not None:
        return last_end >= size
    stream.seek(max(size - 8, 0))
    return stream.read(8) == struct.pack("<HHL" if little else ">HHL", 0xFFFE, 0xE0DD, 0)


def _end_of_items(stream: BinaryIO, offset: int, size: int) -> int:
    """Offset after the sequence delimiter of encapsulated pixels (PS3.5 A.4)."""
    for _ in walk_items(stream, offset, size):
        pass
    end = stream.tell()
    stream.seek(offset)
    return end
