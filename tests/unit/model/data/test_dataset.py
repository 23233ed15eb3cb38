"""A prepared set on disk: what comes back is what was prepared, altered files are found out, and the digest."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.dataset import STATISTICS, Dataset, FilmRow, load_dataset, open_prepared, table_text
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec
from tests.unit.model.films import Row, dataset_for, prepare_films, rows_for, write_films, write_metadata

ROWS = rows_for({"train": 2, "val": 1})
VIEWS = ("PA", "AP", "")


def with_views(rows: list[Row]) -> list[Row]:
    """PA, AP and none in turn within each class and split."""
    return [row | {"view": VIEWS[int(row["image_id"][-1]) % 3]} for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three films of each class and split, one of each view."""
    path = tmp_path_factory.mktemp("set")
    raw = write_films(path / "raw", with_views(rows_for({"train": 3, "val": 3, "test": 3})))
    prepare_films(raw, path / "films", views=())
    return path / "films"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A prepared set to spoil."""
    prepare_films(write_films(tmp_path / "raw", ROWS), tmp_path / "films")
    return tmp_path / "films"


def test_films_come_with_their_labels(tmp_path: Path) -> None:
    dataset = dataset_for(tmp_path, ROWS)
    assert {split: len(films) for split, films in dataset.splits.items()} == {"train": 6, "val": 3}
    assert (dataset.spec, dataset.views, dataset.train_views) == (PreprocessSpec(size=32), ("PA",), ("PA",))
    films = dataset.splits["train"]
    assert (films.images.dtype, films.images.shape) == (np.uint8, (6, 1, 32, 32))
    assert films.counts() == dict.fromkeys(FINDINGS, 2)
    assert films.identifiers == tuple(sorted(films.identifiers))
    assert films.statistics.shape == (6, len(STATISTICS))
    for at, identifier in enumerate(films.identifiers):
        _, label, _ = identifier.split("-")
        assert FINDINGS[films.labels[at]] == label
        assert films.patients[at] == f"patient-{identifier}"


def test_rows_stay_together_when_films_are_chosen(folder: Path) -> None:
    every, _ = open_prepared(folder)
    films = every.where(lambda film: film.view == "AP" and film.split != "val")
    assert len(films) == 6
    for at, film in enumerate(films.records):
        where = every.identifiers.index(film.identifier)
        assert np.array_equal(films.images[at], every.images[where])
        assert np.array_equal(films.take(np.array([at]))[0], every.images[where])
        assert films.statistics[at].tolist() == [getattr(film, name) for name in STATISTICS]
        assert FINDINGS[films.labels[at]] == film.label
    order = np.array([4, 0, 4])
    assert np.array_equal(films.take(order), films.images[order])


@pytest.mark.parametrize(("views", "count"), [(("PA",), 3), (("AP",), 3), (("PA", "AP"), 6), ((), 9)])
def test_views_are_chosen(folder: Path, views: tuple[str, ...], count: int) -> None:
    dataset = load_dataset(folder, views=views)
    assert {name: len(films) for name, films in dataset.splits.items()} == dict.fromkeys(
        ("train", "val", "test"), count
    )
    assert (dataset.views, dataset.train_views) == (views, views)


@pytest.mark.parametrize(("train_views", "count"), [((), 9), (("AP",), 3), (("PA", "AP"), 6)])
def test_train_may_have_other_views(folder: Path, train_views: tuple[str, ...], count: int) -> None:
    dataset = load_dataset(folder, train_views=train_views)
    assert {name: len(films) for name, films in dataset.splits.items()} == {"train": count, "val": 3, "test": 3}
    assert (dataset.views, dataset.train_views) == (("PA",), train_views)
    assert {film.view for film in dataset.splits["val"].records} == {"PA"}


@pytest.mark.parametrize("views", [("LL",), ("pa",)])
def test_no_film_of_a_view(folder: Path, views: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match=f"no film of view {views[0]} in "):
        load_dataset(folder, views=views)


def test_limit_counts_each_class_and_split(folder: Path) -> None:
    dataset = load_dataset(folder, views=(), limit=2)
    assert all(films.counts() == dict.fromkeys(FINDINGS, 2) for films in dataset.splits.values())
    assert load_dataset(folder, limit=2).splits["val"].counts() == dict.fromkeys(FINDINGS, 1)
    first, again = (
        dataset.splits["train"].identifiers,
        load_dataset(folder, views=(), limit=2).splits["train"].identifiers,
    )
    assert first == again


def test_images_are_not_read_until_they_are_asked_for(folder: Path) -> None:
    films = load_dataset(folder).splits["train"]
    assert isinstance(films.store, np.memmap)
    assert not isinstance(films.images, np.memmap)


def test_the_subset_more_is_a_part_of_its_own(tmp_path: Path) -> None:
    """Other subsets stay in test."""
    subsets = ("more", "first_list", "", "more")
    rows = [row | {"test_subset": subsets[int(row["image_id"][-1])]} for row in rows_for({"test": 4, "val": 1})]
    dataset = dataset_for(tmp_path, [*rows, *rows_for({"train": 1})])
    assert {name: len(films) for name, films in dataset.splits.items()} == {"train": 3, "val": 3, "test": 6, "more": 6}
    assert {film.subset for film in dataset.splits["more"].records} == {"more"}
    assert {film.subset for film in dataset.splits["test"].records} == {"first_list", ""}
    assert {film.split for film in dataset.splits["more"].records} == {"test"}
    few = load_dataset(tmp_path / "films", limit=1)
    assert {name: len(films) for name, films in few.splits.items()} == dict.fromkeys(dataset.splits, 3)


# the table

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=8)
TEXTS = tuple(field.name for field in fields(FilmRow) if field.type is str and field.name != "label")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.builds(
            FilmRow,
            **dict.fromkeys(TEXTS, TEXT),
            label=st.sampled_from(FINDINGS),
            age=st.none() | st.floats(0, 120),
            **dict.fromkeys(STATISTICS, NUMBERS),
        ),
        max_size=4,
    )
)
def test_any_table_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, records: list[FilmRow]) -> None:
    folder = tmp_path_factory.mktemp("table")
    write_prepared(folder, table_text(records).encode(), np.zeros((len(records), 1, 4, 4), np.uint8))
    assert list(open_prepared(folder)[0].records) == records


def write_prepared(folder: Path, table: bytes, images: Any, **manifest: Any) -> None:
    """The three files, with digests that are right."""
    (folder / "films.csv").write_bytes(table)
    np.save(folder / "images.npy", images)
    digests = {"table": sha256(table).hexdigest(), "images": sha256((folder / "images.npy").read_bytes()).hexdigest()}
    content = {"schema": 2, "findings": list(FINDINGS), "preprocess": {"size": 4}} | digests | manifest
    (folder / "prepared.json").write_text(json.dumps(content))


# what is wrong with a set


def flip(name: str, at: int) -> Callable[[Path], object]:
    """One bit of one byte."""

    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[at] ^= 1
        (folder / name).write_bytes(content)

    return change


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def manifest(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "prepared.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))

    return change


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (remove("prepared.json"), r"is not a prepared set \(prepared\.json is missing\)"),
    "no table": (remove("films.csv"), r"is not a prepared set \(films\.csv is missing\)"),
    "no images": (remove("images.npy"), r"is not a prepared set \(images\.npy is missing\)"),
    "table": (flip("films.csv", -5), r"films\.csv was altered since it was prepared: run 'xrayq prepare' again"),
    "a pixel": (flip("images.npy", -5), r"images\.npy was altered since it was prepared: run 'xrayq prepare' again"),
    "array header": (flip("images.npy", 20), r"images\.npy was altered"),
    "cut images": (lambda folder: (folder / "images.npy").write_bytes(b""), r"images\.npy was altered"),
    "a row more": (lambda folder: (folder / "films.csv").open("a").write("x\n"), r"films\.csv was altered"),
    "manifest": (write("prepared.json", "{"), "is damaged"),
    "list": (write("prepared.json", "[]"), "is damaged"),
    "schema": (manifest(schema=1), r"prepared\.json: this version reads schema 2; run 'xrayq prepare' again"),
    "no digest": (manifest(images=None), "is damaged"),
    "no size": (manifest(preprocess=None), "is damaged"),
    "other size": (manifest(preprocess={"size": 64}), r"images\.npy has shape \(9, 1, 32, 32\), the table 9 films"),
    "no findings": (manifest(findings=None), "is damaged"),
    "other findings": (manifest(findings=["normal", "tb"]), "is damaged .*label"),
    "other setting": (manifest(preprocess={"side": 32}), "is damaged"),
}


@pytest.mark.parametrize(("damage", "message"), SPOILED.values(), ids=SPOILED)
def test_a_spoiled_set_is_found_out_when_it_is_opened(
    own: Path, damage: Callable[[Path], object], message: str
) -> None:
    load_dataset(own)
    damage(own)
    with pytest.raises(DatasetError, match=message) as error:
        load_dataset(own)
    assert "\n" not in str(error.value)


def test_table_and_images_must_be_of_one_set(tmp_path: Path) -> None:
    records = [film(f"f{at}") for at in range(2)]
    write_prepared(tmp_path, table_text(records).encode(), np.zeros((3, 1, 4, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"images\.npy has shape \(3, 1, 4, 4\), the table 2 films"):
        open_prepared(tmp_path)
    write_prepared(tmp_path, table_text(records).encode(), np.zeros((2, 1, 4, 4), np.float32))
    with pytest.raises(DatasetError, match=r"images\.npy"):
        open_prepared(tmp_path)
    write_prepared(tmp_path, table_text([film("f", label="flu")]).encode(), np.zeros((1, 1, 4, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"is damaged .*label 'flu'"):
        open_prepared(tmp_path)


def film(identifier: str, **changes: Any) -> FilmRow:
    texts = dict.fromkeys(("patient", "split", "view", "source", "label_basis"), "")
    plain = FilmRow(identifier=identifier, label="normal", age=None, **texts, **dict.fromkeys(STATISTICS, 0.5))
    return replace(plain, **changes)


@pytest.mark.parametrize("name", ["nowhere", "raw", "raw/metadata.csv"])
def test_not_a_prepared_set(own: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=rf"{name} is not a prepared set \(prepared\.json is missing\): run 'xrayq"):
        load_dataset(own.parent / name)


# the digest


def digest(folder: Path, rows: list[Row], **options: Any) -> str:
    """Of these rows, prepared anew; the films in `folder` stay as they are."""
    out = folder / f"out-{len(list(folder.iterdir()))}"
    write_metadata(folder, rows)
    prepare_films(folder, out, views=())
    return load_dataset(out, **options).digest


def test_digest_is_of_the_films_not_of_the_files(tmp_path: Path) -> None:
    first = digest(write_films(tmp_path / "a", ROWS), ROWS)
    assert digest(tmp_path / "a", ROWS) == first
    assert digest(tmp_path / "a", ROWS[::-1]) == first
    moved = [row | {"file": f"other/{at}.png"} for at, row in enumerate(ROWS)]
    assert digest(write_films(tmp_path / "b", moved), moved) == first


@pytest.mark.parametrize(
    "change", [{"label": "covid19"}, {"split": "val"}, {"image_id": "train-normal-zero"}, {"pixels": "other"}], ids=str
)
def test_digest_feels_every_change(tmp_path: Path, change: dict[str, str]) -> None:
    first = digest(write_films(tmp_path, ROWS), ROWS)
    changed = ROWS[0] | {key: value for key, value in change.items() if key != "pixels"}
    if "pixels" in change:
        pixels = cv2.imread(str(tmp_path / changed["file"]), cv2.IMREAD_GRAYSCALE)
        pixels[20:22, 20:22] ^= 255
        (tmp_path / changed["file"]).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    assert digest(tmp_path, [changed, *ROWS[1:]]) != first


def test_digest_is_of_the_chosen_films(folder: Path) -> None:
    def of(**options: Any) -> Dataset:
        return load_dataset(folder, **options)

    assert of().digest == of(views=("PA",)).digest == of(train_views=("PA",), limit=9).digest
    others = [of(views=()), of(train_views=()), of(views=("AP",)), of(views=(), limit=2)]
    assert len({of().digest, *(one.digest for one in others)}) == 5


def test_a_film_removed_is_felt(tmp_path: Path) -> None:
    first = digest(write_films(tmp_path, ROWS), ROWS)
    assert digest(tmp_path, ROWS[1:]) != first
