"""Labelled films to a prepared data set: read, checked, cropped to squares, through the same `to_input` as serving."""

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.data.ages import is_adult, years_of
from model.data.dataset import IMAGES, MANIFEST, PARTS, SCHEMA, SPLITS, TABLE, FilmRow, table_text
from model.data.flow import FLOW, Flow
from model.data.listed_films import Choice, ListedFilm, check_findings, choose, licences, read_tables
from model.data.look_alikes import look_alikes
from model.data.raw_films import METADATA, RawFilm, decode_image, source_statistics
from model.data.shards import read_shards
from model.data.splits import assign, check_shares
from model.digest import file_digest
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec, to_input

REQUIRED_COLUMNS = {"image_id", "file", "label", "patient_id"}
ABOUT = "labelled films are metadata.csv and the files it names"
SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` did."""

    records: tuple[FilmRow, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    """Films not taken, by reason."""
    look_alikes: tuple[tuple[str, str], ...] = ()
    """Films of different splits that look the same: to be looked at by eye."""
    licences: dict[str, int] = field(default_factory=dict)
    """Films taken, by licence as stated."""
    findings: tuple[str, ...] = FINDINGS

    @property
    def parts(self) -> tuple[str, ...]:
        """Train, val and test, and `more` where there is such a subset of the test films."""
        found = {film.part for film in self.records}
        return tuple(part for part in PARTS if part in SPLITS or part in found)

    def counts(self) -> dict[str, dict[str, int]]:
        """Films by class and part."""
        tally = Counter((film.label, film.part) for film in self.records)
        return {label: {part: tally[label, part] for part in self.parts} for label in self.findings}


def prepare(
    folders: Sequence[Path],
    out: Path,
    *,
    spec: PreprocessSpec,
    read: Callable[[Path], RawFilm],
    findings: tuple[str, ...] = FINDINGS,
    choice: Choice | None = None,
    views: tuple[str, ...] = ("PA",),
    min_age: float = 18.0,
    shares: tuple[float, ...] = (0.7, 0.15, 0.15),
    seed: int = 2020,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> Prepared:
    """Write a prepared set to `out`.

    Args:
        folders: each holds metadata.csv with the columns image_id, file, label, patient_id and, where known, shard,
            split, test_subset, view, age, sex, source, license, label_basis, rsna_class. A film with a shard is the
            JPEG or PNG `file` in that tar file, any other is the file itself. A patient_id names the same patient in
            every folder.
        out: a folder that does not exist yet.
        spec: size and grey-value stretch of the inputs.
        read: file to film; the caller brings the reader, because this package knows no DICOM.
        findings: the labels there may be, the negative one first.
        choice: which films are wanted by source and licence; None for all.
        views: view positions to keep; empty for all. The column wins over the file's own header.
        min_age: films of patients known to be younger, in years, are left out.
        shares: of train, val and test, when metadata.csv has no split column; patients stay together.
        seed: of that assignment.
        advance: called with (films read, films in all).

    Raises:
        DatasetError: missing file, shard or column, unknown label or split, unreadable film, a patient or the same
            film in two splits, the same film under two labels.
    """
    if out.exists():
        raise DatasetError(f"{out} exists: choose another folder or delete it")
    check_shares(shares)
    check_findings(findings)
    given = read_tables(folders, REQUIRED_COLUMNS, ABOUT)
    listed, left_out = choose(given, choice or Choice())
    listed.sort(key=lambda film: film.name)
    _check(listed, findings)
    draft = out.with_name(out.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        records, unwanted = _fill(draft, listed, spec, read, views, min_age, advance)
        if not any(record.split for record in records):
            records = assign(records, shares=shares, seed=seed)
        taken = {record.identifier for record in records}
        flow = Flow(
            listed=len(given),
            left_out=left_out | unwanted,
            prepared=len(records),
            licences=licences(film for film in listed if film.name in taken),
        )
        _write_table(draft, records, spec, findings, {film.set: film.folder for film in listed}, flow)
        pairs = look_alikes(np.load(draft / IMAGES, mmap_mode="r"), records)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Prepared(
        records=tuple(records),
        left_out=flow.left_out,
        look_alikes=pairs,
        licences=flow.licences,
        findings=findings,
    )


def _fill(
    draft: Path,
    listed: list[ListedFilm],
    spec: PreprocessSpec,
    read: Callable[[Path], RawFilm],
    views: tuple[str, ...],
    min_age: float,
    advance: Callable[[int, int], None],
) -> tuple[list[FilmRow], dict[str, int]]:
    """Read every film and write the images of those to keep: their records, and the others by reason.

    Shards are read in their own order, so images are written at the film's place among all and moved together after.
    """
    every = draft / "every.npy"
    shape = (1, spec.size, spec.size)
    store = np.lib.format.open_memmap(every, mode="w+", dtype=np.uint8, shape=(len(listed), *shape))
    found: dict[int, tuple[FilmRow, bytes]] = {}
    left_out: Counter[str] = Counter()
    for done, (at, film) in enumerate(_films(listed, read)):
        advance(done, len(listed))
        record = _record(listed[at], film)
        if reason := _unwanted(record, views, min_age):
            left_out[reason] += 1
            continue
        store[at, 0] = to_input(
            film.pixels, low=film.low, high=film.high, inverted=film.inverted, aspect=film.aspect, spec=spec
        )
        found[at] = record, hashlib.sha256(store[at].tobytes()).digest()
    advance(len(listed), len(listed))
    if not found:
        raise DatasetError(f"no film of view {', '.join(views) or 'any'} in {_tables(listed)}: {dict(left_out)}")
    seen: dict[bytes, FilmRow] = {}
    kept: dict[int, FilmRow] = {}
    for at, (record, digest) in sorted(found.items()):
        twin = seen.setdefault(digest, record)
        if twin is record:
            kept[at] = record
        else:
            _refuse_contradiction(record, twin)
            left_out["same film twice"] += 1
    images = np.lib.format.open_memmap(draft / IMAGES, mode="w+", dtype=np.uint8, shape=(len(kept), *shape))
    for number, at in enumerate(kept):
        images[number] = store[at]
    images.flush()
    every.unlink()
    return list(kept.values()), dict(left_out)


def _films(listed: list[ListedFilm], read: Callable[[Path], RawFilm]) -> Iterator[tuple[int, RawFilm]]:
    """Every film and its number: first those that are files, then shard by shard."""
    by_folder: dict[Path, list[int]] = defaultdict(list)
    for at, film in enumerate(listed):
        if film.cells.get("shard"):
            by_folder[film.folder].append(at)
        else:
            yield at, _read(film.folder / film.cells["file"], film.name, read)
    for folder, numbers in by_folder.items():
        for place, content in read_shards(folder, [listed[at].cells for at in numbers]):
            yield numbers[place], decode_image(content, listed[numbers[place]].name)


def _tables(listed: list[ListedFilm]) -> str:
    return ", ".join(str(folder / METADATA) for folder in dict.fromkeys(film.folder for film in listed))


def _check(listed: list[ListedFilm], findings: tuple[str, ...]) -> None:
    """What can be said without opening a film."""
    rows = [film.cells for film in listed]
    with_split = {bool(row.get("split")) for row in rows}
    if len(with_split) > 1:
        raise DatasetError("some films have a split and some have none: fill the column or leave it out")
    splits: dict[str, set[str]] = defaultdict(set)
    names: Counter[str] = Counter()
    for row in rows:
        name, split = row["image_id"], row.get("split", "")
        if not name or not row["file"]:
            raise DatasetError(f"a film without image_id or file: {name or row['file'] or 'neither'}")
        if row["label"] not in findings:
            raise DatasetError(f"{name}: label {row['label']!r} is not one of {', '.join(findings)}")
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


def _record(listed: ListedFilm, film: RawFilm) -> FilmRow:
    row = listed.cells
    age = row.get("age", "")
    years = years_of(age) if age else film.age
    if age and years is None:
        raise DatasetError(f"{row['image_id']}: age {age!r} is neither a number of years nor like 045Y")
    return FilmRow(
        identifier=row["image_id"],
        label=row["label"],
        patient=row["patient_id"],
        split=row.get("split", ""),
        view=row.get("view", "") or film.view,
        source=listed.source,
        label_basis=row.get("label_basis", ""),
        sex=SEXES.get(row.get("sex", "").lower(), ""),
        subset=row.get("test_subset", ""),
        licence=listed.licence,
        set=listed.set,
        age=years,
        reading=row.get("rsna_class", ""),
        **source_statistics(film),
    )


def _unwanted(film: FilmRow, views: tuple[str, ...], min_age: float) -> str:
    if views and film.view not in views:
        return f"view {film.view or 'not given'}"
    return "" if is_adult(film.age, min_age) else f"younger than {min_age:g}"


def _refuse_contradiction(film: FilmRow, twin: FilmRow) -> None:
    """The same picture again is harmless in one split under one label; else the data contradict themselves."""
    if (film.part, film.label) != (twin.part, twin.label):
        raise DatasetError(
            f"{film.identifier} and {twin.identifier} are the same film, as {twin.label} in {twin.part or 'no split'} "
            f"and {film.label} in {film.part or 'no split'}"
        )


def _write_table(
    folder: Path,
    records: list[FilmRow],
    spec: PreprocessSpec,
    findings: tuple[str, ...],
    sets: dict[str, Path],
    flow: Flow,
) -> None:
    table = table_text(records).encode()
    (folder / TABLE).write_bytes(table)
    manifest = {
        "schema": SCHEMA,
        "findings": list(findings),
        "preprocess": spec.as_dict(),
        "films": len(records),
        "table": hashlib.sha256(table).hexdigest(),
        "images": file_digest(folder / IMAGES),
        "sets": {name: file_digest(source / METADATA) for name, source in sorted(sets.items())},
        FLOW: flow.as_dict(),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
