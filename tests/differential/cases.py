"""Generated films: each drawn from the grid by its number alone, with what an independent renderer must be told."""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread, uid
from pydicom.encaps import generate_frames

from dicom_gateway.contexts import SYNTAX_BY_UID, TRANSFER_SYNTAXES
from dicom_gateway.encode import derived_uid
from tests.differential.films import COLUMNS, LOSSY, ROWS, Case, saved
from tests.differential.headers import MODALITY, PADDING, SHAPE, VOI

SEED = 20261127
SYNTAXES = [row.uid for row in TRANSFER_SYNTAXES]
DEPTHS = (
    (8, 8, 7), (8, 7, 6), (8, 6, 7), (16, 8, 7), (16, 10, 9), (16, 12, 11), (16, 12, 15), (16, 14, 13), (16, 14, 14),
    (16, 16, 15),
)  # fmt: skip
"""Bits Allocated, Bits Stored, High Bit."""


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
    path = saved(made, folder / f"{number}.dcm", made.syntax)
    return made, path, _plain(made, path, folder / f"{number}-plain.dcm")


def _plain(made: Case, path: Path, to: Path) -> Path:
    if made.syntax in (uid.JPEG2000, uid.HTJ2K):
        frame = next(generate_frames(dcmread(path).PixelData, number_of_frames=1))
        with Image.open(io.BytesIO(frame)) as picture:
            values = np.asarray(picture).astype(np.int64)
        # Pillow fills 8 or 16 bits from the top.
        precision = frame[frame.index(b"\xff\x51") + 40] + 1
        made.values = values >> (made.film.BitsAllocated - precision)
    return saved(made, to, uid.ExplicitVRLittleEndian, to_be_understood=True)


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
