"""Raw films to a prepared set: the pixels of serving, every rule about films, and nothing left behind."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid

from model.dataset import Film, Films, open_prepared
from model.errors import DatasetError
from model.findings import FINDINGS
from model.prepare import REQUIRED_COLUMNS, RawFilm, read_image, source_statistics
from model.preprocess import PreprocessSpec, to_input
from tests.phantoms import chest_pixels, write_film
from tests.unit.model.films import COLUMNS, Row, class_pixels, prepare_films, rows_for, write_films, write_metadata
from tests.unit.worker.test_cli import xrayq
from worker.cli.prepare import read_film
from worker.decoding import decode_film

SPEC = PreprocessSpec(size=32)
ROWS = rows_for({"train": 2, "val": 1})


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_films(tmp_path / "raw", ROWS)


def prepared(raw: Path, **options: Any) -> Films:
    out = raw.with_name(f"{raw.name}-prepared")
    prepare_films(raw, out, **options)
    return open_prepared(out)[0]


def by_name(films: Films) -> dict[str, Film]:
    return dict(zip(films.identifiers, films.records, strict=True))


def one_film(raw: Path, file: str = "film.dcm", **cells: str) -> Films:
    """A set of this one file, in `raw` already, read as the command does."""
    row = {"image_id": "one", "file": file, "label": "normal", "patient_id": "p", "split": "train"} | cells
    write_metadata(raw, [row])
    return prepared(raw, read=read_film, views=())


# pixels


def test_films_are_preprocessed_as_in_serving(raw: Path) -> None:
    films = prepared(raw)
    assert (films.images.dtype, films.images.shape) == (np.uint8, (len(ROWS), 1, 32, 32))
    assert films.identifiers == tuple(sorted(row["image_id"] for row in ROWS))
    for seed, row in enumerate(ROWS):
        expected = to_input(class_pixels(row["label"], seed), low=0, high=255, spec=SPEC)
        assert np.array_equal(films.images[films.identifiers.index(row["image_id"]), 0], expected)


@pytest.mark.parametrize(
    ("suffix", "dtype", "slack"), [(".png", np.uint8, 0), (".png", np.uint16, 1), (".jpg", np.uint8, 4)]
)
def test_image_formats(tmp_path: Path, suffix: str, dtype: type, slack: int) -> None:
    pixels = class_pixels("normal", 1).astype(dtype) * (257 if dtype is np.uint16 else 1)
    path = tmp_path / f"film{suffix}"
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    film = read_image(path)
    assert (film.pixels.dtype, film.low, film.high, film.inverted) == (dtype, 0, np.iinfo(dtype).max, False)
    plain = to_input(class_pixels("normal", 1), low=0, high=255, spec=SPEC).astype(int)
    found = to_input(film.pixels, low=film.low, high=film.high, spec=SPEC)
    assert np.abs(found - plain).max() <= slack


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    """A film whose values all lie within one 8-bit step."""
    pixels = (30_000 + chest_pixels(64, 64) // 64).astype(np.uint16)
    (tmp_path / "film.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    assert np.array_equal(read_image(tmp_path / "film.png").pixels, pixels)


DICOM = {
    "plain": {},
    "monochrome1": {"PhotometricInterpretation": "MONOCHROME1"},
    "window": {"WindowCenter": "1800", "WindowWidth": "400"},
    "two windows": {"WindowCenter": ["1800", "900"], "WindowWidth": ["400", "80"]},
    "monochrome1 window": {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "1800", "WindowWidth": "400"},
    "rescale": {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "2600", "WindowWidth": "800"},
    "sigmoid": {"WindowCenter": "1800", "WindowWidth": "400", "VOILUTFunction": "SIGMOID"},
}


@pytest.mark.parametrize("attributes", DICOM.values(), ids=DICOM)
def test_dicom_gives_the_pixels_that_serving_scores(tmp_path: Path, attributes: dict[str, Any]) -> None:
    film = write_film(tmp_path, "film", **attributes)
    served = decode_film(str(film), SPEC, 10_000_000)
    assert served.image is not None, served.reason
    assert np.array_equal(one_film(tmp_path).images[0, 0], served.image)


def shown(folder: Path, **attributes: Any) -> NDArray[np.int64]:
    folder.mkdir()
    write_film(folder, "film", **attributes)
    return one_film(folder).images[0, 0].astype(int)


def test_monochrome1_and_windows_are_honoured(tmp_path: Path) -> None:
    pixels = chest_pixels(96, 96)
    plain = shown(tmp_path / "plain", pixels=pixels)
    turned = {"pixels": 4095 - pixels, "PhotometricInterpretation": "MONOCHROME1"}
    assert np.abs(shown(tmp_path / "turned", **turned) - plain).max() <= 1
    narrow = shown(tmp_path / "window", pixels=pixels, WindowCenter="1800", WindowWidth="401")
    edges = {"low": 1800 - 0.5 - 200, "high": 1800 - 0.5 + 200}  # PS3.3 C.11.2.1.2.1
    assert np.array_equal(narrow, to_input(pixels, **edges, spec=SPEC))
    assert np.abs(narrow - plain).max() > 50


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.ImplicitVRLittleEndian])
def test_compressed_dicom(tmp_path: Path, syntax: str) -> None:
    write_film(tmp_path, "film", syntax=syntax)
    pixels = chest_pixels()
    expected = to_input(pixels, low=float(pixels.min()), high=float(pixels.max()), spec=SPEC)
    assert np.array_equal(one_film(tmp_path).images[0, 0], expected)


def test_source_statistics() -> None:
    pixels = np.zeros((10, 20), np.uint8)
    pixels[:, 15:], pixels[:, 10:15] = 255, 51
    film = RawFilm(pixels=pixels, low=0, high=255)
    expected = {
        "aspect": 2.0,
        "mean": 0.3,
        "spread": round(float((pixels / 255).std()), 5),
        "black": 0.5,
        "white": 0.25,
    }
    assert source_statistics(film) == pytest.approx(expected)
    inverted = source_statistics(replace(film, inverted=True))
    assert inverted == pytest.approx(expected | {"mean": 0.7, "black": 0.25, "white": 0.5})
    assert source_statistics(replace(film, low=51.0, high=52.0))["black"] == 0.75  # the window decides


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


def twin_of(raw: Path, rows: list[Row], **cells: str) -> list[Row]:
    """The first film once more under another name."""
    twin = rows[0] | {"image_id": "twin", "file": "images/twin.png", "patient_id": "another"} | cells
    (raw / twin["file"]).write_bytes((raw / rows[0]["file"]).read_bytes())
    write_metadata(raw, [*rows, twin])
    return [*rows, twin]


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
    "age": (edit(age="045Y"), "train-normal-0: age '045Y' is not a number of years"),
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


# the command


def test_xrayq_prepare_shows_a_table(tmp_path: Path) -> None:
    rows = rows_for({"train": 4, "val": 1})
    twin_of(write_films(tmp_path / "raw", rows), rows)
    done = xrayq("prepare", "raw", "--out", "runs/films", "--size", "32", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    table = [line.replace("│", " ").split() for line in done.stdout.splitlines()]
    assert ["covid19", "4", "1", "0", "5"] in table
    assert ["all", "12", "3", "0", "15"] in table
    text = " ".join(done.stdout.split())
    assert "15 films of 15 patients; no patient is in two splits." in text
    assert "left out: 1 same film twice" in text
    assert text.count("look alike, in different splits: train-") == 10  # phantoms of a class are
    assert "and 2 more pairs look alike: --json lists them" in text
    assert "next, xrayq train runs/films" in text
    films, spec = open_prepared(tmp_path / "runs" / "films")
    assert (len(films), spec) == (15, SPEC)
    again = xrayq("prepare", "raw", "--out", "runs/films", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    assert again.stderr.startswith("xrayq: runs/films exists")


def test_xrayq_prepare_json(tmp_path: Path) -> None:
    rows = [row | {"view": "AP" if row["label"] == "covid19" else "PA"} for row in rows_for({"train": 4})]
    raw = write_films(tmp_path / "raw", rows)
    write_metadata(raw, rows, tuple(name for name in COLUMNS if name != "split"))
    words = ["prepare", "raw", "--size", "32", "--split", "2/1/1", "--json"]
    done = xrayq(*words, "--out", "a", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    report = json.loads(done.stdout)
    assert report["folder"] == "a"
    counts = {"train": 2, "val": 1, "test": 1}
    assert report["films"] == {"normal": counts, "pneumonia": counts, "covid19": dict.fromkeys(counts, 0)}
    assert report["left_out"] == {"view AP": 4}
    names = set(open_prepared(tmp_path / "a")[0].identifiers)
    assert all(set(pair) <= names for pair in report["look_alikes"])
    every = json.loads(xrayq(*words, "--out", "b", "--views", "all", cwd=tmp_path).stdout)
    assert (every["films"]["covid19"], every["left_out"]) == (counts, {})


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 1, "nowhere/metadata.csv is missing"),
        (["raw", "--split", "most"], 2, "--split 'most': give shares as 70/15/15"),
        (["raw", "--split", "0/0"], 2, "--split '0/0': give shares"),
        (["raw", "--split", "1/1/1/1"], 1, "up to three numbers"),
        (["raw", "--split", "nan/1"], 1, "up to three numbers"),
        (["raw", "--views", "LL"], 1, "no film of view LL"),
    ],
)
def test_xrayq_prepare_says_what_is_wrong(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    write_films(tmp_path / "raw", ROWS)
    done = xrayq("prepare", *words, "--out", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith("xrayq: ")
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_the_table_of_a_prepared_set_is_plain_csv(raw: Path) -> None:
    prepared(raw)
    with raw.with_name("raw-prepared").joinpath("films.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["identifier"] for row in rows] == sorted(row["image_id"] for row in ROWS)
    assert {row["label"] for row in rows} == set(FINDINGS)
