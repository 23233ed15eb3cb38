"""Generated films: each drawn from the grid by its number alone, with what an independent renderer must be told."""

import io
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread, uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_gateway.contexts import SYNTAX_BY_UID, TRANSFER_SYNTAXES
from dicom_gateway.encode import ENCODERS, derived_uid, save

SEED = 20261127
ROWS, COLUMNS = 40, 48
SYNTAXES = [row.uid for row in TRANSFER_SYNTAXES]
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K)
DEPTHS = (
    (8, 8, 7), (8, 7, 6), (8, 6, 7), (16, 8, 7), (16, 10, 9), (16, 12, 11), (16, 12, 15), (16, 14, 13), (16, 14, 14),
    (16, 16, 15),
)  # fmt: skip
"""Bits Allocated, Bits Stored, High Bit."""


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


def case(number: int, folder: Path, **forced: str) -> tuple[Case, Path, Path]:
    """The case, its file, and the same film uncompressed."""
    made = Case(number=number, draw=random.Random(SEED * 1_000_003 + number), syntax=SYNTAXES[number % len(SYNTAXES)])
    made.syntax = forced.get("syntax", made.syntax)
    _header(made)
    _pixels(made)
    for part, rows in {"modality": MODALITY, "voi": VOI, "padding": PADDING, "shape": SHAPE}.items():
        name = forced.get(part) or made.draw.choice([name for name, (_, times) in rows.items() for _ in range(times)])
        made.traits.add(name)
        rows[name][0](made)
    path = _saved(made, folder / f"{number}.dcm", made.syntax)
    return made, path, _plain(made, path, folder / f"{number}-plain.dcm")


def _plain(made: Case, path: Path, to: Path) -> Path:
    if made.syntax in (uid.JPEG2000, uid.HTJ2K):
        frame = next(generate_frames(dcmread(path).PixelData, number_of_frames=1))
        with Image.open(io.BytesIO(frame)) as picture:
            values = np.asarray(picture).astype(np.int64)
        # Pillow fills 8 or 16 bits from the top.
        precision = frame[frame.index(b"\xff\x51") + 40] + 1
        made.values = values >> (made.film.BitsAllocated - precision)
    return _saved(made, to, uid.ExplicitVRLittleEndian, to_be_understood=True)


def _header(made: Case) -> None:
    film, draw = made.film, made.draw
    film.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(film, keyword, derived_uid("differential", keyword, str(made.number)))
    film.Modality, film.SamplesPerPixel, film.Rows, film.Columns = "DX", 1, ROWS, COLUMNS
    film.PhotometricInterpretation = draw.choice(["MONOCHROME1", "MONOCHROME2"])
    depths = [one for one in DEPTHS if _allowed(made.syntax, *one)]
    film.BitsAllocated, film.BitsStored, film.HighBit = draw.choice(depths)
    film.PixelRepresentation = draw.choice([0, 0, 1]) if made.syntax not in LOSSY else 0


def _allowed(syntax: str, allocated: int, stored: int, high: int) -> bool:
    """A codestream carries whole samples: no shift, and only the precisions that its coding has."""
    codec = SYNTAX_BY_UID[syntax].codec
    if codec in ("raw", "rle"):
        return True
    if syntax == uid.JPEGBaseline8Bit:
        return (allocated, stored) == (8, 8)
    if syntax == uid.JPEGExtended12Bit:
        return (allocated, stored, high) == (16, 12, 11)
    return high == stored - 1 and (allocated == stored == 8 or (allocated == 16 and stored >= 10))


def _pixels(made: Case) -> None:
    """A slope over the whole range, with every kind of jump; smooth and away from the ends where the coding loses."""
    y, x = np.mgrid[0 : 1 : ROWS * 1j, 0 : 1 : COLUMNS * 1j]
    slope = 0.5 * x + 0.5 * y
    if not made.lossy:
        slope = np.where(np.random.default_rng(made.number).random(slope.shape) < 0.2, 1 - slope, slope)
    else:
        slope = 0.02 + 0.96 * slope
    made.values = np.round(made.low + slope * (made.high - made.low)).astype(np.int64)


def _saved(made: Case, path: Path, syntax: str, *, to_be_understood: bool = False) -> Path:
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


def raw(film: Dataset, keyword: str, vr: str, value: bytes) -> None:
    """An element with these very bytes, whatever pydicom thinks of them."""
    tag = Tag(keyword)
    value += b" " * (len(value) % 2)
    film[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def table(entries: NDArray[Any], *, first: int, bits: int, count: int | None = None, as_bytes: bool = False) -> Dataset:
    item = Dataset()
    count = len(entries) if count is None else count
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [count & 0xFFFF if count < 1 << 16 else 0, first, bits])
    content = entries.astype("u1" if as_bytes else "<u2").tobytes()
    item.add_new("LUTData", "OW", content + b"\0" * (len(content) % 2))
    item.ModalityLUTType = "US"
    return item


