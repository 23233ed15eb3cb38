"""From stored values to those that windows and VOI LUTs are for: the modality transform (PS3.3 C.11.1)."""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from dicom_gateway import notes as noted
from dicom_gateway.lookup import first_table
from dicom_gateway.stored import Pixels
from dicom_gateway.values import is_present, number
from dicom_gateway.windows import Bounds

LEAST_SLOPE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Values after the modality transform are pixels x slope + intercept."""

    pixels: Pixels
    slope: float
    intercept: float
    lowest: float
    """Least value that there can be, whatever the pixels."""

    @property
    def values(self) -> Pixels:
        if (self.slope, self.intercept) == (1.0, 0.0):
            return self.pixels
        return self.pixels.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def range_of(self, low: float, high: float) -> Bounds:
        """Values of two pixels, the lower one first."""
        first, second = sorted((low * self.slope + self.intercept, high * self.slope + self.intercept))
        return first, second


def modality_of(stored: Pixels, dataset: Dataset, least: int, most: int, notes: list[str]) -> Modality:
    """By table, else by rescale.

    Args:
        least, most: value that a stored pixel can have.
    """
    if table := first_table(dataset, "ModalityLUTSequence", least, noted.MODALITY_LUT, notes):
        return Modality(pixels=table.apply(stored), slope=1.0, intercept=0.0, lowest=0.0)
    slope, intercept = _rescale(dataset, notes)
    return Modality(
        pixels=stored, slope=slope, intercept=intercept, lowest=min(least * slope, most * slope) + intercept
    )


def _rescale(dataset: Dataset, notes: list[str]) -> tuple[float, float]:
    """Slope and intercept (PS3.3 C.11.1.1.2), each for itself: 1 and 0 where there is none.

    1 also for a slope that cannot be used, although window and VOI LUT depend on it: it is the only one that a DX image
    may have (C.8.11.3), and what radiographs have.
    """
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    flat = slope is not None and abs(slope) < LEAST_SLOPE
    if flat or (slope is None and is_present(dataset, "RescaleSlope")):
        notes.append(noted.RESCALE)
    if intercept is None and is_present(dataset, "RescaleIntercept"):
        notes.append(noted.RESCALE)
    return (1.0 if slope is None or flat else slope), intercept or 0.0
