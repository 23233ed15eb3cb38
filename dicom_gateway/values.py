"""Numbers, text and UIDs as vendors write them.

A DS or IS value (PS3.5 6.2) is text, and real ones carry decimal commas, NULs, units and empty components; other
writers put a binary value or another VR there. So numbers are read from an element's own bytes, each component for
itself, and one that says no single number is None. Text is read through pydicom, which knows character sets; what
cannot be read is "".
"""

import re
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue

BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "UV": "u8", "SV": "i8", "FL": "f4", "FD": "f8"}
EITHER = ("US or SS", "US or OW", "US or SS or OW", "OW")
"""VRs that leave open whether 16 bits have a sign; read as unsigned here, see `as_stored`."""
LARGEST = 1e12
"""No attribute of a film has a larger value that means anything."""
MOST_TEXT = 1 << 16
"""Bytes of an element that are read; no attribute of a film needs more."""
NUMBER = re.compile(r"([+-]?)(\d[\d.,]*|[.,]\d+)(?:[eEdD]([+-]?\d{1,3}))?")
PLAIN = re.compile(r"\d*[.,]?\d*")
GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+\.\d*|[1-9]\d{0,2}(?:\.\d{3})+,\d*")
"""1,234.5 or 1.234,5: the first sign groups, the last one is the point."""
# What pydicom raises when it converts a value at its first use; OSError is its own, for a sequence that is cut short.
UNREADABLE = (
    BytesLengthException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    OSError,
    RecursionError,
)
MOST_VALUES = 16
"""So many values or items of one attribute are looked at."""
MOST_CHARACTERS = 1024
"""Longest text that is kept of a value: as much as ST holds (PS3.5 6.2)."""
UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)*")


def parsed(component: str) -> float | None:
    """One component of a DS or IS value. A comma is a point, and a unit behind the number is no part of it.

    DS has no sign for thousands: 1,234 is one and a bit, as 128,000 is 128. None for no number, or for one that may be
    two: 2047.5.1, 12 34.
    """
    text = component.replace("\0", " ").strip()
    match = NUMBER.match(text)
    if match is None or re.search(r"^\s*[.,+-]|\d", text[match.end() :]):
        return None
    sign, digits, exponent = match.groups()
    if GROUPED.fullmatch(digits):
        digits = digits.replace("," if digits.rfind(".") > digits.rfind(",") else ".", "")
    if not PLAIN.fullmatch(digits):
        return None
    value = float(f"{sign}{digits.replace(',', '.')}e{exponent or 0}")
    return value if isfinite(value) and abs(value) <= LARGEST else None


def numbers(dataset: Dataset, keyword: str) -> tuple[float | None, ...]:
    """Every component as a number or None; () where the element is missing or empty."""
    content, vr = raw_value(dataset, keyword)
    if content is None:
        return ()
    if isinstance(content, bytes) and vr in BINARY:
        kind = np.dtype(BINARY[vr]).newbyteorder("<" if is_little_endian(dataset, keyword) else ">")
        if len(content) % kind.itemsize:
            return (None,)
        values: NDArray[np.generic] = np.frombuffer(content, kind)
        return tuple(value if isfinite(value) and abs(value) <= LARGEST else None for value in values.tolist())
    text = content[:MOST_TEXT].decode("ascii", "replace") if isinstance(content, bytes) else content
    return tuple(map(parsed, text.split("\\"))) if text.replace("\0", " ").strip() else ()


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first component as a finite number, None when missing or not one."""
    return next(iter(numbers(dataset, keyword)), None)


def integer(dataset: Dataset, keyword: str) -> int | None:
    value = number(dataset, keyword)
    return None if value is None else int(value)


def is_present(dataset: Dataset, keyword: str) -> bool:
    """Whether the element has a value, readable or not."""
    return bool(numbers(dataset, keyword))


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as stripped printable text, "" when missing or unreadable; at most MOST_CHARACTERS."""
    return next(iter(texts(dataset, keyword)), "")


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Every value as in `text`, the empty ones too."""
    try:
        value = dataset.get(keyword)
        several = isinstance(value, (list, tuple)) or hasattr(value, "append")
        found = list(value)[:MOST_VALUES] if several else [value]
    except UNREADABLE:
        return []
    return [_plain(entry) for entry in found]


def one_uid(dataset: Dataset, keyword: str) -> str:
    """The valid UID that is an element's only value, else "": one that is too long is none, and not cut."""
    found = {value for value in texts(dataset, keyword) if value}
    return next((uid for uid in found if len(found) == 1 and is_valid_uid(uid)), "")


def is_valid_uid(uid: str) -> bool:
    """PS3.5 9.1: digits and dots, at most 64 characters. Leading zeros are tolerated, as archives do."""
    return len(uid) <= 64 and UID_PATTERN.fullmatch(uid) is not None


def _plain(value: object) -> str:
    """Text without control characters, "" for a nested data set."""
    if isinstance(value, bytes):  # of a binary VR
        value = value[:MOST_TEXT].decode("ascii", "replace")
    shown = "" if value is None or isinstance(value, Dataset) else str(value)
    if not shown.isprintable():
        shown = "".join(character if character.isprintable() else " " * character.isspace() for character in shown)
    return shown.strip()[:MOST_CHARACTERS]


def raw_value(dataset: Dataset, keyword: str) -> tuple[bytes | str | None, str]:
    """An element's value as it stands in the file, and its VR; as text where pydicom has read it already."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return None, ""
    element: Any = dataset.get_item(tag)
    known = dictionary_VR(tag)
    if not isinstance(element, RawDataElement):
        value = element.value
        parts = value if isinstance(value, (list, tuple, MultiValue)) else [value]
        if isinstance(value, bytes):
            return value, "US" if element.VR in EITHER else element.VR
        return None if value is None else "\\".join(map(str, parts)), element.VR
    vr = known if element.VR in (None, "UN") else str(element.VR)
    return element.value, "US" if vr in EITHER else vr


def is_little_endian(dataset: Dataset, keyword: str) -> bool:
    element = dataset.get_item(tag_for_keyword(keyword) or 0)
    return element.is_little_endian if isinstance(element, RawDataElement) else True


def as_stored(value: int, *, signed: bool, bits: int) -> int | None:
    """16 bits of either sign as a stored value: compared as bit patterns (PS3.3 C.7.5.1.1.2).

    Writers give Pixel Padding Value the VR that Pixel Representation does not ask for, or only the bits that are
    stored. None for a value that no pixel can have.
    """
    pattern = value & 0xFFFF
    if not signed:
        return pattern if pattern < 1 << bits else None
    half = 1 << (bits - 1)
    extended = pattern - 0x10000 if pattern & 0x8000 else pattern
    if -half <= extended < half:
        return extended
    return pattern - 2 * half if half <= pattern < 2 * half else None
