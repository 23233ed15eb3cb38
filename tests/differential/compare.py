"""One case through all three renderers: who agrees, and why not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import uid

from tests.differential import renderers
from tests.differential.cases import case
from tests.differential.films import Case
from tests.differential.renderers import Grey

TOLERANCE = 2e-3
"""Of the display range: half a grey level of 256. The others keep tables of whole numbers on the way."""
AGREES, NO_ANSWER, UNEXPLAINED = "agrees", "no answer", "UNEXPLAINED"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one renderer said of a case."""

    verdict: str
    """AGREES, NO_ANSWER, a key of EXPLAINED, or UNEXPLAINED."""
    difference: float
    error: str = ""


def compare(number: int, folder: Path, **forced: str) -> tuple[Case, dict[str, Outcome]]:
    """The case and what DCMTK and pydicom say of it. Raises PixelError when we show nothing."""
    made, path, plain = case(number, folder, **forced)
    try:
        _, shown = renderers.ours(path)
        found = {
            "DCMTK": _outcome("DCMTK", made, shown, lambda: renderers.dcmtk(made, path, plain)),
            "pydicom": _outcome("pydicom", made, shown, lambda: renderers.pydicom(made, path, plain)),
        }
    finally:
        path.unlink()
        plain.unlink()
    if made.painted is not None and shown[made.painted].max() > TOLERANCE:
        raise AssertionError(f"case {number}: padding is not black")
    return made, found


def described(made: Case, outcome: Outcome) -> str:
    film = made.film
    bits = f"{film.BitsAllocated}/{made.bits}/{film.HighBit}{' signed' if made.signed else ''}"
    parts = (made.syntax, bits, film.PhotometricInterpretation, *sorted(made.traits))
    return f"{', '.join(parts)}: {outcome.difference:.4f} {outcome.error}"


def _outcome(name: str, made: Case, shown: Grey, render: Callable[[], Grey]) -> Outcome:
    polarity = next((key for key, row in POLARITY.items() if row[0] == name and row[1](made)), None)
    try:
        other = render()
    except Exception as error:  # noqa: BLE001 - whatever another renderer raises of a header that it does not take
        found = Outcome(verdict=NO_ANSWER, difference=1.0, error=f"{type(error).__name__}: {error}")
    else:
        # What has the other polarity for a reason must still be the same film turned round.
        excess = np.abs((1 - shown if polarity else shown) - other) - _allowed(made, other)
        difference = float((excess if made.painted is None else excess[~made.painted]).max())
        if difference <= TOLERANCE:
            return Outcome(verdict=polarity or AGREES, difference=difference)
        found = Outcome(verdict=UNEXPLAINED, difference=difference)
    for key, (renderer, applies, _) in EXPLAINED.items():
        if renderer == name and applies(made, found):
            return Outcome(verdict=key, difference=found.difference, error=found.error)
    return found


def _allowed(made: Case, other: Grey) -> Grey:
    """Decoders of a lossy coding differ by a level: what this is worth in grey beside each pixel."""
    if not made.lossy:
        return np.zeros_like(other)
    values = made.values.ravel()
    order = np.argsort(values)
    grey, sorted_values = other.ravel()[order], values[order]
    allowed = np.empty(values.size)
    for place, value in enumerate(sorted_values):
        first, last = (
            np.searchsorted(sorted_values, value - LEVELS),
            np.searchsorted(sorted_values, value + LEVELS, "right"),
        )
        near = grey[max(first - 1, 0) : last + 1]
        allowed[order[place]] = near.max() - near.min()
    return allowed.reshape(other.shape)


LEVELS = 3


def _has(*traits: str, unless: str = "") -> Callable[[Case, Outcome], bool]:
    return lambda made, _: bool(made.traits & set(traits)) and unless not in made.traits


def _polarity(photometric: str, shape: str) -> Callable[[Case], bool]:
    return lambda made: (
        (made.film.PhotometricInterpretation, made.film.get("PresentationLUTShape")) == (photometric, shape)
    )


def _step(made: Case) -> float:
    """One value's worth of grey under the window."""
    return 1 / max(float(made.film.get_item("WindowWidth").value.decode()) - 1, 1)


