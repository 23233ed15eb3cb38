"""Labelled films to a prepared data set: read, checked, cropped to squares, through the same `to_input` as serving."""

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.data.dataset import IMAGES, MANIFEST, SCHEMA, SPLITS, TABLE, FilmRow, table_text
from model.data.raw_films import METADATA, RawFilm, read_table, source_statistics
from model.data.splits import assign, check_shares
from model.digest import file_digest
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec, to_input

REQUIRED_COLUMNS = {"image_id", "file", "label", "patient_id"}
LOOK_ALIKE = 0.99
"""Correlation of two films at 32 x 32 from which they are reported as look-alikes."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` did."""

    records: tuple[FilmRow, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    """Films not taken, by reason."""
    look_alikes: tuple[tuple[str, str], ...] = ()
    """Films of different splits that look the same: to be looked at by eye."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Films by class and split."""
        tally = Counter((film.label, film.split) for film in self.records)
        return {label: {split: tally[label, split] for split in SPLITS} for label in FINDINGS}


def prepare(
    folder: Path,
    out: Path,
    *,
    spec: PreprocessSpec,
    read: Callable[[Path], RawFilm],
    views: tuple[str, ...] = ("PA",),
    min_age: float = 18.0,
    shares: tuple[float, ...] = (0.7, 0.15, 0.15),
    seed: int = 2020,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> Prepared:
    """Write a prepared set to `out`.

    Args:
        folder: holds metadata.csv with the columns image_id, file, label, patient_id and, where known, split, view,
            age, source, label_basis.
        out: a folder that does not exist yet.
        spec: size and grey-value stretch of the inputs.
        read: file to film; the caller brings the reader, because this package knows no DICOM.
        views: view positions to keep; empty for all. The column wins over the file's own header.
        min_age: films of patients known to be younger, in years, are left out.
        shares: of train, val and test, when metadata.csv has no split column; patients stay together.
        seed: of that assignment.
        advance: called with (films read, films in all).

    Raises:
        DatasetError: missing file or column, unknown label or split, unreadable film, a patient or the same film in
            two splits, the same film under two labels.
    """
    if out.exists():
        raise DatasetError(f"{out} exists: choose another folder or delete it")
    check_shares(shares)
    rows = read_table(folder / METADATA, REQUIRED_COLUMNS, "labelled films are metadata.csv and the files it names")
    rows.sort(key=lambda row: row["image_id"])
    _check(rows)
    draft = out.with_name(out.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        records, left_out = _fill(draft, folder, rows, spec, read, views, min_age, advance)
        if not any(record.split for record in records):
            records = assign(records, shares=shares, seed=seed)
        _write_table(draft, records, spec, folder)
        look_alikes = _look_alikes(np.load(draft / IMAGES, mmap_mode="r"), records)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Prepared(records=tuple(records), left_out=left_out, look_alikes=look_alikes)


def _fill(
    draft: Path,
    folder: Path,
    rows: list[dict[str, str]],
    spec: PreprocessSpec,
    read: Callable[[Path], RawFilm],
    views: tuple[str, ...],
    min_age: float,
    advance: Callable[[int, int], None],
) -> tuple[list[FilmRow], dict[str, int]]:
    """Read every film and write the images of those to keep: their records, and the others by reason."""
    every = draft / "every.npy"
    shape = (len(rows), 1, spec.size, spec.size)
    store = np.lib.format.open_memmap(every, mode="w+", dtype=np.uint8, shape=shape)
    records: list[FilmRow] = []
    left_out: Counter[str] = Counter()
    seen: dict[bytes, FilmRow] = {}
    for done, row in enumerate(rows):
        advance(done, len(rows))
        film = _read(folder / row["file"], row["image_id"], read)
        record = _record(row, film)
        if reason := _unwanted(record, views, min_age):
            left_out[reason] += 1
            continue
        image = to_input(
            film.pixels, low=film.low, high=film.high, inverted=film.inverted, aspect=film.aspect, spec=spec
        )
        twin = seen.setdefault(hashlib.sha256(image.tobytes()).digest(), record)
        if twin is not record:
            _refuse_contradiction(record, twin)
            left_out["same film twice"] += 1
            continue
        store[len(records), 0] = image
        records.append(record)
    advance(len(rows), len(rows))
    if not records:
        raise DatasetError(f"no film of view {', '.join(views) or 'any'} in {folder / METADATA}: {dict(left_out)}")
    np.save(draft / IMAGES, store[: len(records)])
    every.unlink()
    return records, dict(left_out)


def _check(rows: list[dict[str, str]]) -> None:
    """What can be said without opening a film."""
    with_split = {bool(row.get("split")) for row in rows}
    if len(with_split) > 1:
        raise DatasetError("some films have a split and some have none: fill the column or leave it out")
    splits: dict[str, set[str]] = defaultdict(set)
    names: Counter[str] = Counter()
    for row in rows:
        name, split = row["image_id"], row.get("split", "")
        if not name or not row["file"]:
            raise DatasetError(f"a film without image_id or file: {name or row['file'] or 'neither'}")
        if row["label"] not in FINDINGS:
            raise DatasetError(f"{name}: label {row['label']!r} is not one of {', '.join(FINDINGS)}")
        if split and split not in SPLITS:
            raise DatasetError(f"{name}: split {split!r} is not one of {', '.join(SPLITS)}")
        if not row["patient_id"]:
            raise DatasetError(f"{name}: no patient_id; without it patients cannot be kept in one split")
        splits[row["patient_id"]].add(split)
        names[name] += 1
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise DatasetError(f"image_id {repeated[0]!r} is used by {names[repeated[0]]} films")
    shared = [patient for patient, found in splits.items() if len(found) > 1]
    if shared:
        raise DatasetError(f"{len(shared)} patients occur in more than one split: the test would not be a test")


def _read(path: Path, name: str, read: Callable[[Path], RawFilm]) -> RawFilm:
    if not path.is_file():
        raise DatasetError(f"{name}: {path} is missing")
    try:
        return read(path)
    except DatasetError as error:
        raise DatasetError(f"{name}: {error}") from error


def _record(row: dict[str, str], film: RawFilm) -> FilmRow:
    age = row.get("age", "")
    try:
        years = float(age) if age else film.age
    except ValueError:
        raise DatasetError(f"{row['image_id']}: age {age!r} is not a number of years") from None
    return FilmRow(
        identifier=row["image_id"],
        label=row["label"],
        patient=row["patient_id"],
        split=row.get("split", ""),
        view=row.get("view", "") or film.view,
        source=row.get("source", ""),
        label_basis=row.get("label_basis", ""),
        age=years,
        reading=row.get("rsna_class", ""),
        **source_statistics(film),
    )


def _unwanted(film: FilmRow, views: tuple[str, ...], min_age: float) -> str:
    if views and film.view not in views:
        return f"view {film.view or 'not given'}"
    return f"younger than {min_age:g}" if film.age is not None and film.age < min_age else ""


def _refuse_contradiction(film: FilmRow, twin: FilmRow) -> None:
    """The same picture again is harmless in one split under one label; else the data contradict themselves."""
    if (film.split, film.label) != (twin.split, twin.label):
        raise DatasetError(
            f"{film.identifier} and {twin.identifier} are the same film, as {twin.label} in {twin.split or 'no split'} "
            f"and {film.label} in {film.split or 'no split'}"
        )


def _look_alikes(store: NDArray[np.uint8], records: list[FilmRow], block: int = 2048) -> tuple[tuple[str, str], ...]:
    """Pairs of different splits whose 32 x 32 versions correlate by LOOK_ALIKE or more."""
    small = np.stack([cv2.resize(image[0], (32, 32), interpolation=cv2.INTER_AREA).ravel() for image in store])
    values = small.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.linalg.norm(values, axis=1, keepdims=True).clip(min=1e-6)
    split = np.array([film.split for film in records])
    pairs = []
    for start in range(0, len(values), block):
        alike = values[start : start + block] @ values.T >= LOOK_ALIKE
        alike &= split[start : start + block, None] < split[None, :]
        pairs += [(records[start + a].identifier, records[b].identifier) for a, b in np.argwhere(alike)]
    return tuple(pairs)


def _write_table(folder: Path, records: list[FilmRow], spec: PreprocessSpec, source: Path) -> None:
    table = table_text(records).encode()
    (folder / TABLE).write_bytes(table)
    manifest = {
        "schema": SCHEMA,
        "preprocess": spec.as_dict(),
        "films": len(records),
        "table": hashlib.sha256(table).hexdigest(),
        "images": file_digest(folder / IMAGES),
        "metadata": file_digest(source / METADATA),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
