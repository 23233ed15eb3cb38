"""A prepared data set: films as one memory-mapped array, and a table that says what each is.

    FOLDER/images.npy      uint8 [N, 1, size, size], the network's inputs
    FOLDER/films.csv       one row for each film, in the same order
    FOLDER/prepared.json   findings, preprocessing, where the films came from, what was left out, digests of both

`model.data.prepare` writes it; everything that trains or measures reads it here.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.digest import file_digest
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec

SCHEMA = 2
IMAGES, TABLE, MANIFEST = "images.npy", "films.csv", "prepared.json"
SPLITS = ("train", "val", "test")
MORE = "more"
"""The subset of the test films that is a part of its own, beside `test` and never merged into it."""
PARTS = (*SPLITS, MORE)
STATISTICS = ("aspect", "mean", "spread", "black", "white")


@dataclass(frozen=True, kw_only=True)
class FilmRow:
    """One row of the table."""

    identifier: str
    label: str
    patient: str
    split: str
    view: str
    source: str
    """Where the film came from; "" when the data set does not say."""
    label_basis: str
    """How the label was set (report mining, a radiologist, a laboratory test); "" when the data set does not say."""
    age: float | None
    """Years; None when unknown."""
    aspect: float
    """Width over height of the whole film. This and the next four are what a model could learn instead of disease."""
    mean: float
    """Mean of the whole film as displayed, 0 black to 1 white."""
    spread: float
    """Standard deviation of the same."""
    black: float
    """Share of pixels under 0.04."""
    white: float
    """Share of pixels over 0.96."""
    sex: str = ""
    """M or F; "" when the data set does not say, as for the next three."""
    subset: str = ""
    """Part of the test split, by the data set's own names."""
    reading: str = ""
    """What radiologists saw: Normal, No Lung Opacity / Not Normal, Lung Opacity (RSNA 2018)."""
    licence: str = ""
    """As stated."""
    set: str = ""
    """Name of the folder it was prepared from."""

    @property
    def part(self) -> str:
        """One of PARTS: the split, or MORE for the test films of that subset."""
        return MORE if self.split == "test" and self.subset == MORE else self.split