def _looks_up(made: Case) -> bool:
    return made.voi[0] == "table" or "modality table" in made.traits


POLARITY: dict[str, tuple[str, Callable[[Case], bool], str]] = {
    "IDENTITY beside MONOCHROME1": (
        "DCMTK",
        _polarity("MONOCHROME1", "IDENTITY"),
        "the film turned round: DCMTK lets the shape win, we keep Photometric Interpretation (C.7.6.3.1.2)",
    ),
    "INVERSE beside MONOCHROME2": (
        "pydicom",
        _polarity("MONOCHROME2", "INVERSE"),
        "the film turned round: pydicom does not read Presentation LUT Shape (C.11.6.1.2)",
    ),
}
FRACTIONS = ("rescale by a fraction", "rescale with a comma")
BYTES = ("table of 8 bits", "table of bytes")
EXPLAINED: dict[str, tuple[str, Callable[[Case, Outcome], bool], str]] = {
    "rescale by a fraction": (
        "DCMTK",
        _has(*FRACTIONS),
        "DCMTK keeps whole numbers after the rescale, C.11.1 has none; pydicom agrees with us where it answers",
    ),
    "LINEAR_EXACT": (
        "DCMTK",
        lambda made, found: "linear exact" in made.traits and found.difference <= _step(made) + TOLERANCE,
        "DCMTK 3.6.7 knows no LINEAR_EXACT and shows LINEAR, one value apart (C.11.2.1.3.2)",
    ),
    "table of 8 bits": (
        "DCMTK",
        lambda made, found: bool(made.traits & set(BYTES)) and found.difference < 1 / 250,
        "DCMTK shows the highest entry, 255, as 255/256 of white",
    ),
    "rescale by 0": (
        "pydicom",
        _has("rescale by 0"),
        "pydicom multiplies by a slope of 0, which leaves one grey; we and DCMTK take 1",
    ),
    "fraction in a table": (
        "pydicom",
        lambda made, _: made.voi[0] == "table" and bool(made.traits & set(FRACTIONS)),
        "a value between two entries: we take the nearer one, pydicom the one below; C.11.2.1.1 knows whole numbers",
    ),
    "first value in Implicit VR": (
        "pydicom",
        lambda made, _: made.syntax == uid.ImplicitVRLittleEndian and made.voi[0] == "table" and not made.signed,
        "pydicom takes the sign of LUT Descriptor from Pixel Representation, not from the rescale (C.11.2.1.1)",
    ),
    "table for over 65,536 values": (
        "pydicom",
        lambda made, _: made.voi[0] == "table" and made.bits == 16 and "no rescale" not in made.traits,
        "pydicom's index wraps there; all others take the last entry (C.11.2.1.1)",
    ),
    "table of 8 bits for more than 256 values": (
        "pydicom",
        _has(*BYTES),
        "pydicom's index wraps at 256, and it reads no table of packed bytes (C.11.2.1.1)",
    ),
    "table for signed values": (
        "pydicom",
        lambda made, _: made.signed and made.bits == made.film.BitsAllocated and _looks_up(made),
        "pydicom's index overflows where Bits Stored is Bits Allocated",
    ),
    "table that cannot be used": (
        "pydicom",
        _has("table empty", "table short", "table of 0 bits", "table of 17 bits", "modality table empty"),
        "pydicom raises an error where the window stands in (C.11.2)",
    ),
    "modality table of 12 bits": ("pydicom", _has("modality table"), "pydicom knows 8 and 16 bits only"),
    "unknown function": ("pydicom", _has("unknown function"), "pydicom raises an error; we and DCMTK take LINEAR"),
}
"""Renderer, which cases, and why it differs from us. Clauses are PS3.3's."""


def explanations() -> list[tuple[str, str, str]]:
    """Which films, which renderer, and why it differs from us."""
    rows = {key: (renderer, why) for key, (renderer, _, why) in POLARITY.items()}
    rows |= {key: (renderer, why) for key, (renderer, _, why) in EXPLAINED.items()}
    return [(key, renderer, why) for key, (renderer, why) in rows.items()]
