"""Chest films of other sources with several labels each, for pretraining: metadata.csv beside tar shards."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import FilmRow, Films, open_prepared
from model.data.listed_films import Choice, ListedFilm, choose, read_tables
from model.data.raw_films import image_to_input
from model.data.shards import read_shards
from model.errors import DatasetError
from model.preprocess import PreprocessSpec, shrink

COLUMNS = {"image_id", "shard", "file", "source", "labels"}
ABOUT = "an auxiliary set is a folder with metadata.csv and its tar shards"
READINGS = {
    "Normal": "rsna:Normal",
    "No Lung Opacity / Not Normal": "rsna:Not Normal",
    "Lung Opacity": "rsna:Lung Opacity",
}
"""Radiologists' class of a film (RSNA 2018) -> label."""
HELD_OUT = ("val", "test", "more")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryFilms:
    """Films with multi-label truth. Row i of every array is the same film."""

    images: NDArray[np.uint8]
    """[N, 1, size, size]"""
    truth: NDArray[np.float32]
    """[N, labels] 0 or 1"""
    known: NDArray[np.float32]
    """[N, labels] 1 where the film's source reports that label at all"""
    labels: tuple[str, ...]
    """"source:name" """
    sources: tuple[str, ...]
    """[N]"""
    digest: str


def load_auxiliary(
    folders: Sequence[Path],
    *,
    size: int,
    limit: int = 0,
    choice: Choice | None = None,
    prepared: Path | None = None,
    join: bool = True,
    hold_out: float = 0.0,
) -> AuxiliaryFilms:
    """Read auxiliary sets: metadata.csv (image_id, shard, file, source, labels separated by ';' or '|') and tar shards.

    A label is known for a film when any film of the same source carries it. The radiologists' class in the column
    rsna_class becomes three labels, which are known for the films that have one.

    Args:
        folders: one set each; the sources of one name are one source.
        size: side of the films, pixels.
        limit: about so many films of the folders, from all over; 0 for all.
        choice: which films are wanted by source and licence; None for all.
        prepared: what `xrayq prepare` wrote. Its training films that radiologists read join, with that reading alone.
        join: with False they do not, and `prepared` says only whose films must not be among these.
        hold_out: share of the patients whose films stay out of training, to be measured on; see `is_held_out`.

    Raises:
        DatasetError: the table, a column, a shard or a film is missing, or a patient is one of the prepared set's
            val or test patients, who must not teach.
    """
    listed, _ = choose(read_tables(folders, COLUMNS, ABOUT), choice or Choice())
    if hold_out:
        listed = [film for film in listed if not is_held_out(patient_of(film), hold_out)]
    if limit:
        listed = listed[:: max(1, len(listed) // limit)]
    theirs = _joined(listed, prepared) if prepared else None
    joined = theirs if join else None
    named = [_labels(film) for film in listed]
    sources: list[str | None] = [film.source for film in listed]
    readings = [film.cells.get("rsna_class", "") for film in listed]
    if joined:
        named += [{READINGS[film.reading]} for film in joined.records]
        sources += [None] * len(joined)
        readings += [film.reading for film in joined.records]
    labels = tuple(sorted(set().union(*named)))
    reported = set(READINGS.values())
    truth = np.array([[label in own for label in labels] for own in named], np.float32)
    known = np.array(
        [
            [reading in READINGS if label in reported else label.split(":", 1)[0] == source for label in labels]
            for source, reading in zip(sources, readings, strict=True)
        ],
        np.float32,
    )
    images = _images(folders, listed, joined, size)
    digest = hashlib.sha256(images.data)
    digest.update(truth.tobytes() + " ".join(labels).encode())
    return AuxiliaryFilms(
        images=images,
        truth=truth,
        known=known,
        labels=labels,
        sources=(
            *(film.source for film in listed),
            *(film.source for film in (joined.records if joined else ())),
        ),
        digest=digest.hexdigest(),
    )


def is_held_out(patient: str, share: float) -> bool:
    """Whether a patient is among the `share` (0 to 1) that is held out. It goes by a digest of the patient_id alone:
    the same patients in every set and every training, and those of a smaller share are among those of a larger one."""
    return int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) < share * 2**32


def patient_of(film: ListedFilm) -> str:
    """The patient, or the film's own name where the table does not say: nobody else's then."""
    return film.cells.get("patient_id") or film.name


def _labels(film: ListedFilm) -> set[str]:
    names = (name.strip() for name in film.cells["labels"].replace("|", ";").split(";"))
    reading = READINGS.get(film.cells.get("rsna_class", ""))
    return {f"{film.source}:{name}" for name in names if name} | ({reading} if reading else set())


def _joined(listed: list[ListedFilm], folder: Path) -> Films:
    """Films of a prepared set's training split that radiologists read.

    Raises:
        DatasetError: the auxiliary films cannot be told from its validation and test patients, or are theirs.
    """
    films, _ = open_prepared(folder)
    held_out = {film.patient for film in films.records if film.part in HELD_OUT}
    if without := [film.name for film in listed if "patient_id" not in film.cells]:
        raise DatasetError(f"{without[0]} has no patient_id: it may be of {folder}'s val or test patients")
    if theirs := [film.name for film in listed if film.cells["patient_id"] in held_out]:
        raise DatasetError(f"{len(theirs)} films, {theirs[0]} first, are of {folder}'s val or test patients")

    def wanted(film: FilmRow) -> bool:
        return film.part == "train" and film.reading in READINGS

    return films.where(wanted)


def _images(folders: Sequence[Path], listed: list[ListedFilm], joined: Films | None, size: int) -> NDArray[np.uint8]:
    """Of the auxiliary films and then of those that join: uint8 [N, 1, size, size], held once."""
    spec = replace(PreprocessSpec(), size=size)
    images = np.empty((len(listed) + (len(joined) if joined else 0), 1, size, size), np.uint8)
    for folder in folders:
        numbers = [number for number, film in enumerate(listed) if film.folder == folder]
        for place, content in read_shards(folder, [listed[number].cells for number in numbers]):
            number = numbers[place]
            images[number, 0] = image_to_input(content, listed[number].name, spec)
    if joined:
        for at, row in enumerate(joined.rows, start=len(listed)):
            images[at, 0] = np.rint(shrink(joined.store[row, 0], size))
    return images
