"""What is asked for, and what comes back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.display import By
from dicom_gateway.windows import Window


@dataclass(frozen=True, kw_only=True)
class SpooledFilm:
    path: Path
    digest: str
    """SHA-256 of the file as it was received, hex: a file that is another is not shown."""

    def is_there(self) -> bool:
        """False also where the spool cannot be read now: who draws the film then says why it cannot."""
        try:
            return self.path.exists()
        except OSError:
            return False


@dataclass(frozen=True, kw_only=True)
class FilmPicture:
    """A film as displayed, and how that came about."""

    png: bytes
    """8 bits, grey, square pixels."""
    rows: int
    columns: int
    full_rows: int
    full_columns: int
    """Of the picture in full size."""
    window: Window
    """In use, in values after the modality transform. See `Displayed.window` for what it is where there is none."""
    function: str
    """That the window goes through, of `dicom_gateway.windows.FUNCTIONS`."""
    by: By
    """What the header chooses grey values by."""
    chosen: bool
    """Whether the window is one that was asked for, in place of what the header says."""
    least: float
    greatest: float
    """Values after the modality transform, of pixels that are neither padding nor hidden by the shutter."""
    low_is_white: bool
    """As the film was sent: MONOCHROME1, or PRESENTATION LUT SHAPE INVERSE."""
    notes: tuple[str, ...]
    """What was odd about how it is shown, codes of `dicom_gateway.notes`."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the network saw of a film."""

    image: NDArray[np.uint8]
    """[size, size]"""
    rows: int
    columns: int
    """Of the film, as its header says."""
    aspect: float


@dataclass(frozen=True, kw_only=True)
class InputPicture:
    png: bytes
    """8 bits, grey."""
    size: int


@dataclass(frozen=True, kw_only=True)
class MapLayer:
    """Where a finding's logit came from, to be laid over the film's picture and stretched to its size."""

    png: bytes
    """8 bits, RGBA; transparent where there is no map, and where nothing spoke for the finding."""
    rows: int
    columns: int
    finding: str
    most: float
    """The map's largest value, in the logit's units: its colours are scaled to it."""
    strongest: float
    """Largest value of the maps of all findings of the network: a map whose own is a small part of it shows little."""