def curve(count: int, bits: int) -> NDArray[np.int64]:
    steps = np.linspace(0, 1, count)
    return np.round((0.3 * steps + 0.7 * steps**2) * ((1 << bits) - 1)).astype(np.int64)


def _nothing(_: Case) -> None:
    pass


# -- Modality ----------------------------------------------------------------------------------------------------------


def _rescale(slope: str, intercept: str) -> Callable[[Case], None]:
    def build(made: Case) -> None:
        raw(made.film, "RescaleSlope", "DS", slope.encode())
        raw(made.film, "RescaleIntercept", "DS", intercept.encode())
        if "," in slope:
            made.meant |= {"RescaleSlope": slope.replace(",", "."), "RescaleIntercept": intercept.replace(",", ".")}
        made.film.RescaleType = "US"

    return build


def _turned(made: Case) -> None:
    _rescale("-1", str(made.high))(made)


def _modality_table(made: Case) -> None:
    bits = made.draw.choice([8, 12, 16])
    entries = curve(min(1 << made.bits, 4096), bits)
    made.film.ModalityLUTSequence = Sequence([table(entries, first=made.low, bits=bits)])


def _broken_modality_table(made: Case) -> None:
    _rescale("2", "-100")(made)
    made.film.ModalityLUTSequence = Sequence([Dataset()])


def _rescale_of(film: Dataset) -> tuple[float, float]:
    """What the values of a window are in."""
    if "ModalityLUTSequence" in film and len(film.ModalityLUTSequence) and "LUTData" in film.ModalityLUTSequence[0]:
        return 1.0, 0.0
    found = [film.get_item(keyword) for keyword in ("RescaleSlope", "RescaleIntercept")]
    slope, intercept = (float(one.value.decode().replace(",", ".")) if one else default
                        for one, default in zip(found, (1.0, 0.0), strict=True))  # fmt: skip
    return (slope, intercept) if slope else (1.0, 0.0)


MODALITY: dict[str, tuple[Callable[[Case], None], int]] = {
    "no rescale": (_nothing, 5),
    "rescale by 1": (_rescale("1", "0"), 2),
    "rescale": (_rescale("2", "-1000"), 3),
    "rescale to negative values": (_rescale("1", "-1024"), 3),
    "rescale by a fraction": (_rescale("0.37", "12.5"), 3),
    "rescale turned": (_turned, 3),
    "rescale with a comma": (_rescale("1,5", "-10,25"), 1),
    "rescale by 0": (_rescale("0", "0"), 1),
    "modality table": (_modality_table, 3),
    "modality table empty": (_broken_modality_table, 1),
}


# -- VOI ---------------------------------------------------------------------------------------------------------------


