"""Is a film that arrives again under its SOP Instance UID the same film, of the same patient and study?

Values are compared, not their coding: the same film in Implicit, Explicit or Big Endian VR is the same.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.encapsulated import walk_items
from dicom_gateway.errors import Refusal
from dicom_gateway.header import IDENTIFYING_TAGS, IMAGE_TAGS, KIND_TAGS, age, derived
from dicom_gateway.part10 import PixelLocation, Scan, scan
from dicom_gateway.values import UNREADABLE, integer

IDENTITY_TAGS = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "ViewCodeSequence",
)
"""Whose film it is, in which study, of which side."""
DEMOGRAPHIC_TAGS = ("PatientName", "PatientSex")
"""May be corrected while the patient stays the same. Without a Patient ID they are all that says who it is."""
CONTENT_TAGS = tuple(
    dict.fromkeys(tag for tag in (*IMAGE_TAGS, *IDENTIFYING_TAGS) if tag not in (*IDENTITY_TAGS, "SOPInstanceUID"))
)
"""What the film is shown with, and what decides whether it is scored: all else that is read of a header."""
ALL_TAGS = (*IDENTITY_TAGS, *DEMOGRAPHIC_TAGS, *CONTENT_TAGS)
PARTS_OF_ITEMS = (
    "LUTDescriptor",
    "LUTData",
    "CodeValue",
    "CodingSchemeDesignator",
    "LongCodeValue",
    "URNCodeValue",
    "ViewModifierCodeSequence",
)
"""Of a sequence's items. What explains a table or a code does not matter."""
NUMBERS = ("DS", "IS", "FL", "FD", "SL", "UL", "AT")
BIT_PATTERNS = ("US", "SS", "US or SS", "US or SS or OW", "US or OW", "OW")
"""The same 16 bits are signed in one coding and unsigned in another."""
UNKNOWN, PIXELS, SYNTAX, AGE, DERIVED = "unknown", "pixels", "transfer_syntax", "age", "derived"
"""What differs where no one attribute says so."""
IN_WORDS = {
    UNKNOWN: "not known, for the earlier film could not be read",
    PIXELS: "the pixels",
    SYNTAX: "the transfer syntax",
    AGE: "the age at the film",
    DERIVED: "what was made of the film",
}
CHUNK = 1 << 20

AttributeValue = str | int | tuple["AttributeValue", ...] | None
"""None where an element cannot be read: it is like no other."""


@dataclass(frozen=True, kw_only=True)
class FilmContent:
    """What two films are compared by."""

    values: dict[str, AttributeValue]
    kind: tuple[float | None, str]
    """Age at the film, and what was made of it: of the many attributes that say so, only what they come to counts."""
    lossless: bool
    coding: str
    """"raw" for native pixels, else the codec; with the shape of their encapsulation."""
    pixels: str
    """SHA-256 of the coded pixels, hex: native ones as little endian samples, others without their offset table."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a film that came again is."""

    same: bool
    """Nothing of it is new but, at most, the patient's demographics."""
    identity_changed: tuple[str, ...] = ()
    """Keywords of IDENTITY_TAGS that differ; UNKNOWN alone where the earlier film could not be read."""
    demographics_changed: tuple[str, ...] = ()
    """Keywords of DEMOGRAPHIC_TAGS that differ, while the Patient ID is the same."""
    changed: tuple[str, ...] = field(default=(), compare=False)
    """All that makes it another film: keywords of attributes, or a key of IN_WORDS."""


def compare(
    earlier: Path, later: Path, same_picture: Callable[[Path, Path], bool], *, can_wait: bool = False
) -> Comparison:
    """Compare a film with the one that came before it.

    A file that is gone or unreadable is never the same: a film is scored once too often rather than once too seldom.

    Args:
        same_picture: decodes both files; asked only where all else is the same, and both are coded without loss in
            different ways.
        can_wait: raise OSError where a file is there and cannot be read, for somebody who can try again elsewhere.
    """
    try:
        first, second = read_film(earlier), read_film(later)
    except (OSError, Refusal, struct.error, *UNREADABLE) as error:
        if can_wait and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        return Comparison(same=False, identity_changed=(UNKNOWN,), changed=(UNKNOWN,))
    identity, demographics = _differ(first, second, IDENTITY_TAGS), _differ(first, second, DEMOGRAPHIC_TAGS)
    if demographics and not (first.values["PatientID"] and second.values["PatientID"]):
        identity, demographics = (*identity, *demographics), ()
    changed = (*identity, *_differ(first, second, CONTENT_TAGS), *_kind_differs(first, second))
    pixels = _pixels_differ(first, second)
    if changed:
        changed += pixels
    elif pixels:
        recoded = first.lossless and second.lossless and not first.coding == second.coding == "raw"
        changed = () if recoded and same_picture(earlier, later) else pixels
    return Comparison(same=not changed, identity_changed=identity, demographics_changed=demographics, changed=changed)


def read_film(path: Path) -> FilmContent:
    """Read a Part 10 file without decoding its pixels. Raises Refusal or OSError."""
    with path.open("rb") as handle:
        # A deflated film was counted at the door.
        scanned = scan(handle, tuple(dict.fromkeys((*ALL_TAGS, *KIND_TAGS))), count_inflated=False)
        syntax = SYNTAX_BY_UID.get(scanned.transfer_syntax_uid)
        coding = syntax.codec if syntax else scanned.transfer_syntax_uid
        if scanned.pixels is None:
            coding += " without pixels"
        elif scanned.pixels.encapsulated != (coding != "raw"):
            coding += " encapsulated" if scanned.pixels.encapsulated else " native"
        return FilmContent(
            values={keyword: _value(scanned.dataset, keyword, scanned.little_endian) for keyword in ALL_TAGS},
            kind=(age(scanned.dataset, date.max), derived(scanned.dataset)),
            lossless=bool(syntax and not syntax.lossy),
            coding=coding,
            pixels=_digest(scanned),
        )


