"""Windows (PS3.3 C.11.2.1.2 and C.11.2.1.3): which one a film has, and which values it shows black and white."""

from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite

import numpy as np
from pydicom.dataset import Dataset

from dicom_gateway import notes as noted
from dicom_gateway.stored import Pixels
from dicom_gateway.values import LARGEST, numbers, text

Bounds = tuple[float, float]
STEP = 1e-3
"""A window of width 1 has no slope, but a step (PS3.3 C.11.2.1.2.1)."""
LINEAR, LINEAR_EXACT, SIGMOID = FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, kw_only=True)
class Window:
    """In values after the modality transform."""

    center: float
    width: float
    """Over 0."""

    @classmethod
    def between(cls, low: float, high: float) -> "Window":
        """The LINEAR one that shows `low` black and `high` white."""
        return cls(center=(low + high + 1) / 2, width=high - low + 1)

    @property
    def usable(self) -> bool:
        """False for one that no header could have: a person may have typed it."""
        return isfinite(self.center) and abs(self.center) <= LARGEST and 0 < self.width <= LARGEST

    def edges(self, function: str) -> Bounds:
        """The values that are shown black and white by a linear function (PS3.3 C.11.2.1.2.1 and C.11.2.1.3.2).

        A LINEAR window under 1 is not allowed; units that need one mean it as LINEAR_EXACT.
        """
        if function == LINEAR_EXACT or self.width < 1:
            return self.center - self.width / 2, self.center + self.width / 2
        return self.center - 0.5 - (self.width - 1) / 2, self.center - 0.5 + max(self.width - 1, STEP) / 2

    def sigmoid(self, values: Pixels) -> Pixels:
        """0 to 1, by PS3.3 C.11.2.1.3.1."""
        steep = -4 * (values.astype(np.float32) - np.float32(self.center)) / np.float32(self.width)
        return np.asarray(1 / (1 + np.exp(np.clip(steep, -80, 80))))


def window_of(dataset: Dataset, notes: list[str]) -> Window | None:
    """The first window that makes sense."""
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    for center, width in zip_longest(centers, widths):
        if center is not None and width is not None and width > 0:
            return Window(center=center, width=width)
        notes.append(noted.WINDOW)
    return None


def function_of(dataset: Dataset, notes: list[str]) -> str:
    """VOI LUT Function, LINEAR where it is unknown."""
    function = text(dataset, "VOILUTFunction").upper()
    if function and function not in FUNCTIONS:
        notes.append(noted.VOI_FUNCTION)
    return function if function in FUNCTIONS else LINEAR
