"""Films of other sources for pretraining: which labels are known, and what is wrong with a set."""

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.data.auxiliary import COLUMNS, is_held_out, load_auxiliary
from model.data.dataset import open_prepared
from model.data.listed_films import Choice
from model.errors import DatasetError
from model.preprocess import PreprocessSpec, to_input
from tests.unit.model.films import class_pixels, prepare_films, rows_for, write_films

NAMES = ("image_id", "shard", "file", "source", "labels")
SET = {"a/1": "mass; edema", "a/2": "", "b/1": "edema|nodule"}


def write_auxiliary(
    folder: Path,
    labels: dict[str, str],
    names: tuple[str, ...] = NAMES,
    readings: dict[str, str] | None = None,
    patients: dict[str, str] | None = None,
) -> Path:
    """One shard; `labels` by "source/name", and readings and patients, where given, likewise."""
    folder.mkdir(exist_ok=True)
    more = {name: own for name, own in (("rsna_class", readings), ("patient_id", patients)) if own is not None}
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, (*names, *more), extrasaction="ignore")
        writer.writeheader()
        for film, own in labels.items():
            cells = (film, "one.tar", f"{film}.png", film.split("/")[0], own)
            columns = {name: by_film.get(film, "") for name, by_film in more.items()}
            writer.writerow(dict(zip(NAMES, cells, strict=True)) | columns)
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


def test_several_folders_are_one_set(tmp_path: Path) -> None:
    """A source that is in both reports the labels of both."""
    write_auxiliary(tmp_path / "x", SET)
    write_auxiliary(tmp_path / "y", {"b/3": "mass", "c/1": ""})
    films = load_auxiliary([tmp_path / "x", tmp_path / "y"], size=32)
    assert films.labels == ("a:edema", "a:mass", "b:edema", "b:mass", "b:nodule")
    assert films.known[:, 3].tolist() == [0, 0, 1, 1, 0]
    assert films.truth[:, 3].tolist() == [0, 0, 0, 1, 0]
    apart = [load_auxiliary([tmp_path / name], size=32).images for name in "xy"]
    assert np.array_equal(films.images, np.concatenate(apart))


def test_a_reading_is_known_where_it_is_given(tmp_path: Path) -> None:
    readings = {"a/1": "Lung Opacity", "b/1": "No Lung Opacity / Not Normal", "c/1": "Normal"}
    films = load_auxiliary([write_auxiliary(tmp_path, SET | {"c/1": ""}, readings=readings)], size=32)
    at = [films.labels.index(f"rsna:{name}") for name in ("Lung Opacity", "Normal", "Not Normal")]
    assert films.truth[:, at].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert films.known[:, at].tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert len(films.labels) == 4 + 3


def test_sources_are_chosen(tmp_path: Path) -> None:
    write_auxiliary(tmp_path, SET)
    assert load_auxiliary([tmp_path], size=32, choice=Choice(sources=("b",))).labels == ("b:edema", "b:nodule")
    assert load_auxiliary([tmp_path], size=32, choice=Choice(without_sources=("b",))).labels == ("a:edema", "a:mass")


READ = {"train-normal-0": "Normal", "train-pneumonia-0": "Lung Opacity", "val-normal-0": "Normal"}


@pytest.fixture
def prepared_set(tmp_path: Path) -> Path:
    """One film of each class in train, val, test and more; three of them read by radiologists."""
    rows = [
        row | {"rsna_class": READ.get(row["image_id"], ""), "test_subset": "more" if row["image_id"][-1] == "1" else ""}
        for row in (*rows_for({"train": 1, "val": 1}), *rows_for({"test": 2}))
    ]
    prepare_films(write_films(tmp_path / "raw", rows), tmp_path / "films", size=64)
    return tmp_path / "films"