def _span(made: Case) -> tuple[float, float]:
    """Lowest and highest value after the modality transform."""
    film = made.film
    if "modality table" in made.traits:
        return 0.0, float((1 << film.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    slope, intercept = _rescale_of(film)
    low, high = sorted((made.low * slope + intercept, made.high * slope + intercept))
    return low, high


def _window(
    function: str = "", *, width: float | None = None, written: Callable[[float], str] = "{:.6g}".format
) -> Any:
    def build(made: Case) -> None:
        low, high = _span(made)
        wide = made.draw.uniform(0.2, 1.4) * (high - low) if width is None else width
        center = low + made.draw.uniform(0.3, 0.7) * (high - low)
        window = {"WindowCenter": round(center, 1 if width is None else 0), "WindowWidth": max(round(wide, 1), 1)}
        for keyword, value in window.items():
            raw(made.film, keyword, "DS", written(value).encode())
            if written(value) != f"{value:.6g}":
                made.meant[keyword] = f"{value:.1f}"
        if function:
            made.film.VOILUTFunction = function
        made.voi = ("window", 1)

    return build


def _second_window(made: Case) -> None:
    _window()(made)
    for keyword, first in (("WindowCenter", b"100"), ("WindowWidth", b"0")):
        written = made.film.get_item(keyword).value.strip()
        raw(made.film, keyword, "DS", first + b"\\" + written)
    made.voi = ("window", 2)


def _no_window(made: Case) -> None:
    raw(made.film, "WindowCenter", "DS", b"100")
    raw(made.film, "WindowWidth", "DS", made.draw.choice([b"0", b"-5", b"wide", b""]))


def _entries(made: Case) -> tuple[int, int]:
    """How many entries a VOI table needs to hold every value, at most 65536, and the first one."""
    low, high = (round(edge) for edge in _span(made))
    return max(min(high - low + 1, 1 << 16), 2), low


def _voi_table(bits: int, *, as_bytes: bool = False, declared: int | None = None, part: float = 1.0) -> Any:
    def build(made: Case) -> None:
        count, first = _entries(made)
        first, count = first + int(count * (1 - part) / 2), max(int(count * part), 2)
        made.film.VOILUTSequence = Sequence(
            [table(curve(count, bits), first=max(first, -(1 << 15)), bits=declared or bits, as_bytes=as_bytes)]
        )
        if declared:
            made.meant["VOILUTSequence"] = [table(curve(count, bits), first=max(first, -(1 << 15)), bits=bits)]
        made.voi = ("table", 1)
        if first > 0x7FFF:
            made.traits.add("first value over 32767")
        if first < -(1 << 15):
            made.traits.add("first value under -32768")

    return build


def _broken_table(kind: str) -> Any:
    def build(made: Case) -> None:
        count, first = _entries(made)
        entries, first = curve(count, 12), max(first, -(1 << 15))
        items = {
            "empty": Dataset(),
            "short": table(entries[:-1], first=first, bits=12, count=count),
            "0 bits": table(entries, first=first, bits=0),
            "17 bits": table(entries, first=first, bits=17),
        }
        if made.draw.random() < 0.7:
            _window()(made)
        made.film.VOILUTSequence = Sequence([items[kind]])

    return build


VOI: dict[str, tuple[Callable[[Case], None], int]] = {
    "own range": (_nothing, 4),
    "window that is none": (_no_window, 1),
    "linear": (_window(), 4),
    "linear by name": (_window("LINEAR"), 2),
    "linear exact": (_window("LINEAR_EXACT"), 3),
    "sigmoid": (_window("SIGMOID"), 3),
    "unknown function": (_window("GAMMA"), 1),
    "width 1": (_window(width=1), 1),
    "width 2": (_window(width=2), 1),
    "second window": (_second_window, 1),
    "window with a comma": (_window(written=lambda value: f"{value:.1f}".replace(".", ",")), 2),
    "window with a unit": (_window(written="{:.1f} HU".format), 1),
    "table of 16 bits": (_voi_table(16), 2),
    "table of 12 bits": (_voi_table(12), 2),
    "table of 10 bits": (_voi_table(10), 1),
    "table of 8 bits": (_voi_table(8), 1),
    "table of bytes": (_voi_table(8, as_bytes=True), 2),
    "table of a part": (_voi_table(12, part=0.5), 2),
    "table of 12 bits called 16": (_voi_table(12, declared=16), 1),
    "table empty": (_broken_table("empty"), 1),
    "table short": (_broken_table("short"), 1),
    "table of 0 bits": (_broken_table("0 bits"), 1),
    "table of 17 bits": (_broken_table("17 bits"), 1),
}


# -- padding, polarity, other bits -------------------------------------------------------------------------------------


def _pad(made: Case, *, limit: bool = False, other_vr: bool = False) -> None:
    if made.lossy:  # the value would not come back as it was
        return
    first = made.low if made.draw.random() < 0.5 else made.high
    last = first + (1 if first == made.low else -1) * (1 << made.bits - 5) * limit
    made.values[:6] = first
    for keyword, value in {"PixelPaddingValue": first, "PixelPaddingRangeLimit": last}.items():
        if keyword == "PixelPaddingValue" or limit:
            vr, pattern = ("SS" if made.signed != other_vr else "US"), value & 0xFFFF
            made.film.add_new(keyword, vr, pattern - 0x10000 if vr == "SS" and pattern > 0x7FFF else pattern)
    made.painted = (made.values >= min(first, last)) & (made.values <= max(first, last))
    if made.voi[0] == "range":
        seen = _modality(made)[~made.painted]
        low, high = float(seen.min()), float(seen.max())
        made.meant |= {"WindowCenter": f"{(low + high + 1) / 2:.10g}", "WindowWidth": f"{high - low + 1:.10g}"}


def _modality(made: Case) -> NDArray[np.float64]:
    """The film's values after the modality transform."""
    if "modality table" in made.traits:
        item = made.film.ModalityLUTSequence[0]
        entries = np.frombuffer(item.LUTData, "<u2")
        return entries[np.clip(made.values - made.low, 0, item.LUTDescriptor[0] - 1)].astype(np.float64)
    slope, intercept = _rescale_of(made.film)
    return made.values * slope + intercept


PADDING: dict[str, tuple[Callable[[Case], None], int]] = {
    "no padding": (_nothing, 8),
    "other bits": (_nothing, 4),
    "padding": (_pad, 1),
    "padding range": (lambda made: _pad(made, limit=True), 1),
    "padding in the other VR": (lambda made: _pad(made, other_vr=True), 1),
}


def _shape(agrees: bool) -> Callable[[Case], None]:
    def build(made: Case) -> None:
        first = made.film.PhotometricInterpretation == "MONOCHROME1"
        made.film.PresentationLUTShape = "INVERSE" if first == agrees else "IDENTITY"

    return build


SHAPE: dict[str, tuple[Callable[[Case], None], int]] = {
    "no shape": (_nothing, 4),
    "shape": (_shape(agrees=True), 3),
    "shape contradicts": (_shape(agrees=False), 1),
}
