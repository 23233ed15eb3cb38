"""The shape of a pixel: every mix of the attributes that say it, against the size of DCMTK's picture."""

import itertools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from dicom_gateway.encode import save
from dicom_gateway.pixels import read_radiograph
from tests.phantoms import chest_film, chest_pixels
from tests.services import tool

ROWS, COLUMNS = 60, 40
VALUES: dict[str, list[list[Any] | None]] = {
    "PixelSpacing": [None, [0.2, 0.2], [0.4, 0.2], [0.1, 0.2], [0, 0]],
    "ImagerPixelSpacing": [None, [0.3, 0.1], [0.1, 0.1]],
    "NominalScannedPixelSpacing": [None, [0.15, 0.1]],
    "PixelAspectRatio": [None, [5, 4], [1, 1]],
}
ZERO = "spacing of 0\\0"
WHY = "DCMTK takes 0\\0 for square pixels; we take the next attribute (C.7.6.3.1.7)"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Height of a pixel by its width."""

    attributes: dict[str, Any]
    ours: float
    dcmtk: float

    @property
    def agrees(self) -> bool:
        """As far as whole rows can tell."""
        return abs(self.ours - self.dcmtk) * ROWS <= 1

    @property
    def explained(self) -> bool:
        return self.attributes.get("PixelSpacing") == [0, 0] and self.dcmtk == 1


def shapes(folder: Path) -> Iterator[Shape]:
    pixels = chest_pixels(ROWS, COLUMNS)
    for number, mix in enumerate(itertools.product(*VALUES.values())):
        attributes = {keyword: value for keyword, value in zip(VALUES, mix, strict=True) if value}
        path, picture = folder / f"{number}.dcm", folder / f"{number}.pgm"
        save(chest_film("aspect", pixels=pixels, **attributes), path)
        subprocess.run([tool("dcm2pnm"), "-q", "+Sxf", "1.0", "-i", str(path), str(picture)], check=True, timeout=60)
        rows, columns = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED).shape  # type: ignore[union-attr]
        yield Shape(
            attributes=attributes,
            ours=read_radiograph(path).aspect,
            dcmtk=(rows / ROWS) / (columns / COLUMNS),
        )
