"""Films of other sources for pretraining: which labels are known, and what is wrong with a set."""

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.data.auxiliary import COLUMNS, load_auxiliary
from model.errors import DatasetError
from model.preprocess import PreprocessSpec, to_input
from tests.unit.model.films import class_pixels

NAMES = ("image_id", "shard", "file", "source", "labels")
SET = {"a/1": "mass; edema", "a/2": "", "b/1": "edema|nodule"}


def write_auxiliary(folder: Path, labels: dict[str, str], names: tuple[str, ...] = NAMES) -> Path:
    """One shard; `labels` by "source/name"."""
    folder.mkdir(exist_ok=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names, extrasaction="ignore")
        writer.writeheader()
        for film, own in labels.items():
            cells = (film, "one.tar", f"{film}.png", film.split("/")[0], own)
            writer.writerow(dict(zip(NAMES, cells, strict=True)))
    write_shard(folder, {f"{film}.png": encoded(seed) for seed, film in enumerate(labels)})
    return folder


def write_shard(folder: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / "one.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def encoded(seed: int) -> bytes:
    return bytes(cv2.imencode(".png", class_pixels("normal", seed))[1].tobytes())


def test_labels_are_known_where_their_source_reports_them(tmp_path: Path) -> None:
    films = load_auxiliary([write_auxiliary(tmp_path, SET)], size=32)
    assert films.labels == ("a:edema", "a:mass", "b:edema", "b:nodule")
    assert films.truth.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    assert films.known.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]


def test_films_are_preprocessed_as_in_serving(tmp_path: Path) -> None:
    films = load_auxiliary([write_auxiliary(tmp_path, SET)], size=32)
    assert (films.images.dtype, films.images.shape) == (np.uint8, (3, 1, 32, 32))
    for seed, image in enumerate(films.images):
        expected = to_input(class_pixels("normal", seed), low=0, high=255, spec=PreprocessSpec(size=32))
        assert np.array_equal(image[0], expected)


def test_limit_takes_films_from_all_over(tmp_path: Path) -> None:
    """Sources stand one after the other in the table."""
    write_auxiliary(tmp_path, {f"{source}/{at}": "mass" if at % 2 else "" for source in "ab" for at in range(6)})
    films = load_auxiliary([tmp_path], size=32, limit=4)
    assert len(films.images) == 4
    assert films.known.any(axis=0).all()
    assert len(films.labels) == 2


def test_digest_is_of_films_and_labels(tmp_path: Path) -> None:
    first = load_auxiliary([write_auxiliary(tmp_path / "a", SET)], size=32).digest
    assert load_auxiliary([tmp_path / "a"], size=32).digest == first
    others = [SET | {"a/2": "mass"}, dict(reversed(SET.items())), {"a/1": "mass; oedema"} | dict(list(SET.items())[1:])]
    for at, other in enumerate(others):
        assert load_auxiliary([write_auxiliary(tmp_path / f"b{at}", other)], size=32).digest != first
    assert load_auxiliary([tmp_path / "a"], size=64).digest != first
    write_shard(tmp_path / "a", {f"{film}.png": encoded(9) for film in SET})
    assert load_auxiliary([tmp_path / "a"], size=32).digest != first


@pytest.mark.parametrize("column", sorted(COLUMNS))
def test_missing_column_is_named(tmp_path: Path, column: str) -> None:
    write_auxiliary(tmp_path, SET, tuple(name for name in NAMES if name != column))
    with pytest.raises(DatasetError, match=f"lacks the columns {column}$"):
        load_auxiliary([tmp_path], size=32)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no table": (lambda folder: (folder / "metadata.csv").unlink(), r"metadata\.csv is missing: an auxiliary set is"),
    "no film": (lambda folder: write_auxiliary(folder, {}), "names no film"),
    "short row": (
        lambda folder: (folder / "metadata.csv").write_text(",".join(NAMES) + "\n1,one.tar\n"),
        "in no shard",
    ),
    "not text": (lambda folder: (folder / "metadata.csv").write_bytes(b"\xff\xfe"), "is not CSV in UTF-8"),
    "no shard": (lambda folder: (folder / "one.tar").unlink(), r"one\.tar is missing"),
    "empty shard": (lambda folder: write_shard(folder, {}), r"3 films of .*metadata\.csv are in no shard"),
    "no tar": (lambda folder: (folder / "one.tar").write_bytes(b"garbage" * 200), r"one\.tar is not a readable tar"),
    "cut": (
        lambda folder: (folder / "one.tar").write_bytes((folder / "one.tar").read_bytes()[:600]),
        r"one\.tar is not",
    ),
    "no picture": (
        lambda folder: write_shard(folder, {f"{film}.png": b"x" for film in SET}),
        "a/1: not a readable JPEG",
    ),
}


@pytest.mark.parametrize(("damage", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_auxiliary(tmp_path, SET))
    with pytest.raises(DatasetError, match=message) as error:
        load_auxiliary([tmp_path], size=32)
    assert "\n" not in str(error.value)
