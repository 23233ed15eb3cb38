"""What comes beside the films of a study and can never be one: dose reports, presentation states, CT slices, PDFs.

Each is counted and named. Its bytes pass through, however many there are, unless they are to be kept.
"""

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import cast

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from dicom_gateway.errors import Refusal
from dicom_gateway.part10 import DEFLATED, past_second_meta
from dicom_gateway.peers import Connected
from dicom_gateway.values import UNREADABLE, one_uid, text

LOOK = 64 << 10
"""Bytes at the start of a data set in which its study, series and modality are looked for."""
NAMES = {
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
}
CODE = re.compile(r"[A-Z0-9_ ]{0,16}")
"""A code string (PS3.5 6.2): no room for a name with its caret."""
TAGS = [Tag(name) for name in (*NAMES.values(), "Modality")]


@dataclass(frozen=True, kw_only=True)
class OtherObject:
    """One instance that is no film, on its way to `accept`."""

    sop_class_uid: str
    sop_instance_uid: str
    """As the command says."""
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    """These three "" where a short look does not find them."""
    digest: str
    """SHA-256, hex, of the file that it is in the spool, or would be."""
    size: int
    """Size of this file, bytes."""
    path: Path | None
    """In the spool; None where nothing is kept."""
    calling_ae: str
    called_ae: str
    fresh: bool
    """See `spool.Stored`; False where nothing is kept."""
    sent_by: Connected | None = None
    """As of `Received`."""


@dataclass(frozen=True, kw_only=True)
class Passed:
    """As `spool.Stored`, of what was not stored."""

    digest: str
    size: int
    path: None = None
    fresh: bool = False


class Passing:
    """Stands where `spool.Incoming` does, and keeps nothing."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes | memoryview) -> None:
        self._sha256.update(chunk)
        self._size += len(chunk)

    def commit(self) -> Passed:
        return Passed(digest=self._sha256.hexdigest(), size=self._size)

    def discard(self) -> None:
        """Nothing is there."""


@dataclass(frozen=True, kw_only=True)
class DataSetStart:
    """What the start of a data set says; "" where it does not."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    modality: str = ""


def look(head: bytes, syntax: str) -> DataSetStart:
    """A short look that forgives everything: what it does not understand, it does not find.

    Args:
        head: the first LOOK bytes of a data set, or fewer.
        syntax: its transfer syntax, also one that we do not know.
    """
    try:
        dataset = _read(head, syntax)
        known = {name: one_uid(dataset, keyword) for name, keyword in NAMES.items()}
        modality = text(dataset, "Modality").upper()
        return DataSetStart(**known, modality=modality if CODE.fullmatch(modality) else "")
    except (*UNREADABLE, Refusal, EOFError, struct.error, zlib.error):
        return DataSetStart()


def _read(head: bytes, syntax: str) -> Dataset:
    if syntax in DEFLATED:
        head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, LOOK)
    stream, little = BytesIO(head), syntax != uid.ExplicitVRBigEndian
    past_second_meta(stream, little=little)

    def behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return bool(tag > max(TAGS))

    wanted = cast("list[BaseTag | int]", TAGS)
    return read_dataset(stream, syntax == uid.ImplicitVRLittleEndian, little, stop_when=behind, specific_tags=wanted)
