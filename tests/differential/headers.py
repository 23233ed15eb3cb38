"""What a header may say of how its film is shown: each part by name, with how often it is drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tests.differential.films import Case


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
