"""Small films, and what is read out of them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence

from dicom_gateway.contexts import TRANSFER_SYNTAXES
from dicom_gateway.encode import save
from dicom_gateway.pixels import Radiograph, read_radiograph
from tests.phantoms import chest_film, chest_pixels

SMALL = chest_pixels(64, 48)
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
SIGNED = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
UNCOMPRESSED = [row.uid for row in TRANSFER_SYNTAXES if row.codec == "raw"]


def shown(film: Radiograph) -> NDArray[np.float64]:
    """What `Radiograph` says it shows, 0 black to 1 white."""
    display = np.clip((film.pixels.astype(np.float64) - film.low) / (film.high - film.low), 0, 1)
    return 1 - display if film.inverted else display


def lut(entries: list[int], *, first: int = 0, bits: int = 16) -> Sequence:
    table = Dataset()
    table.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries), first, bits])
    table.add_new("LUTData", "US", entries)
    table.ModalityLUTType = "US"
    return Sequence([table])


def film_of(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    if pixels.dtype.kind == "i":
        attributes = {"PixelRepresentation": 1} | attributes
    return chest_film("shown", pixels=pixels, **attributes)


def read(folder: Path, film: Dataset) -> Radiograph:
    return read_radiograph(save(film, folder / "film.dcm"))


def codestream(film: Dataset) -> bytes:
    """The one frame of an encapsulated film."""
    return next(generate_frames(film.PixelData, number_of_frames=1))
