"""Files to send: films whose SOP Instance UIDs can be exchanged in place, so that no round is a re-send."""

from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.encode import in_syntax, save

HEAD = 4096  # both places of the UID lie in the first bytes: file meta information and (0008,0018)
UID_ROOT = "1.2.826.0.1.3680043.10.1999"


def rolled(pixels: NDArray[np.uint16], step: int) -> NDArray[np.uint16]:
    """Other content at the same cost: the picture, moved."""
    return np.roll(pixels, 16 * step, axis=0)


def write_set(folder: Path, source: Dataset, count: int, *, syntax: str, distinct: int = 10) -> list[Path]:
    """`count` files of the uncompressed `source` in a transfer syntax: `distinct` pictures, every UID its own."""
    folder.mkdir(parents=True)
    pixels = source.pixel_array
    paths: list[Path] = []
    for number in range(count):
        path = folder / f"{number:04}.dcm"
        if number < distinct:
            source.PixelData = rolled(pixels, number).tobytes()
            film = in_syntax(source, syntax)
            film.SOPInstanceUID = _uid(folder, 0, number)
            save(film, path)
        else:
            content = paths[number % distinct].read_bytes()
            old, new = _uid(folder, 0, number % distinct), _uid(folder, 0, number)
            path.write_bytes(content[:HEAD].replace(old.encode(), new.encode()) + content[HEAD:])
        paths.append(path)
    source.PixelData = pixels.tobytes()
    return paths


def renew(folder: Path, before: int, after: int) -> None:
    """Exchange every UID of a set: those of generation `before` become those of `after`."""
    for number, path in enumerate(sorted(folder.iterdir())):
        old, new = _uid(folder, before, number).encode(), _uid(folder, after, number).encode()
        with path.open("r+b") as file:
            head = file.read(HEAD)
            if head.count(old) != 2:
                raise ValueError(f"{path}: expected the UID of generation {before} twice")
            file.seek(0)
            file.write(head.replace(old, new))


def _uid(folder: Path, generation: int, number: int) -> str:
    """Of one length for every generation and number; the folder's name keeps sets apart."""
    series = 1_000_000_000 + crc32(folder.name.encode())
    return f"{UID_ROOT}.{series}.{10_000 + generation}.{10_000 + number}"
