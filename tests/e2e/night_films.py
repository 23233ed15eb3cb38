"""The films of a night of faults: good ones, and every kind of bad one in a number known beforehand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from dicom_gateway.encode import in_syntax, save
from tests.phantoms import chest_film, chest_pixels

INELIGIBLE: dict[str, dict[str, Any]] = {
    "modality": {"Modality": "CT"},
    "body_part": {"BodyPartExamined": "HAND"},
    "view_conflict": {"PatientOrientation": ["A", "F"]},
    "view": {"ViewPosition": "LL"},
    "age": {"PatientAge": "009Y"},
    "burned_in": {"BurnedInAnnotation": "YES"},
    "quality_control": {"QualityControlImage": "YES"},
    "derived": {"ImageType": ["DERIVED", "SECONDARY"]},
    "too_small": {"pixels": (chest_pixels(223, 256) >> 4).astype(np.uint8)},
    "blank": {"pixels": np.full((256, 256), 50, np.uint8)},
}
"""By the reason that the gate gives."""
CORRUPT: tuple[tuple[str, dict[str, Any] | str], ...] = (
    ("corrupt_pixels", uid.RLELossless),
    ("no_pixel_data", {"PixelData": None}),
    ("corrupt_pixels", uid.JPEGLosslessSV1),
    ("too_many_pixels", {"Rows": 65535, "Columns": 65535}),
    ("corrupt_pixels", uid.JPEG2000Lossless),
    ("header_incomplete", {"Rows": None}),
    ("corrupt_pixels", uid.HTJ2KLossless),
    ("multi_frame", {"NumberOfFrames": 2}),
    ("corrupt_pixels", {"Rows": 600}),
)
"""The decoder's reason, and what is wrong: an attribute, or a codestream of this syntax that ends in its middle."""
REFUSED = {0xC001: "cut", 0xA901: "other UID"}
"""By the status that the gateway answers."""
INELIGIBLE_SHARE, CORRUPT_SHARE, REFUSED_SHARE, DUPLICATE_SHARE, REVISION_SHARE = 0.10, 0.02, 0.01, 0.05, 0.02


@dataclass(frozen=True, kw_only=True)
class Film:
    path: Path
    uid: str
    end: str
    """State it must come to, or "refused"."""
    reason: str = ""
    status: int = 0
    """That the gateway must answer."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """What one AE sends, in this order."""

    first: list[Film]
    duplicates: list[Film]
    revisions: list[Film]

    @property
    def received(self) -> list[Film]:
        return [film for film in self.first if not film.status] + self.revisions


def make_nights(folder: Path, aes: Sequence[str], films: int) -> dict[str, Night]:
    """So many first films, dealt to the AEs in turn, beside the refused, the duplicates and the revisions."""
    for ae in aes:
        (folder / ae).mkdir()
    pixels = (chest_pixels(256, 240) >> 4).astype(np.uint8)
    ineligible, corrupt, kinds = cycle(INELIGIBLE.items()), cycle(CORRUPT), _kinds(films)
    first, good = [], []
    for number, home in zip(range(films), cycle(folder / ae for ae in aes), strict=False):
        name, marked = f"film{number}", _marked(pixels, number)
        if kinds.get(number) == "ineligible":
            reason, changes = next(ineligible)
            first.append(_film(home, name, {"pixels": marked} | changes, "ineligible", reason))
        elif kinds.get(number) == "corrupt":
            first.append(_corrupt(home, name, marked, *next(corrupt)))
        else:
            first.append(_film(home, name, {"pixels": marked}))
            good.append(first[-1])
    corrected = _every(good, round(films * REVISION_SHARE))
    again = _every([film for film in first if film not in corrected], round(films * DUPLICATE_SHARE))
    revisions = [
        _film(film.path.parent, film.path.stem, {"pixels": pixels[::-1]}, file=f"{film.path.stem}-again")
        for film in corrected
    ]
    refused = [
        _refused(folder / ae, f"refused{number}", pixels, status)
        for number, ae, status in zip(range(round(films * REFUSED_SHARE)), cycle(aes), cycle(REFUSED), strict=False)
    ]

    def of(ae: str, group: list[Film]) -> list[Film]:
        return [film for film in group if film.path.parent.name == ae]

    return {
        ae: Night(first=of(ae, first + refused), duplicates=of(ae, again), revisions=of(ae, revisions)) for ae in aes
    }


def _every(films: list[Film], number: int) -> list[Film]:
    """So many of them, spread over all."""
    return [films[place] for place in np.linspace(0, len(films) - 1, number).round().astype(int)]


def _kinds(films: int) -> dict[int, str]:
    """Which films are bad, spread evenly over the night."""
    wrong = ["ineligible"] * round(films * INELIGIBLE_SHARE) + ["corrupt"] * round(films * CORRUPT_SHARE)
    places = np.linspace(0, films - 1, len(wrong)).round().astype(int)
    order = np.random.default_rng(5).permutation(len(wrong))
    return {int(place): wrong[turn] for place, turn in zip(places, order, strict=True)}


def _film(
    folder: Path, name: str, changes: dict[str, Any], end: str = "scored", reason: str = "", file: str = ""
) -> Film:
    film = chest_film(name, **changes)
    return Film(path=save(film, folder / f"{file or name}.dcm"), uid=str(film.SOPInstanceUID), end=end, reason=reason)


def _corrupt(folder: Path, name: str, pixels: NDArray[np.uint8], reason: str, fault: dict[str, Any] | str) -> Film:
    if isinstance(fault, dict):
        return _film(folder, name, {"pixels": pixels} | fault, "failed", reason)
    film = in_syntax(chest_film(name, pixels=pixels), fault)
    (codestream,) = _frames(film.PixelData)
    film.PixelData = encapsulate([codestream[: len(codestream) // 4 * 2]])
    film["PixelData"].is_undefined_length = True
    return Film(path=save(film, folder / f"{name}.dcm"), uid=str(film.SOPInstanceUID), end="failed", reason=reason)


def _refused(folder: Path, name: str, pixels: NDArray[np.uint8], status: int) -> Film:
    film = chest_film(name, pixels=pixels)
    path = save(film, folder / f"{name}.dcm")
    content = path.read_bytes()
    if REFUSED[status] == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:  # the file meta's UID goes into the command; another one stays in the data set
        named = film.SOPInstanceUID.encode()
        path.write_bytes(content.replace(named, named[:-1] + (b"0" if named[-1:] != b"0" else b"1"), 1))
    return Film(path=path, uid=str(film.SOPInstanceUID), end="refused", status=status)


def _marked(pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """The same film with its number in two pixels of the border."""
    marked = pixels.copy()
    marked[0, :2] = divmod(number, 256)
    return marked


def _frames(encapsulated: bytes) -> Iterator[bytes]:
    return generate_frames(encapsulated, number_of_frames=1)
