"""Films we make ourselves: a chest-like phantom, and DICOM objects around any pixels."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from dicom_gateway.encode import derived_uid, in_syntax, save

NOT_REAL = ("not_a_chest_film", "inverted", "rotated", "view_pixels")
"""What a gate with a network rightly says of a phantom: tests that score phantoms mark these reasons."""


def chest_pixels(rows: int = 512, columns: int = 448, bits: int = 12, seed: int = 1) -> NDArray[np.uint16]:
    """uint16 [rows, columns]: bright body and spine, two dark lung fields, some noise. MONOCHROME2 sense."""
    return _drawn(rows, columns, bits, seed).copy()


@lru_cache(maxsize=64)
def _drawn(rows: int, columns: int, bits: int, seed: int) -> NDArray[np.uint16]:
    """Drawing takes 30 ms, and thousands of tests want the same few."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = np.exp(-((x / 0.95) ** 8) - (y / 1.2) ** 8)
    lungs = sum(np.exp(-(((x - side * 0.42) / 0.30) ** 4) - ((y + 0.05) / 0.62) ** 4) for side in (-1, 1))
    noise = np.random.default_rng(seed).normal(0, 0.01, (rows, columns))
    film = 0.15 + 0.6 * body - 0.45 * body * lungs + 0.12 * np.exp(-((x / 0.08) ** 2)) + noise
    return np.round(np.clip(film, 0, 1) * ((1 << bits) - 1)).astype(np.uint16)


def chest_film(name: str = "phantom", *, pixels: NDArray[Any] | None = None, **attributes: Any) -> Dataset:
    """An uncompressed DX chest film, PA, adult. Attributes override; None removes one. `name` decides the UIDs."""
    pixels = chest_pixels() if pixels is None else pixels
    film = Dataset()
    film.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID = derived_uid("test instance", name)
    film.StudyInstanceUID = derived_uid("test study", name)
    film.SeriesInstanceUID = derived_uid("test series", name)
    film.PatientName, film.PatientID, film.AccessionNumber = "Secret^Person", "PID-SECRET", "ACC-SECRET"
    film.PatientAge, film.StudyDate = "045Y", "20260101"
    film.Modality, film.BodyPartExamined, film.ViewPosition = "DX", "CHEST", "PA"
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.Rows, film.Columns = pixels.shape
    film.BitsAllocated = pixels.dtype.itemsize * 8
    film.BitsStored = 12 if film.BitsAllocated == 16 else 8
    film.HighBit = film.BitsStored - 1
    film.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    film["PixelData"].VR = "OW"
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        if value is None:
            delattr(film, keyword)
        else:
            setattr(film, keyword, value)
    return film


def write_film(folder: Path, name: str = "phantom", *, syntax: str = uid.ExplicitVRLittleEndian, **kwargs: Any) -> Path:
    """Write `chest_film(name, ...)` in a transfer syntax; returns its path."""
    film = chest_film(name, **kwargs)
    if syntax != uid.ExplicitVRLittleEndian:
        film = in_syntax(film, syntax)
    return save(film, folder / f"{name}.dcm")
