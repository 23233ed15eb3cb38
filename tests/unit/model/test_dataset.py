import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.dataset import REQUIRED_COLUMNS, Dataset, load_auxiliary, load_dataset
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec, to_input
from tests.unit.model.films import COLUMNS, Row, class_pixels, rows_for, write_films, write_metadata

SPEC = PreprocessSpec(size=32)
SPLITS = {"train": 2, "val": 1}


def load(folder: Path, views: tuple[str, ...] = ("PA",), limit: int = 0) -> Dataset:
    return load_dataset(folder, spec=SPEC, views=views, limit=limit)


def test_films_come_with_their_labels(tmp_path: Path) -> None:
    dataset = load(write_films(tmp_path, rows_for(SPLITS)))
    assert {split: len(films) for split, films in dataset.splits.items()} == {"train": 6, "val": 3}
    films = dataset.splits["train"]
    assert (films.images.dtype, films.images.shape) == (np.uint8, (6, 1, 32, 32))
    assert films.counts() == dict.fromkeys(FINDINGS, 2)
    assert films.identifiers == tuple(sorted(films.identifiers))
    for at, identifier in enumerate(films.identifiers):
        _, label, _ = identifier.split("-")
        assert FINDINGS[films.labels[at]] == label
        assert films.patients[at] == f"patient-{identifier}"


def test_films_are_preprocessed_as_in_serving(tmp_path: Path) -> None:
    rows = rows_for({"train": 1})
    films = load(write_films(tmp_path, rows)).splits["train"]
    for seed, row in enumerate(rows):
        expected = to_input(class_pixels(row["label"], seed), low=0, high=255, spec=SPEC)
        assert np.array_equal(films.images[films.identifiers.index(row["image_id"]), 0], expected)


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".jpg", np.uint8)])
def test_image_formats(tmp_path: Path, suffix: str, dtype: type) -> None:
    rows = [row | {"file": row["image_id"] + suffix} for row in rows_for({"train": 1})]
    plain = load(write_films(tmp_path, rows)).splits["train"].images
    for seed, row in enumerate(rows):
        pixels = class_pixels(row["label"], seed).astype(dtype)
        pixels = pixels * 257 if dtype is np.uint16 else pixels
        (tmp_path / row["file"]).write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    assert np.abs(load(tmp_path).splits["train"].images.astype(int) - plain).max() <= 4


@pytest.mark.parametrize(
    ("views", "count"), [(("PA",), 3), (("AP",), 3), (("PA", "AP"), 6), ((), 9), (("LL",), 0), (("pa",), 0)]
)
def test_views_are_chosen(tmp_path: Path, views: tuple[str, ...], count: int) -> None:
    rows = rows_for({"train": 3})
    for at, row in enumerate(rows):
        row["view"] = ("PA", "AP", "")[at % 3]
    write_films(tmp_path, rows)
    if count:
        dataset = load(tmp_path, views)
        assert (len(dataset.splits["train"]), dataset.views) == (count, views)
    else:
        with pytest.raises(DatasetError, match=f"no film of view {views[0]}"):
            load(tmp_path, views)


def test_limit_counts_each_class_and_split(tmp_path: Path) -> None:
    write_films(tmp_path, rows_for({"train": 3, "val": 1}))
    dataset = load(tmp_path, limit=2)
    assert dataset.splits["train"].counts() == dict.fromkeys(FINDINGS, 2)
    assert dataset.splits["val"].counts() == dict.fromkeys(FINDINGS, 1)


@pytest.mark.parametrize("column", sorted(REQUIRED_COLUMNS))
def test_missing_column_is_named(tmp_path: Path, column: str) -> None:
    columns = tuple(name for name in COLUMNS if name != column)
    write_films(tmp_path, rows_for(SPLITS), columns=columns)
    with pytest.raises(DatasetError, match=f"lacks the columns {column}$"):
        load(tmp_path)


def no_metadata(folder: Path, rows: list[Row]) -> None:
    (folder / "metadata.csv").unlink()


def no_image(folder: Path, rows: list[Row]) -> None:
    (folder / rows[0]["file"]).unlink()


def no_picture(folder: Path, rows: list[Row]) -> None:
    (folder / rows[0]["file"]).write_bytes(b"not a PNG")


def empty_picture(folder: Path, rows: list[Row]) -> None:
    (folder / rows[0]["file"]).write_bytes(b"")


def cut_picture(folder: Path, rows: list[Row]) -> None:
    (folder / rows[0]["file"]).write_bytes((folder / rows[0]["file"]).read_bytes()[:20])


