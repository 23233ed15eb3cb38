"""Films of auxiliary sets that no training saw, to measure a bundle on: of patients held out of all of them, or of a
source that none of them had."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.bundle import Bundle
from model.data.ages import is_adult, years_of
from model.data.auxiliary import ABOUT, COLUMNS, READINGS, is_held_out
from model.data.dataset import FilmRow, Films
from model.data.listed_films import ListedFilm, read_tables
from model.data.raw_films import decode_image, source_statistics
from model.data.seen_films import held_out_share, refuse_seen
from model.data.shards import read_shards
from model.errors import DatasetError
from model.findings import negative_of
from model.preprocess import to_input

MEANING = {"rsna:Normal": "normal", "rsna:Lung Opacity": "pneumonia"}
"""Radiologists' reading -> finding. The third reading, not normal without opacity, is none of a network's."""


def held_out_films(bundle: Bundle, folders: Sequence[Path], prepared: Films) -> Films:
    """Adults' films that radiologists read, of the patients that were held out of every training.

    Their label is the reading's finding, "" where it is none of the bundle's.

    Args:
        folders: auxiliary sets.
        prepared: the set that the bundle was trained on. Its patients are left out: those of train and val taught, and
            films of those of test and more are counted there.

    Raises:
        DatasetError: nothing was held out, as `load_auxiliary`, or no such film.
    """
    share = held_out_share(bundle)
    if not share:
        raise DatasetError(
            f"bundle {bundle.name}: not every training behind it held auxiliary patients out (--hold-out of 'xrayq "
            "pretrain' and 'xrayq train'), so its network may have seen any of these films"
        )
    theirs = {film.patient for film in prepared.records}

    def wanted(film: ListedFilm) -> bool:
        patient = film.cells.get("patient_id", "")
        known = film.cells.get("rsna_class", "") in READINGS and patient and patient not in theirs
        return bool(known) and is_held_out(patient, share)

    chosen = [film for film in read_tables(folders, COLUMNS, ABOUT) if wanted(film)]
    if not chosen:
        raise DatasetError("the auxiliary sets have no film that radiologists read, of a patient held out")
    return _read(bundle, chosen, "auxiliary")


def unseen_films(bundle: Bundle, places: Sequence[tuple[Path, str]], prepared: Films) -> Films:
    """Adults' films with a label that means normal, of sources that no training had.

    Args:
        places: an auxiliary set and "source:label" each.
        prepared: the set that the bundle was trained on.

    Raises:
        DatasetError: a training had the source, as far as its story says, or does not say; or no film has the label.
    """
    chosen: dict[tuple[str, str], ListedFilm] = {}
    for folder, label in places:
        source, _, name = label.partition(":")
        refuse_seen(bundle, source, prepared)
        listed = read_tables([folder], COLUMNS, ABOUT)
        _refuse_read(bundle, source, listed)
        own = {(film.set, film.name): film for film in listed if film.source == source and name in _names(film)}
        if not own:
            raise DatasetError(f"no film of {folder} has the label {label}")
        chosen |= own
    return _read(bundle, list(chosen.values()), "unseen", negative_of(bundle.findings))


def _refuse_read(bundle: Bundle, source: str, listed: Sequence[ListedFilm]) -> None:
    """Where a bundle does not say which auxiliary films taught it: any film with a reading may have. Raises
    DatasetError."""
    if "sources" in bundle.provenance or not bundle.provenance.get("auxiliary_digest"):
        return
    if any(film.source == source and film.cells.get("rsna_class", "") in READINGS for film in listed):
        raise DatasetError(
            f"bundle {bundle.name} does not say of which sources its auxiliary films were, and radiologists read films "
            f"of {source}: they may not be unseen"
        )


def digest_of(films: Films) -> str:
    """SHA-256 over identifier, reading, label and input of each film."""
    digest = hashlib.sha256()
    for film, image in zip(films.records, films.images, strict=True):
        digest.update(f"{film.identifier} {film.reading} {film.label}".encode() + image.tobytes())
    return digest.hexdigest()


def _read(bundle: Bundle, listed: Sequence[ListedFilm], split: str, label: str | None = None) -> Films:
    """As served, sorted by identifier; all of one label where it is given, else by their reading."""
    adults = sorted((film for film in listed if is_adult(_age(film))), key=lambda film: (film.name, film.set))
    if not adults:
        raise DatasetError("no film of an adult is among them")
    spec = bundle.preprocess
    store, records = np.empty((len(adults), 1, spec.size, spec.size), np.uint8), dict[int, FilmRow]()
    for folder in sorted({film.folder for film in adults}):
        numbers = [number for number, film in enumerate(adults) if film.folder == folder]
        for place, content in read_shards(folder, [adults[number].cells for number in numbers]):
            number = numbers[place]
            raw, film = decode_image(content, adults[number].name), adults[number]
            store[number, 0] = to_input(raw.pixels, low=raw.low, high=raw.high, spec=spec)
            records[number] = _row(
                film, split, _label(film, bundle) if label is None else label, source_statistics(raw)
            )
    return Films(
        store=store,
        rows=np.arange(len(adults)),
        records=tuple(records[number] for number in range(len(adults))),
        findings=bundle.findings,
    )


def _names(film: ListedFilm) -> set[str]:
    return {name.strip() for name in film.cells["labels"].replace("|", ";").split(";")}


def _label(film: ListedFilm, bundle: Bundle) -> str:
    finding = MEANING.get(READINGS[film.cells["rsna_class"]], "")
    return finding if finding in bundle.findings else ""


def _row(film: ListedFilm, split: str, label: str, statistics: dict[str, Any]) -> FilmRow:
    cells = film.cells
    return FilmRow(
        identifier=film.name,
        label=label,
        patient=cells.get("patient_id") or f"{film.set} {film.name}",
        split=split,
        view=cells.get("view") or "unknown",
        source=film.source,
        label_basis="rsna_class" if cells.get("rsna_class") else "",
        age=_age(film),
        sex=cells.get("sex", ""),
        reading=cells.get("rsna_class", ""),
        licence=film.licence,
        set=film.set,
        **statistics,
    )


def _age(film: ListedFilm) -> float | None:
    return years_of(film.cells.get("age", ""))