def spoken(keywords: Iterable[str]) -> str:
    """Changed attributes by their names in the standard."""
    return ", ".join(IN_WORDS.get(keyword) or dictionary_description(keyword) for keyword in keywords)


def _differ(first: FilmContent, second: FilmContent, keywords: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        keyword
        for keyword in keywords
        if first.values[keyword] is None or first.values[keyword] != second.values[keyword]
    )


def _kind_differs(first: FilmContent, second: FilmContent) -> tuple[str, ...]:
    """The age alone where dates say it; Patient's Age differs itself."""
    age_at_film = first.kind[0] != second.kind[0] and not _differ(first, second, ("PatientAge",))
    return (*((AGE,) if age_at_film else ()), *((DERIVED,) if first.kind[1] != second.kind[1] else ()))


def _pixels_differ(first: FilmContent, second: FilmContent) -> tuple[str, ...]:
    """Of two codings nobody knows it before they are decoded: then the coding is what differs."""
    if first.coding != second.coding:
        return (SYNTAX,)
    return (PIXELS,) if first.pixels != second.pixels else ()


def _value(dataset: Dataset, keyword: str, little_endian: bool) -> AttributeValue:
    """An element's whole value in one form for every coding; "" when it is missing or empty."""
    try:
        if keyword not in dataset:
            return ""
        element = dataset[keyword]
        value, vr = element.value, element.VR
        if isinstance(value, Sequence):
            return tuple(_item(item, little_endian) for item in value) or ""
        if isinstance(value, bytes):
            padded = value + bytes(len(value) % 2)
            return tuple(np.frombuffer(padded, "<u2" if little_endian else ">u2").tolist()) or ""
        if vr in BIT_PATTERNS and value not in (None, ""):
            return tuple((np.atleast_1d(np.asarray(value, np.int64)) % (1 << 16)).tolist())
        if vr in NUMBERS and value not in (None, ""):
            return tuple(map(_number, value if isinstance(value, MultiValue) else [value]))
        return _text(value, vr)
    except UNREADABLE:
        return _raw(dataset, keyword)


def _item(item: Dataset, little_endian: bool) -> AttributeValue:
    values = tuple(_value(item, keyword, little_endian) for keyword in PARTS_OF_ITEMS)
    if None in values:
        raise ValueError  # the whole sequence cannot be read
    return values


def _text(value: Any, vr: str) -> str:
    """Padding, and case where the standard has none (CS), make no difference (PS3.5 6.2)."""
    if value is None:
        return ""
    parts = [str(part).strip(" \0") for part in (value if isinstance(value, MultiValue) else [value])]
    if vr == "PN":
        parts = [part.rstrip("^= ") for part in parts]
    if vr == "DA":  # YYYY.MM.DD is the retired form
        parts = [part.replace(".", "").replace("-", "") for part in parts]
    joined = "\\".join(parts).rstrip("\\")
    return joined.upper() if vr == "CS" else joined


def _number(value: Any) -> str:
    try:
        return repr(float(value))
    except ValueError:
        return str(value).strip(" \0")


def _raw(dataset: Dataset, keyword: str) -> AttributeValue:
    """The bytes of a value that makes no sense, so that it is at least like itself."""
    value = getattr(dataset.get_item(keyword), "value", None)
    return f"bytes {value.strip(bytes(1) + b' ').hex()}" if isinstance(value, bytes) else None


def _digest(scanned: Scan) -> str:
    digest = hashlib.sha256()
    if scanned.pixels:
        pieces = _fragments if scanned.pixels.encapsulated else _samples
        for piece in pieces(scanned, scanned.pixels):
            digest.update(piece)
    return digest.hexdigest()


def _fragments(scanned: Scan, where: PixelLocation) -> Iterator[bytes]:
    """Encapsulated pixels (PS3.5 A.4): their fragments as one stream, without the offset table."""
    table_first = walk_items(scanned.stream, where.offset, where.offset + where.length)
    for offset, length in islice(table_first, 1, None):
        scanned.stream.seek(offset)
        yield from _read(scanned, length)


def _samples(scanned: Scan, where: PixelLocation) -> Iterator[bytes]:
    """Native pixels in little endian, without what stands behind the last one."""
    dataset = scanned.dataset
    allocated = integer(dataset, "BitsAllocated") or 16
    numbers = [max(integer(dataset, name) or 1, 1) for name in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")]
    count = numbers[0] * numbers[1] * numbers[2] * numbers[3]
    # PS3.5 A.3: two bytes of OW change places in big endian, also where they are two samples of 8 bits.
    swap = 0 if scanned.little_endian else max(allocated // 8, 2 if where.vr == "OW" else 1)
    held = min(count * allocated // 8, where.length)
    scanned.stream.seek(where.offset)
    if swap not in (2, 4):
        yield from _read(scanned, held)
        return
    left = held
    for piece in _read(scanned, min(-(-held // swap) * swap, where.length)):
        swapped = np.frombuffer(piece[: len(piece) // swap * swap], f"u{swap}").byteswap().tobytes()
        yield swapped[:left]
        left -= len(swapped[:left])


def _read(scanned: Scan, length: int) -> Iterator[bytes]:
    while length and (piece := scanned.stream.read(min(CHUNK, length))):
        yield piece
        length -= len(piece)
