"""Chest films of other sources with several labels each, for pretraining: metadata.csv beside tar shards."""

import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.data.raw_films import METADATA, image_to_input, read_table
from model.errors import DatasetError
from model.preprocess import PreprocessSpec

ABOUT = "an auxiliary set is a folder with metadata.csv and its tar shards"
COLUMNS = {"image_id", "shard", "file", "source", "labels"}


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
    digest: str


def load_auxiliary(folders: Sequence[Path], *, size: int, limit: int = 0) -> AuxiliaryFilms:
    """Read auxiliary sets: metadata.csv (image_id, shard, file, source, labels separated by ';' or '|') and tar
    shards.

    A label is known for a film when any film of the same source carries it.

    Raises:
        DatasetError: the table, a column, a shard or a film is missing.
    """
    tables = {folder: read_table(folder / METADATA, COLUMNS, ABOUT) for folder in folders}
    rows = [row for table in tables.values() for row in table]
    if limit:
        rows = rows[:: max(1, len(rows) // limit)]
    names = {row["image_id"]: {f"{row['source']}:{name}" for name in _split_labels(row["labels"])} for row in rows}
    labels = tuple(sorted(set().union(*names.values())))
    source_of = {label: label.split(":", 1)[0] for label in labels}
    spec = replace(PreprocessSpec(), size=size)
    encoded: dict[str, bytes] = {}
    for folder, table in tables.items():
        wanted = {row["image_id"] for row in table}
        encoded |= read_shards(folder, [row for row in rows if row["image_id"] in wanted])
    images = np.stack([image_to_input(encoded[row["image_id"]], row["image_id"], spec) for row in rows])[:, None]
    truth = np.array([[label in names[row["image_id"]] for label in labels] for row in rows], np.float32)
    known = np.array([[source_of[label] == row["source"] for label in labels] for row in rows], np.float32)
    digest = hashlib.sha256(images.tobytes() + truth.tobytes() + " ".join(labels).encode()).hexdigest()
    return AuxiliaryFilms(images=images, truth=truth, known=known, labels=labels, digest=digest)


def _split_labels(text: str) -> list[str]:
    return [name.strip() for name in text.replace("|", ";").split(";") if name.strip()]


def read_shards(folder: Path, rows: list[dict[str, str]]) -> dict[str, bytes]:
    wanted = {(row["shard"], row["file"]): row["image_id"] for row in rows}
    found: dict[str, bytes] = {}
    for shard in sorted({row["shard"] for row in rows}):
        if not (folder / shard).is_file():
            raise DatasetError(f"{folder / shard} is missing")
        try:
            with tarfile.open(folder / shard) as archive:
                for member in archive:
                    identifier = wanted.get((shard, member.name))
                    handle = archive.extractfile(member) if identifier else None
                    if identifier and handle:
                        found[identifier] = handle.read()
        except tarfile.TarError as error:
            raise DatasetError(f"{folder / shard} is not a readable tar file") from error
    if len(found) < len(rows):
        raise DatasetError(f"{len(rows) - len(found)} films of {folder / METADATA} are in no shard")
    return found
