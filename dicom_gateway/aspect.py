"""The shape of a pixel (PS3.3 C.7.6.3.1.7)."""

from pydicom.dataset import Dataset

from dicom_gateway.values import numbers

SOURCES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""First that can be used. Pixel Aspect Ratio is there for images without a spacing. All give the vertical value
first."""
SQUARE = 0.01
"""A difference of 1 % moves no pixel of the network's input by more than 1.2, and spacings are rounded."""
MOST = 5.0
"""No detector has pixels longer than this by their width; such values are faults."""


def aspect_of(dataset: Dataset) -> tuple[float, bool]:
    """Height of a pixel by its width, 1 where it is square or unknown; and whether every value asked for made sense.

    0\\0 and an empty value mean nothing and are no fault.
    """
    sensible = True
    for keyword in SOURCES:
        values = numbers(dataset, keyword)
        if not values or all(value == 0 for value in values):
            continue
        height, width = (*values, None, None)[:2]
        if height and width and height > 0 and width > 0 and 1 / MOST <= height / width <= MOST:
            ratio = height / width
            return (1.0 if abs(ratio - 1) <= SQUARE else ratio), sensible
        sensible = False
    return 1.0, sensible