def unknown_label(folder: Path, rows: list[Row]) -> None:
    write_metadata(folder, [rows[0] | {"label": "Pneumonia"}, *rows[1:]])


def patient_in_two_splits(folder: Path, rows: list[Row]) -> None:
    write_metadata(folder, [row | {"patient_id": "one"} if row["label"] == "normal" else row for row in rows])


def empty_metadata(folder: Path, rows: list[Row]) -> None:
    write_metadata(folder, [])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_metadata, r"metadata\.csv is missing"),
        (no_image, r"train-normal-0: .*\.png is missing"),
        (no_picture, "train-normal-0: not a readable JPEG or PNG"),
        (empty_picture, "train-normal-0: not a readable JPEG or PNG"),
        (cut_picture, "train-normal-0: not a readable JPEG or PNG"),
        (unknown_label, "train-normal-0: label 'Pneumonia' is not one of normal, pneumonia, covid19"),
        (patient_in_two_splits, "1 patients occur in more than one split"),
        (empty_metadata, "no film of view PA"),
    ],
)
def test_broken_data_is_named(tmp_path: Path, damage: Callable[[Path, list[Row]], None], message: str) -> None:
    rows = rows_for(SPLITS)
    write_films(tmp_path, rows)
    damage(tmp_path, rows)
    with pytest.raises(DatasetError, match=message):
        load(tmp_path)


def test_digest_is_of_the_films_not_of_the_files(tmp_path: Path) -> None:
    rows = rows_for(SPLITS)
    first = load(write_films(tmp_path / "a", rows)).digest
    assert load(tmp_path / "a").digest == first
    write_metadata(tmp_path / "a", rows[::-1])
    assert load(tmp_path / "a").digest == first
    moved = [row | {"file": f"other/{at}.png"} for at, row in enumerate(rows)]
    assert load(write_films(tmp_path / "b", moved)).digest == first


@pytest.mark.parametrize(
    "change", [{"label": "covid19"}, {"split": "val"}, {"image_id": "train-normal-zero"}, {"pixels": "other"}], ids=str
)
def test_digest_feels_every_change(tmp_path: Path, change: dict[str, str]) -> None:
    rows = rows_for(SPLITS)
    first = load(write_films(tmp_path, rows)).digest
    changed = rows[0] | {key: value for key, value in change.items() if key != "pixels"}
    if "pixels" in change:
        encoded = cv2.imencode(".png", class_pixels("normal", 99))[1].tobytes()
        (tmp_path / changed["file"]).write_bytes(encoded)
    write_metadata(tmp_path, [changed, *rows[1:]])
    assert load(tmp_path).digest != first


def write_auxiliary(folder: Path, labels: dict[str, str]) -> Path:
    """One shard; `labels` by "source/name"."""
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image_id", "shard", "file", "source", "labels"])
        for film, names in labels.items():
            writer.writerow([film, "one.tar", f"{film}.png", film.split("/")[0], names])
    with tarfile.open(folder / "one.tar", "w") as archive:
        for seed, film in enumerate(labels):
            encoded = cv2.imencode(".png", class_pixels("normal", seed))[1].tobytes()
            member = tarfile.TarInfo(f"{film}.png")
            member.size = len(encoded)
            archive.addfile(member, io.BytesIO(encoded))
    return folder


def test_auxiliary_labels_are_known_where_their_source_reports_them(tmp_path: Path) -> None:
    films = load_auxiliary(write_auxiliary(tmp_path, {"a/1": "mass; edema", "a/2": "", "b/1": "edema|nodule"}), size=32)
    assert films.labels == ("a:edema", "a:mass", "b:edema", "b:nodule")
    assert films.truth.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    assert films.known.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    assert films.images.shape == (3, 1, 32, 32)


def test_auxiliary_digest_and_missing_parts(tmp_path: Path) -> None:
    first = load_auxiliary(write_auxiliary(tmp_path, {"a/1": "mass", "a/2": ""}), size=32)
    assert load_auxiliary(tmp_path, size=32).digest == first.digest
    assert load_auxiliary(write_auxiliary(tmp_path, {"a/1": "", "a/2": "mass"}), size=32).digest != first.digest
    with tarfile.open(tmp_path / "one.tar", "w"):
        pass
    with pytest.raises(DatasetError, match=r"2 films of .*metadata\.csv are in no shard"):
        load_auxiliary(tmp_path, size=32)
    (tmp_path / "one.tar").unlink()
    with pytest.raises(DatasetError, match=r"one\.tar is missing"):
        load_auxiliary(tmp_path, size=32)
