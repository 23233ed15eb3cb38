"""Small labelled data sets of phantoms with a pattern for each class, as raw files and prepared."""

import csv
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Dataset, Films, load_dataset, open_prepared
from model.data.prepare import Prepared, prepare
from model.data.raw_films import read_image
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec
from tests.phantoms import chest_pixels
from worker.cli.prepare import read_film

COLUMNS = (
    *("image_id", "file", "label", "patient_id", "split", "view", "age", "source", "label_basis"),
    *("sex", "license", "test_subset", "rsna_class", "shard"),
)
Row = dict[str, str]


def class_pixels(label: str, seed: int, side: int = 64) -> NDArray[np.uint8]:
    """A chest: clear, with one bright lung, or bright in both lower lungs."""
    pixels = (chest_pixels(side, side, seed=seed) >> 4).astype(np.uint8)
    half, low = side // 2, side * 6 // 10
    if label == "pneumonia":
        pixels[:, half:] = np.maximum(pixels[:, half:], 150)
    if label == "covid19":
        pixels[low:] = np.maximum(pixels[low:], 190)
    return pixels


def rows_for(splits: dict[str, int]) -> list[Row]:
    """So many films of each class in each split, each of its own patient."""
    keys = [(split, label, n) for split, count in splits.items() for label in FINDINGS for n in range(count)]
    return [
        {
            "image_id": f"{split}-{label}-{n}",
            "file": f"images/{split}-{label}-{n}.png",
            "label": label,
            "patient_id": f"patient-{split}-{label}-{n}",
            "split": split,
            "view": "PA",
        }
        for split, label, n in keys
    ]


def write_films(folder: Path, rows: list[Row], *, columns: tuple[str, ...] = COLUMNS, **pixels: Any) -> Path:
    """metadata.csv and a PNG for each row; `pixels` is handed to class_pixels."""
    for seed, row in enumerate(rows):
        path = folder / row["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        label = row["label"] if row["label"] in FINDINGS else "normal"
        path.write_bytes(cv2.imencode(".png", class_pixels(label, seed, **pixels))[1].tobytes())
    write_metadata(folder, rows, columns)
    return folder


def into_shards(folder: Path, rows: list[Row], shards: int = 2) -> list[Row]:
    """Move the files of these rows, written before, into tar shards in turn."""
    rows = [row | {"shard": f"shard-{at % shards}.tar"} for at, row in enumerate(rows)]
    for name in {row["shard"] for row in rows}:
        with tarfile.open(folder / name, "w") as archive:
            for row in reversed(rows):  # not as the table has them
                if row["shard"] == name:
                    archive.add(folder / row["file"], row["file"])
    for row in rows:
        (folder / row["file"]).unlink()
    write_metadata(folder, rows)
    return rows


def write_metadata(folder: Path, rows: list[Row], columns: tuple[str, ...] = COLUMNS) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)


def prepare_films(raw: Path | list[Path], out: Path, *, size: int = 32, **options: Any) -> Prepared:
    """What `xrayq prepare` does, at a small size, with one folder or several."""
    folders = raw if isinstance(raw, list) else [raw]
    return prepare(folders, out, **{"spec": PreprocessSpec(size=size), "read": read_image, **options})


def dataset_for(folder: Path, rows: list[Row], *, size: int = 32, **options: Any) -> Dataset:
    """Write films, prepare all of them, open them."""
    prepare_films(write_films(folder / "raw", rows), folder / "films", size=size, views=())
    return load_dataset(folder / "films", **options)


def prepared(raw: Path, **options: Any) -> Films:
    out = raw.with_name(f"{raw.name}-prepared")
    prepare_films(raw, out, **options)
    return open_prepared(out)[0]


def one_film(raw: Path, file: str = "film.dcm", **cells: str) -> Films:
    """A set of this one file, in `raw` already, read as the command does."""
    row = {"image_id": "one", "file": file, "label": "normal", "patient_id": "p", "split": "train"} | cells
    write_metadata(raw, [row])
    return prepared(raw, read=read_film, views=())


def twin_of(raw: Path, rows: list[Row], **cells: str) -> list[Row]:
    """The first film once more under another name."""
    twin = rows[0] | {"image_id": "twin", "file": "images/twin.png", "patient_id": "another"} | cells
    (raw / twin["file"]).write_bytes((raw / rows[0]["file"]).read_bytes())
    write_metadata(raw, [*rows, twin])
    return [*rows, twin]