@dataclass(frozen=True, kw_only=True)
class Films:
    """Some films of a prepared set. Row i of everything is the same film."""

    store: NDArray[np.uint8]
    """[M, 1, size, size], memory-mapped: every film of the set."""
    rows: NDArray[np.int64]
    """[N] where in `store` these films are."""
    records: tuple[FilmRow, ...]
    findings: tuple[str, ...] = FINDINGS
    """What films of this set are labelled with, the negative one first."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> NDArray[np.int64]:
        """[N] index into the findings."""
        return np.array([self.findings.index(film.label) for film in self.records], np.int64)

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(film.patient for film in self.records)

    @property
    def identifiers(self) -> tuple[str, ...]:
        return tuple(film.identifier for film in self.records)

    @property
    def statistics(self) -> NDArray[np.float64]:
        """[N, 5] in the order of STATISTICS."""
        return np.array([[getattr(film, name) for name in STATISTICS] for film in self.records]).reshape(-1, 5)

    @property
    def images(self) -> NDArray[np.uint8]:
        """[N, 1, size, size], read into memory."""
        return self.store[self.rows]

    def take(self, indexes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of these of the films: [len(indexes), 1, size, size]."""
        return self.store[self.rows[indexes]]

    def where(self, wanted: Callable[[FilmRow], bool]) -> "Films":
        kept = [index for index, film in enumerate(self.records) if wanted(film)]
        return replace(self, rows=self.rows[kept], records=tuple(self.records[index] for index in kept))

    def counts(self) -> dict[str, int]:
        tally = Counter(film.label for film in self.records)
        return {name: tally.get(name, 0) for name in self.findings}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The chosen films of a prepared set by split, and a digest that names exactly these."""

    splits: dict[str, Films]
    """By part: train, val, test without the films of the subset `more`, and these as `more`. Empty ones are left
    out."""
    digest: str
    """SHA-256 over split, identifier, label and input of each film."""
    spec: PreprocessSpec
    views: tuple[str, ...]
    """Empty: all."""
    train_views: tuple[str, ...]
    findings: tuple[str, ...] = FINDINGS
    """What the films are labelled with, the negative one first."""


def load_dataset(
    folder: Path, *, views: tuple[str, ...] = ("PA",), train_views: tuple[str, ...] | None = None, limit: int = 0
) -> Dataset:
    """Open a prepared set.

    Args:
        folder: what `xrayq prepare` wrote.
        views: view positions to keep; an empty tuple keeps all.
        train_views: the same for the training split alone; None is `views`.
        limit: films kept of each class and split, 0 for all (small runs).

    Raises:
        DatasetError: not a prepared set, altered since, or no such film in it.
    """
    films, spec = open_prepared(folder)
    chosen = {"train": views if train_views is None else train_views}
    taken: Counter[tuple[str, str]] = Counter()

    def wanted(film: FilmRow) -> bool:
        kept = chosen.get(film.split, views)
        if kept and film.view not in kept:
            return False
        taken[film.part, film.label] += 1
        return not limit or taken[film.part, film.label] <= limit

    films = films.where(wanted)
    if not len(films):
        raise DatasetError(f"no film of view {', '.join(views) or 'any'} in {folder}")
    return dataset_of(films, spec=spec, views=views, train_views=chosen["train"])


def dataset_of(films: Films, *, spec: PreprocessSpec, views: tuple[str, ...], train_views: tuple[str, ...]) -> Dataset:
    """Films by the part that each names."""
    names = [name for name in PARTS if any(film.part == name for film in films.records)]
    splits = {name: films.where(lambda film, name=name: film.part == name) for name in names}  # type: ignore[misc]
    digest = hashlib.sha256()
    for name, part in sorted(splits.items()):
        for row, film, label in zip(part.rows, part.records, part.labels, strict=True):
            digest.update(f"{name} {film.identifier} {label}".encode() + part.store[row].tobytes())
    return Dataset(
        splits=splits,
        digest=digest.hexdigest(),
        spec=spec,
        views=views,
        train_views=train_views,
        findings=films.findings,
    )


def open_prepared(folder: Path) -> tuple[Films, PreprocessSpec]:
    """Every film of a prepared set, sorted by identifier. Raises DatasetError as `load_dataset`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("schema") != SCHEMA:
            raise DatasetError(f"{folder / MANIFEST}: this version reads schema {SCHEMA}; run 'xrayq prepare' again")
        table = (folder / TABLE).read_bytes()
        if hashlib.sha256(table).hexdigest() != manifest["table"]:
            raise DatasetError(f"{folder / TABLE} was altered since it was prepared: run 'xrayq prepare' again")
        if file_digest(folder / IMAGES) != manifest["images"]:
            raise DatasetError(f"{folder / IMAGES} was altered since it was prepared: run 'xrayq prepare' again")
        findings = tuple(map(str, manifest["findings"]))
        records = tuple(_film(row, findings) for row in csv.DictReader(io.StringIO(table.decode(), newline="")))
        store = np.load(folder / IMAGES, mmap_mode="r")
        spec = PreprocessSpec.read(manifest["preprocess"])
    except (FileNotFoundError, NotADirectoryError) as error:
        name = Path(error.filename).name
        raise DatasetError(f"{folder} is not a prepared set ({name} is missing): run 'xrayq prepare' first") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError) as error:
        raise DatasetError(f"{folder} is damaged ({error}): run 'xrayq prepare' again") from error
    if store.shape != (len(records), 1, spec.size, spec.size) or store.dtype != np.uint8:
        raise DatasetError(f"{folder / IMAGES} has shape {store.shape}, the table {len(records)} films")
    return Films(store=store, rows=np.arange(len(records)), records=records, findings=findings), spec


def table_text(records: Iterable[FilmRow]) -> str:
    """The table as CSV."""
    lines: list[str] = []

    class Lines:
        write = staticmethod(lines.append)

    writer = csv.writer(Lines, lineterminator="\n")
    names = [field.name for field in fields(FilmRow)]
    writer.writerow(names)
    writer.writerows(["" if (cell := getattr(film, name)) is None else cell for name in names] for film in records)
    return "".join(lines)


def _film(row: dict[str, str], findings: tuple[str, ...]) -> FilmRow:
    numbers: dict[str, Any] = {name: float(row[name]) for name in STATISTICS}
    texts = {field.name: row[field.name] for field in fields(FilmRow) if field.type is str}
    if texts["label"] not in findings:
        raise ValueError(f"label {texts['label']!r}")
    return FilmRow(**texts | numbers, age=float(row["age"]) if row["age"] else None)
