"""Labelled films as arrays: a metadata CSV beside its images, through the same preprocessing as serving."""

import csv
import hashlib
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec, to_input

REQUIRED_COLUMNS = {"image_id", "file", "label", "patient_id", "split", "view"}


@dataclass(frozen=True, kw_only=True)
class Films:
    """One split. Row i of every array is the same film."""

    images: NDArray[np.uint8]
    """[N, 1, size, size]"""
    labels: NDArray[np.int64]
    """[N] index into FINDINGS"""
    patients: tuple[str, ...]
    identifiers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.identifiers)

    def counts(self) -> dict[str, int]:
        tally = Counter(int(label) for label in self.labels)
        return {name: tally.get(index, 0) for index, name in enumerate(FINDINGS)}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Every split of one metadata file, and a digest that names exactly this data."""

    splits: dict[str, Films]
    digest: str
    views: tuple[str, ...]
    train_views: tuple[str, ...]


def load_dataset(
    folder: Path,
    *,
    spec: PreprocessSpec,
    views: tuple[str, ...] = ("PA",),
    train_views: tuple[str, ...] | None = None,
    limit: int = 0,
) -> Dataset:
    """Read `folder/metadata.csv` and its images.

    Args:
        folder: holds metadata.csv with the columns image_id, file, label, patient_id, split, view.
        spec: preprocessing of the bundle to be trained.
        views: view positions to keep; an empty tuple keeps all.
        train_views: the same for the training split alone; None is `views`.
        limit: films kept per class and split, 0 for all (small runs in tests).

    Raises:
        DatasetError: missing file or column, unknown label, unreadable image, a patient in two splits.
    """
    kept = {"train": views if train_views is None else train_views}
    rows = [
        row
        for row in _read_rows(folder / "metadata.csv")
        if not (wanted := kept.get(row["split"], views)) or row["view"] in wanted
    ]
    if not rows:
        raise DatasetError(f"no film of view {', '.join(views) or 'any'} in {folder / 'metadata.csv'}")
    _check_patients(rows)
    by_split: dict[str, list[dict[str, str]]] = defaultdict(list)
    taken: Counter[tuple[str, str]] = Counter()
    for row in sorted(rows, key=lambda row: row["image_id"]):
        key = (row["split"], row["label"])
        if limit and taken[key] >= limit:
            continue
        taken[key] += 1
        by_split[row["split"]].append(row)
    splits = {split: _load_split(folder, chosen, spec) for split, chosen in sorted(by_split.items())}
    digest = hashlib.sha256()
    for split, films in splits.items():
        for identifier, label, image in zip(films.identifiers, films.labels, films.images, strict=True):
            digest.update(f"{split} {identifier} {label}".encode() + image.tobytes())
    return Dataset(splits=splits, digest=digest.hexdigest(), views=views, train_views=kept["train"])


def read_image(encoded: bytes, name: str) -> NDArray[np.generic]:
    """Decode a JPEG or PNG to grey [H, W]. Raises DatasetError naming the film."""
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags) if encoded else None
    if pixels is None:
        raise DatasetError(f"{name}: not a readable JPEG or PNG")
    return np.asarray(pixels)


def image_to_input(encoded: bytes, name: str, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """JPEG or PNG bytes -> uint8 [size, size]."""
    pixels = read_image(encoded, name)
    return to_input(pixels, low=0.0, high=float(np.iinfo(pixels.dtype).max), spec=spec)  # type: ignore[type-var]


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DatasetError(f"{path} is missing: a data set is a folder with metadata.csv and its images")
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        missing = REQUIRED_COLUMNS - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        return list(reader)


def _check_patients(rows: Iterable[dict[str, str]]) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["label"] not in FINDINGS:
            raise DatasetError(f"{row['image_id']}: label {row['label']!r} is not one of {', '.join(FINDINGS)}")
        splits[row["patient_id"]].add(row["split"])
    shared = sorted(patient for patient, names in splits.items() if len(names) > 1)
    if shared:
        raise DatasetError(f"{len(shared)} patients occur in more than one split: the test would not be a test")


def _load_split(folder: Path, rows: list[dict[str, str]], spec: PreprocessSpec) -> Films:
    images = []
    for row in rows:
        path = folder / row["file"]
        if not path.is_file():
            raise DatasetError(f"{row['image_id']}: {path} is missing")
        images.append(image_to_input(path.read_bytes(), row["image_id"], spec))
    return Films(
        images=np.stack(images)[:, None],
        labels=np.array([FINDINGS.index(row["label"]) for row in rows], np.int64),
        patients=tuple(row["patient_id"] for row in rows),
        identifiers=tuple(row["image_id"] for row in rows),
    )


@dataclass(frozen=True, kw_only=True)
class AuxiliaryFilms:
    """Films of other sources with multi-label truth, for pretraining."""

    images: NDArray[np.uint8]
    """[N, 1, size, size]"""
    truth: NDArray[np.float32]
    """[N, labels] 0 or 1"""
    known: NDArray[np.float32]
    """[N, labels] 1 where the film's source reports that label at all"""
    labels: tuple[str, ...]
    digest: str


def load_auxiliary(folder: Path, *, size: int, limit: int = 0) -> AuxiliaryFilms:
    """Read an auxiliary set: metadata.csv (image_id, shard, file, source, labels separated by ';' or '|') and tar
    shards.

    A label is known for a film when any film of the same source carries it.

    Raises:
        DatasetError: a shard or a film is missing.
    """
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if limit:
        rows = rows[:: max(1, len(rows) // limit)]
    names = {row["image_id"]: {f"{row['source']}:{name}" for name in _split_labels(row["labels"])} for row in rows}
    labels = tuple(sorted(set().union(*names.values())))
    source_of = {label: label.split(":", 1)[0] for label in labels}
    spec = replace(PreprocessSpec(), size=size)
    encoded = _read_shards(folder, rows)
    images = np.stack([image_to_input(encoded[row["image_id"]], row["image_id"], spec) for row in rows])[:, None]
    truth = np.array([[label in names[row["image_id"]] for label in labels] for row in rows], np.float32)
    known = np.array([[source_of[label] == row["source"] for label in labels] for row in rows], np.float32)
    digest = hashlib.sha256(images.tobytes() + truth.tobytes() + " ".join(labels).encode()).hexdigest()
    return AuxiliaryFilms(images=images, truth=truth, known=known, labels=labels, digest=digest)


def _split_labels(text: str) -> list[str]:
    return [name.strip() for name in text.replace("|", ";").split(";") if name.strip()]


def _read_shards(folder: Path, rows: list[dict[str, str]]) -> dict[str, bytes]:
    wanted = {(row["shard"], row["file"]): row["image_id"] for row in rows}
    found: dict[str, bytes] = {}
    for shard in sorted({row["shard"] for row in rows}):
        if not (folder / shard).is_file():
            raise DatasetError(f"{folder / shard} is missing")
        with tarfile.open(folder / shard) as archive:
            for member in archive:
                identifier = wanted.get((shard, member.name))
                handle = archive.extractfile(member) if identifier else None
                if identifier and handle:
                    found[identifier] = handle.read()
    if len(found) < len(rows):
        raise DatasetError(f"{len(rows) - len(found)} films of {folder / 'metadata.csv'} are in no shard")
    return found
