"""A film under construction, and how it is coded."""

import random
import struct
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.encode import ENCODERS, save

ROWS, COLUMNS = 40, 48
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K)


@dataclass(kw_only=True)
class Case:
    """A film under construction."""

    number: int
    draw: random.Random
    syntax: str
    film: Dataset = field(default_factory=Dataset)
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros((ROWS, COLUMNS), np.int64))
    """Stored values, [ROWS, COLUMNS], before coding."""
    voi: tuple[str, int] = ("range", 0)
    """What the header asks for: ("table", n), ("window", n) with n from 1, or ("range", 0)."""
    traits: set[str] = field(default_factory=set)
    """What is special about it, for the list of explained differences."""
    meant: dict[str, Any] = field(default_factory=dict)
    """Attributes of the plain film that differ: what the header means, for a renderer that cannot read it."""
    painted: NDArray[np.bool_] | None = None
    """Padding: ours is black there, and the others show a value."""

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return self.low + (1 << self.bits) - 1

    @property
    def bits(self) -> int:
        return int(self.film.BitsStored)

    @property
    def signed(self) -> bool:
        return bool(self.film.PixelRepresentation)

    @property
    def lossy(self) -> bool:
        return self.syntax in LOSSY


def saved(made: Case, path: Path, syntax: str, *, to_be_understood: bool = False) -> Path:
    film = Dataset()
    film.update(made.film)
    if to_be_understood:
        for keyword, value in ({"HighBit": made.bits - 1} | made.meant).items():
            _put(film, keyword, value)
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = uid.UID(syntax)
    size = film.BitsAllocated // 8
    codec = SYNTAX_BY_UID[syntax].codec
    patterns = (made.values & ((1 << made.bits) - 1)).astype(f"u{size}")
    if codec in ("raw", "rle"):
        patterns = patterns << (film.HighBit + 1 - made.bits)
        if "other bits" in made.traits and codec == "raw":
            used = ((1 << made.bits) - 1) << (film.HighBit + 1 - made.bits)
            noise = np.random.default_rng(made.number + 1).integers(0, 1 << (8 * size), patterns.shape)
            patterns |= (noise & ~used).astype(patterns.dtype)
    if codec == "raw":
        big = syntax == uid.ExplicitVRBigEndian
        film.PixelData = patterns.astype(patterns.dtype.newbyteorder(">" if big else "<")).tobytes()
        film["PixelData"].VR = "OW" if size > 1 else "OB"
        if big:
            _turn_words(film)
    elif codec == "rle":
        film.PixelData = encapsulate([_rle(patterns)])
        film["PixelData"].VR = "OB"
        film["PixelData"].is_undefined_length = True
    else:
        signed = made.signed and codec in ("jpeg2k", "htj2k")
        pixels = made.values.astype(f"i{size}") if signed else patterns
        film.PixelData = encapsulate([ENCODERS[syntax](pixels, made.bits)])
        film["PixelData"].VR = "OB"
        film["PixelData"].is_undefined_length = True
    return save(film, path)


def _put(film: Dataset, keyword: str, value: Any) -> None:
    if keyword in film:
        del film[keyword]  # the element itself is the other film's too
    setattr(film, keyword, value)


def _turn_words(film: Dataset) -> None:
    """Tables to big endian: pydicom writes the bytes of OW as they are."""
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        items = [deepcopy(item) for item in film.get(keyword, ())]
        for item in items:
            if "LUTData" in item:
                item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
        if items:
            _put(film, keyword, Sequence(items))


def _rle(patterns: NDArray[Any]) -> bytes:
    """PS3.5 Annex G, each run a literal: pydicom's coder looks at the sign and the bits, and ours must not."""
    planes = patterns.astype(patterns.dtype.newbyteorder(">")).reshape(-1, 1).view(np.uint8).T
    segments = []
    for plane in planes:
        flat = plane.tobytes()
        coded = b"".join(bytes([len(flat[i : i + 128]) - 1]) + flat[i : i + 128] for i in range(0, len(flat), 128))
        segments.append(coded + b"\0" * (len(coded) % 2))
    starts = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)