def test_training_films_of_a_prepared_set_join(tmp_path: Path, prepared_set: Path) -> None:
    """With their reading alone, and only where they have one."""
    folder = write_auxiliary(tmp_path / "aux", SET, patients=dict.fromkeys(SET, "someone"))
    films = load_auxiliary([folder], size=32, prepared=prepared_set)
    assert len(films.images) == len(SET) + 2
    at = [films.labels.index(f"rsna:{name}") for name in ("Normal", "Lung Opacity")]
    assert films.truth[3:, at].tolist() == [[1, 0], [0, 1]]
    assert films.known[3:].sum(axis=1).tolist() == [2, 2]
    assert films.known[:3, at].sum() == 0
    whole, _ = open_prepared(prepared_set)
    picture = whole.images[whole.identifiers.index("train-normal-0"), 0]
    assert np.array_equal(films.images[3, 0], np.rint(cv2.resize(picture.astype(float), (32, 32), interpolation=3)))
    same_size = load_auxiliary([folder], size=64, prepared=prepared_set)
    assert np.array_equal(same_size.images[3, 0], picture)


@pytest.mark.parametrize("held_out", ["val-normal-0", "test-covid19-0", "test-covid19-1"])
def test_a_patient_of_val_or_test_must_not_teach(tmp_path: Path, prepared_set: Path, held_out: str) -> None:
    patients = dict.fromkeys(SET, "") | {"a/2": f"patient-{held_out}"}
    folder = write_auxiliary(tmp_path / "aux", SET, patients=patients)
    with pytest.raises(DatasetError, match=r"1 films, a/2 first, are of .*films's val or test patients"):
        load_auxiliary([folder], size=32, prepared=prepared_set)
    load_auxiliary([folder], size=32, prepared=prepared_set, choice=Choice(without_sources=("a",)))
    write_auxiliary(tmp_path / "aux", SET, patients=patients | {"a/2": "patient-train-normal-0"})
    load_auxiliary([folder], size=32, prepared=prepared_set)


def test_films_without_a_patient_cannot_be_told_from_those_of_test(tmp_path: Path, prepared_set: Path) -> None:
    folder = write_auxiliary(tmp_path / "aux", SET)
    with pytest.raises(DatasetError, match="a/1 has no patient_id"):
        load_auxiliary([folder], size=32, prepared=prepared_set)


def test_films_are_preprocessed_as_in_serving(tmp_path: Path) -> None:
    films = load_auxiliary([write_auxiliary(tmp_path, SET)], size=32)
    assert (films.images.dtype, films.images.shape) == (np.uint8, (3, 1, 32, 32))
    for seed, image in enumerate(films.images):
        expected = to_input(class_pixels("normal", seed), low=0, high=255, spec=PreprocessSpec(size=32))
        assert np.array_equal(image[0], expected)


def test_patients_are_held_out_whole_and_the_same_ones_everywhere(tmp_path: Path) -> None:
    names = [f"a/{number}" for number in range(40)]
    patients = {name: f"p{number // 2}" for number, name in enumerate(names)}
    folder = write_auxiliary(tmp_path, dict.fromkeys(names, "mass") | {"a/39": ""}, patients=patients)
    everyone = set(patients.values())
    smaller, larger = ({one for one in everyone if is_held_out(one, share)} for share in (0.2, 0.5))
    assert smaller < larger < everyone
    assert len(load_auxiliary([folder], size=32, hold_out=0.5).images) == 2 * len(everyone - larger)
    assert not any(is_held_out(one, 0.0) for one in everyone)
    assert all(is_held_out(one, 1.0) for one in everyone)


def test_a_film_without_a_patient_is_held_out_for_itself(tmp_path: Path) -> None:
    names = [f"a/{number}" for number in range(40)]
    folder = write_auxiliary(tmp_path, dict.fromkeys(names, "mass") | {"a/39": ""})
    kept = [name for name in names if not is_held_out(name, 0.5)]
    assert 0 < len(kept) < 40
    assert len(load_auxiliary([folder], size=32, hold_out=0.5).images) == len(kept)


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
    "empty shard": (lambda folder: write_shard(folder, {}), r"3 films that .* lists are in no shard"),
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
