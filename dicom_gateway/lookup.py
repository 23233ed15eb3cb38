"""Look-up tables of Modality LUT and VOI LUT sequences (PS3.3 C.11.1.1 and C.11.2.1.1), as they are in real films."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway import notes as noted
from dicom_gateway.stored import Pixels
from dicom_gateway.values import UNREADABLE, is_little_endian, numbers, raw_value

USUAL_BITS = (8, 10, 12)
"""Bits that the tables of some devices have, though they are declared as 16."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that can be used."""

    first: int
    """The value that the first entry is for."""
    entries: NDArray[np.uint16]
    bits: int
    """Bits of the output: black is 0, white 2^bits - 1."""
    declared: int
    """The same as its descriptor says."""

    @property
    def highest(self) -> float:
        return float((1 << self.bits) - 1)

    @property
    def falls(self) -> bool:
        """Whether it turns black and white."""
        return bool(self.entries[0] > self.entries[-1])

    @property
    def told_apart(self) -> tuple[float, float]:
        """The values between its flat ends: all that it does not show as the first entry or as the last."""
        between = np.flatnonzero((self.entries != self.entries[0]) & (self.entries != self.entries[-1]))
        if not len(between):
            between = np.flatnonzero(self.entries[1:] != self.entries[:-1])
        return float(self.first + max(between[0] - 1, 0)), float(
            self.first + min(between[-1] + 1, len(self.entries) - 1)
        )

    def apply(self, values: Pixels) -> Pixels:
        last = len(self.entries) - 1
        whole = np.rint(values.astype(np.float64)) if values.dtype.kind == "f" else values.astype(np.int32)
        return np.asarray(self.entries[np.clip(whole - self.first, 0, last).astype(np.int32)])


def first_table(dataset: Dataset, keyword: str, least: float, note: str, notes: list[str]) -> Table | None:
    """The sequence's first table that can be used."""
    try:
        items = list(dataset.get(keyword) or ())
    except UNREADABLE:
        items = [Dataset()]
    for item in items:
        table = table_of(item, least)
        if table is not None:
            if note == noted.VOI_LUT and table.bits != table.declared:
                notes.append(noted.VOI_LUT_BITS)
            return table
        notes.append(note)
    return None


def table_of(item: Dataset, least: float) -> Table | None:
    """One item of a sequence; None where it is no table: a part missing, fewer entries than it says, 0 or over 16 bits,
    all entries the same.

    Args:
        least: smallest value that may be looked up. The first entry's value has 16 bits, and has a sign only if this
            is negative, whatever its VR.
    """
    descriptor = numbers(item, "LUTDescriptor")
    content, _ = raw_value(item, "LUTData")
    if len(descriptor) != 3 or None in descriptor or not content:
        return None
    count, first, declared = (int(value or 0) & 0xFFFF for value in descriptor)
    count = count or 1 << 16
    if not 1 <= declared <= 16:
        return None
    entries = _entries(content, count, is_little_endian(item, "LUTData"))
    if entries is None or entries.min() == entries.max():
        return None
    if first >= 1 << 15 and least < 0:
        first -= 1 << 16
    return Table(first=first, entries=entries, bits=_bits(int(entries.max()), declared), declared=declared)


def _bits(most: int, declared: int) -> int:
    """Of the output: as declared, unless that cannot be.

    A dark film's table need not reach white. But writers declare 16 bits for entries of 12, 10 or 8: a film shown by a
    sixteenth of the greys is not meant. And entries may have more bits than are declared.
    """
    if declared == 16:
        return next((bits for bits in USUAL_BITS if most < 1 << bits), declared)
    return max(declared, most.bit_length())


def _entries(content: bytes | str, count: int, little_endian: bool) -> NDArray[np.uint16] | None:
    """Words, or bytes where there is no more than a byte an entry (PS3.3 C.11.2.1.1)."""
    if isinstance(content, str):
        values = [int(part) for part in content.split("\\") if part.isdigit()]
        return np.array(values[:count], np.uint16) if len(values) >= count and max(values) <= 0xFFFF else None
    if len(content) >= 2 * count:
        return np.frombuffer(content, "<u2" if little_endian else ">u2", count).astype(np.uint16)
    if len(content) not in (count, count + count % 2):
        return None
    small = np.frombuffer(content, np.uint8)
    if not little_endian:  # two bytes of OW have changed places (PS3.5 A.3)
        small = small[: len(small) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    return small[:count].astype(np.uint16) if len(small) >= count else None
