"""Raw films to a prepared set: every rule about films, and nothing left behind."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.data.dataset import FilmRow, Films, open_prepared
from model.data.prepare import REQUIRED_COLUMNS
from model.data.raw_films import RawFilm
from model.errors import DatasetError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec
from tests.phantoms import write_film
from tests.unit.model.films import (
    COLUMNS,
    into_shards,
    one_film,
    prepare_films,
    prepared,
    rows_for,
    twin_of,
    write_films,
    write_metadata,
)

SPEC = PreprocessSpec(size=32)
ROWS = rows_for({"train": 2, "val": 1})


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_films(tmp_path / "raw", ROWS)


def by_name(films: Films) -> dict[str, FilmRow]:
    return dict(zip(films.identifiers, films.records, strict=True))


# what the table and the header say


def test_the_table_is_kept(tmp_path: Path) -> None:
    row = ROWS[0] | {"age": "44.5", "source": "nih, second batch", "label_basis": "radiologist", "image_id": 'ö "1"'}
    film = prepared(write_films(tmp_path / "raw", [row])).records[0]
    assert (film.identifier, film.label, film.patient) == ('ö "1"', "normal", row["patient_id"])
    assert (film.split, film.view, film.age) == ("train", "PA", 44.5)
    assert (film.source, film.label_basis) == ("nih, second batch", "radiologist")
    assert film.aspect == 1.0


@pytest.mark.parametrize(
    ("cells", "view", "age"),
    [({}, "AP", 33.0), ({"view": "PA", "age": "60"}, "PA", 60.0), ({"view": "", "age": " "}, "AP", 33.0)],
)
def test_view_and_age_come_from_the_header_where_the_table_is_silent(
    tmp_path: Path, cells: dict[str, str], view: str, age: float
) -> None:
    write_film(tmp_path, "film", ViewPosition="AP", PatientAge="033Y")
    film = one_film(tmp_path, **cells).records[0]
    assert (film.view, film.age) == (view, age)


def test_header_without_view_and_age(tmp_path: Path) -> None:
    write_film(tmp_path, "film", ViewPosition=None, PatientAge=None)
    film = one_film(tmp_path).records[0]
    assert (film.view, film.age) == ("", None)


@pytest.mark.parametrize(
    ("views", "kept", "left_out"),
    [
        (("PA",), 2, {"view AP": 2, "view not given": 2}),
        (("PA", "AP"), 4, {"view not given": 2}),
        ((), 6, {}),
    ],
)
def test_views_are_chosen(tmp_path: Path, views: tuple[str, ...], kept: int, left_out: dict[str, int]) -> None:
    rows = [row | {"view": ("PA", "AP", "")[at % 3]} for at, row in enumerate(rows_for({"train": 2}))]
    raw = write_films(tmp_path / "raw", rows)
    done = prepare_films(raw, tmp_path / "out", views=views)
    assert (len(done.records), done.left_out) == (kept, left_out)
    assert len(np.load(tmp_path / "out" / "images.npy")) == kept


def test_no_film_of_a_view(raw: Path) -> None:
    refused(raw, r"no film of view LL in .*metadata\.csv: \{'view PA': 9\}", views=("LL",))


@pytest.mark.parametrize(("min_age", "kept"), [(18.0, 4), (0.0, 6), (18.5, 3), (100.0, 2)])
def test_children_are_left_out(tmp_path: Path, min_age: float, kept: int) -> None:
    """Films of unknown age stay."""
    ages = ("17.9", "18", "45", "", "3", "")
    rows = [row | {"age": age} for row, age in zip(rows_for({"train": 2}), ages, strict=True)]
    done = prepare_films(write_films(tmp_path / "raw", rows), tmp_path / "out", min_age=min_age)
    assert len(done.records) == kept
    assert done.left_out == ({f"younger than {min_age:g}": 6 - kept} if kept < 6 else {})


def test_a_child_by_its_header_is_left_out(tmp_path: Path) -> None:
    write_film(tmp_path, "film", PatientAge="006M")
    with pytest.raises(DatasetError, match=r"\{'younger than 18': 1\}"):
        one_film(tmp_path)


def test_table_as_a_spreadsheet_saves_it(raw: Path) -> None:
    """A byte order mark, and Windows line ends."""
    table = (raw / "metadata.csv").read_text()
    (raw / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    assert len(prepared(raw)) == len(ROWS)


# the same film again


def test_the_same_film_twice_is_kept_once(raw: Path) -> None:
    twin_of(raw, ROWS)
    done = prepare_films(raw, raw.with_name("out"))
    assert (len(done.records), done.left_out) == (len(ROWS), {"same film twice": 1})
    assert "twin" not in {film.identifier for film in done.records}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"split": "val"}, "twin and train-normal-0 are the same film, as normal in train and normal in val"),
        ({"label": "covid19"}, "twin and train-normal-0 are the same film, as normal in train and covid19 in train"),
    ],
)
def test_the_same_film_must_not_contradict_itself(raw: Path, cells: dict[str, str], message: str) -> None:
    twin_of(raw, ROWS, **cells)
    refused(raw, message)


def test_the_same_film_in_another_coding_is_found(raw: Path) -> None:
    """Two files of different bytes, one picture."""
    twin_of(raw, ROWS)
    pixels = cv2.imread(str(raw / ROWS[0]["file"]), cv2.IMREAD_GRAYSCALE)
    coded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()
    assert coded != (raw / "images/twin.png").read_bytes()
    (raw / "images/twin.png").write_bytes(coded)
    assert prepare_films(raw, raw.with_name("out")).left_out == {"same film twice": 1}


def test_look_alikes_are_reported(tmp_path: Path) -> None:
    """Films of random blocks, so that no two are alike but the brighter and noisy copies of one."""
    rows = rows_for({"train": 2, "test": 1})
    raw = write_films(tmp_path / "raw", rows)
    pictures = np.random.default_rng(1).integers(40, 200, (len(rows), 8, 8))
    for row, picture in zip(rows, pictures, strict=True):
        write_picture(raw / row["file"], picture)
    out = tmp_path / "out"
    assert prepare_films(raw, out).look_alikes == ()
    noise = np.random.default_rng(2).integers(0, 3, (2, 64, 64))
    write_picture(raw / rows[-1]["file"], pictures[0] + 30, noise[0])
    write_picture(raw / rows[1]["file"], pictures[0] + 20, noise[1])  # alike too, but in the same split
    done = prepare_films(raw, tmp_path / "again")
    assert len(done.records) == len(rows)
    assert set(done.look_alikes) == {(rows[-1]["image_id"], rows[at]["image_id"]) for at in (0, 1)}
    write_picture(raw / rows[1]["file"], pictures[0] + 20)  # the stretch makes this the first film again
    assert prepare_films(raw, tmp_path / "third").left_out == {"same film twice": 1}


def write_picture(path: Path, blocks: NDArray[Any], noise: NDArray[Any] | int = 0) -> None:
    picture = np.kron(blocks, np.ones((8, 8), int)) + noise
    path.write_bytes(cv2.imencode(".png", picture.astype(np.uint8))[1].tobytes())


# several folders, and shards


OTHERS = [row | {"image_id": f"b-{row['image_id']}", "patient_id": f"b-{row['patient_id']}"} for row in ROWS]


def test_films_of_several_folders_are_one_set(tmp_path: Path, raw: Path) -> None:
    write_films(tmp_path / "other", OTHERS, side=80)
    done = prepare_films([raw, tmp_path / "other"], tmp_path / "out")
    films, _ = open_prepared(tmp_path / "out")
    assert films.records == done.records
    assert {name: film.set for name, film in by_name(films).items()} == {
        row["image_id"]: name for name, rows in {"raw": ROWS, "other": OTHERS}.items() for row in rows
    }
    again = prepare_films([tmp_path / "other", raw], tmp_path / "again")
    assert again == done
    assert (tmp_path / "again/images.npy").read_bytes() == (tmp_path / "out/images.npy").read_bytes()


def test_films_of_shards_are_those_of_files(tmp_path: Path, raw: Path) -> None:
    """Mixed with files in one table, too."""
    prepare_films(raw, tmp_path / "files")
    sharded = into_shards(raw, ROWS[:6], shards=3)
    write_metadata(raw, [*sharded, *ROWS[6:]])
    prepare_films(raw, tmp_path / "shards")
    for name in ("films.csv", "images.npy"):
        assert (tmp_path / "files" / name).read_bytes() == (tmp_path / "shards" / name).read_bytes()


def test_a_twin_in_a_shard_is_found(raw: Path) -> None:
    """The first by name is kept, whichever is read first."""
    rows = twin_of(raw, ROWS)
    write_metadata(raw, [*into_shards(raw, rows[:1]), *rows[1:]])
    done = prepare_films(raw, raw.with_name("out"))
    assert done.left_out == {"same film twice": 1}
    assert "twin" not in {film.identifier for film in done.records}


OVER_FOLDERS: dict[str, tuple[dict[str, str], str]] = {
    "a patient in two splits": ({"patient_id": ROWS[-1]["patient_id"]}, "1 patients occur in more than one split"),
    "a name twice": ({"image_id": ROWS[3]["image_id"]}, f"image_id '{ROWS[3]['image_id']}' is used by 2 films"),
    "one without split": ({"split": ""}, "some films have a split and some have none"),
}


@pytest.mark.parametrize(("cells", "message"), OVER_FOLDERS.values(), ids=OVER_FOLDERS)
def test_rules_hold_over_all_folders(tmp_path: Path, raw: Path, cells: dict[str, str], message: str) -> None:
    write_films(tmp_path / "other", [OTHERS[0] | cells, *OTHERS[1:]], side=80)
    with pytest.raises(DatasetError, match=message):
        prepare_films([raw, tmp_path / "other"], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "raw"]


def test_a_film_that_is_in_no_shard(raw: Path) -> None:
    into_shards(raw, ROWS)
    write_metadata(raw, [ROWS[0] | {"shard": "shard-0.tar", "file": "elsewhere.png"}])
    refused(raw, "1 films that .*raw lists are in no shard")
    write_metadata(raw, [ROWS[0] | {"shard": "shard-9.tar"}])
    refused(raw, r"shard-9\.tar is missing")


# what later columns say


def test_every_column_is_kept(tmp_path: Path) -> None:
    cells = {"sex": "F", "license": "CC BY 4.0, as stated", "rsna_class": "No Lung Opacity / Not Normal"}
    row = ROWS[0] | cells | {"split": "test", "test_subset": "more"}
    film = prepared(write_films(tmp_path / "raw", [row])).records[0]
    assert (film.sex, film.licence, film.reading) == tuple(cells.values())
    assert (film.subset, film.set, film.split, film.part) == ("more", "raw", "test", "more")


def test_columns_that_are_not_there_are_empty(raw: Path) -> None:
    write_metadata(raw, ROWS, tuple(REQUIRED_COLUMNS | {"view"}))
    film = prepared(raw).records[0]
    assert (film.sex, film.licence, film.reading, film.subset, film.source) == ("",) * 5


@pytest.mark.parametrize(("written", "sex"), [("m", "M"), ("Female", "F"), ("O", ""), ("unknown", "")])
def test_sex_is_one_of_two_letters(tmp_path: Path, written: str, sex: str) -> None:
    assert prepared(write_films(tmp_path / "raw", [ROWS[0] | {"sex": written}])).records[0].sex == sex


@pytest.mark.parametrize(
    ("split", "subset", "part"),
    [("test", "more", "more"), ("test", "other", "test"), ("train", "more", "train"), ("test", "", "test")],
)
def test_only_test_films_of_the_subset_are_apart(raw: Path, split: str, subset: str, part: str) -> None:
    write_metadata(raw, [ROWS[0] | {"split": split, "test_subset": subset}, *ROWS[1:]])
    assert by_name(prepared(raw))[ROWS[0]["image_id"]].part == part


# splits


def test_films_without_a_split_are_assigned_by_patient(tmp_path: Path) -> None:
    rows = [row | {"split": "", "patient_id": f"p{at // 2}"} for at, row in enumerate(rows_for({"train": 20}))]
    raw = write_films(tmp_path / "raw", rows)
    done = prepare_films(raw, tmp_path / "a", shares=(0.6, 0.2, 0.2), seed=7)
    assert done.counts() == {label: {"train": 12, "val": 4, "test": 4} for label in FINDINGS}
    splits = {film.patient: film.split for film in done.records}
    assert all(splits[film.patient] == film.split for film in done.records)
    write_metadata(raw, rows[::-1], tuple(name for name in COLUMNS if name != "split"))
    assert prepare_films(raw, tmp_path / "b", shares=(0.6, 0.2, 0.2), seed=7).records == done.records
    assert prepare_films(raw, tmp_path / "c", shares=(0.6, 0.2, 0.2), seed=8).records != done.records
    for name in ("films.csv", "images.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_given_splits_are_kept(raw: Path) -> None:
    films = by_name(prepared(raw, shares=(0.0, 0.0, 1.0)))
    assert {name: film.split for name, film in films.items()} == {row["image_id"]: row["split"] for row in ROWS}


# what is wrong is said in one line, and nothing is left


def refused(raw: Path, message: str, **options: Any) -> None:
    before = sorted(raw.parent.iterdir())
    with pytest.raises(DatasetError, match=message) as error:
        prepare_films(raw, raw.with_name("out"), **options)
    assert "\n" not in str(error.value)
    assert sorted(raw.parent.iterdir()) == before


@pytest.mark.parametrize("column", sorted(REQUIRED_COLUMNS))
def test_missing_column_is_named(raw: Path, column: str) -> None:
    write_metadata(raw, ROWS, tuple(name for name in COLUMNS if name != column))
    refused(raw, f"lacks the columns {column}$")


def edit(**cells: str) -> Callable[[Path], None]:
    return lambda raw: write_metadata(raw, [ROWS[0] | cells, *ROWS[1:]])


def file_as(content: bytes) -> Callable[[Path], None]:
    return lambda raw: (raw / ROWS[0]["file"]).write_bytes(content) and None


def table_as(content: bytes) -> Callable[[Path], None]:
    return lambda raw: (raw / "metadata.csv").write_bytes(content) and None


FLOATS = cv2.imencode(".tiff", np.zeros((8, 8), np.float32))[1].tobytes()


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda raw: (raw / "metadata.csv").unlink(), r"metadata\.csv is missing"),
    "empty table": (lambda raw: write_metadata(raw, []), r"metadata\.csv names no film"),
    "no header": (table_as(b""), "lacks the columns file, image_id, label, patient_id"),
    "not text": (table_as(b"image_id,file,label,patient_id\n\xff\xfe"), r"metadata\.csv is not CSV in UTF-8"),
    "zero bytes": (table_as(b'image_id,file,label,patient_id\n"' + b"x" * 200_000), r"metadata\.csv is not CSV"),
    "no file": (lambda raw: (raw / ROWS[0]["file"]).unlink(), r"train-normal-0: .*train-normal-0\.png is missing"),
    "a folder": (edit(file="images"), "train-normal-0: .*images is missing"),
    "not a picture": (file_as(b"not a PNG"), "train-normal-0: .*not a readable JPEG or PNG"),
    "empty file": (file_as(b""), "train-normal-0: .*not a readable JPEG or PNG"),
    "cut file": (file_as(b"\x89PNG\r\n\x1a\n\0\0\0"), "train-normal-0: .*not a readable JPEG or PNG"),
    "float picture": (file_as(FLOATS), "train-normal-0: .*not a readable JPEG or PNG"),
    "label": (edit(label="Pneumonia"), "train-normal-0: label 'Pneumonia' is not one of normal, pneumonia, covid19"),
    "no label": (edit(label=""), "train-normal-0: label '' is not one of"),
    "split": (edit(split="validation"), "train-normal-0: split 'validation' is not one of train, val, test"),
    "one without split": (edit(split=""), "some films have a split and some have none"),
    "no patient": (edit(patient_id=" "), "train-normal-0: no patient_id"),
    "no name": (edit(image_id=""), "a film without image_id or file: images/train-normal-0.png"),
    "no file name": (edit(file=""), "a film without image_id or file: train-normal-0"),
    "name twice": (edit(image_id="val-covid19-0"), "image_id 'val-covid19-0' is used by 2 films"),
    "patient": (edit(patient_id=ROWS[-1]["patient_id"]), "1 patients occur in more than one split"),
    "age": (edit(age="old"), "train-normal-0: age 'old' is neither a number of years nor like 045Y"),
}


@pytest.mark.parametrize(("damage", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(raw: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(raw)
    refused(raw, message)


@pytest.mark.parametrize(
    "shares", [(0.5, 0.4), (1.2, -0.2), (0.25,) * 4, (), (float("nan"), 0.5), (float("inf"), 0.0)], ids=str
)
def test_shares_are_checked_before_films_are_read(raw: Path, shares: tuple[float, ...]) -> None:
    def read(_: Path) -> RawFilm:
        raise AssertionError("read a film")

    refused(raw, "must be up to three numbers of at least 0 that sum to 1", shares=shares, read=read)


def test_an_existing_folder_is_not_touched(raw: Path) -> None:
    out = raw.with_name("out")
    out.mkdir()
    (out / "mine").write_text("")
    refused(raw, "out exists: choose another folder")
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_an_interrupted_run_leaves_nothing(raw: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert total == len(ROWS)
        if done == 5:
            raise KeyboardInterrupt

    before = sorted(raw.parent.iterdir())
    with pytest.raises(KeyboardInterrupt):
        prepare_films(raw, raw.with_name("out"), advance=interrupt)
    assert sorted(raw.parent.iterdir()) == before


def test_what_a_killed_run_left_is_no_obstacle(raw: Path) -> None:
    left = raw.with_name("out.part")
    left.mkdir()
    (left / "films.csv").write_text("half")
    prepare_films(raw, raw.with_name("out"))
    assert not left.exists()
    assert sorted(path.name for path in raw.with_name("out").iterdir()) == ["films.csv", "images.npy", "prepared.json"]


BROKEN_DICOM = {
    "two frames": ({"NumberOfFrames": 2}, r"one: no radiograph in it: "),
    "colour": ({"PhotometricInterpretation": "RGB"}, "one: no radiograph in it: not_grayscale"),
    "no pixels": ({"PixelData": None}, "one: no radiograph in it: no_pixel_data"),
    "no UID": ({"SOPInstanceUID": ""}, "one: not a DICOM film: "),
}


@pytest.mark.parametrize(("attributes", "message"), BROKEN_DICOM.values(), ids=BROKEN_DICOM)
def test_dicom_without_a_film_is_named(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    if "SOPInstanceUID" in attributes:
        content = write_film(tmp_path, "film").read_bytes()
        (tmp_path / "film.dcm").write_bytes(content[: len(content) // 8])
    else:
        write_film(tmp_path, "film", **attributes)
    with pytest.raises(DatasetError, match=message) as error:
        one_film(tmp_path)
    assert "\n" not in str(error.value)


def test_findings_of_ones_own(tmp_path: Path) -> None:
    rows = [row | {"label": {"pneumonia": "tb"}.get(row["label"], "normal")} for row in ROWS]
    raw = write_films(tmp_path / "raw", rows)
    done = prepare_films(raw, tmp_path / "own", findings=("normal", "tb"))
    assert done.counts() == {
        "normal": {"train": 4, "val": 2, "test": 0},
        "tb": {"train": 2, "val": 1, "test": 0},
    }
    films, _ = open_prepared(tmp_path / "own")
    assert films.findings == ("normal", "tb")
    assert [films.findings[label] for label in films.labels] == [film.label for film in films.records]
    refused(raw, "label 'tb' is not one of normal, pneumonia, covid19")
    refused(raw, "label 'normal' is not one of clear, tb", findings=("clear", "tb"))
    refused(raw, "at least two that differ", findings=("normal",))
    refused(raw, "normal is the negative one, name it first", findings=("tb", "normal"))


def test_the_table_of_a_prepared_set_is_plain_csv(raw: Path) -> None:
    prepared(raw)
    with raw.with_name("raw-prepared").joinpath("films.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["identifier"] for row in rows] == sorted(row["image_id"] for row in ROWS)
    assert {row["label"] for row in rows} == set(FINDINGS)
