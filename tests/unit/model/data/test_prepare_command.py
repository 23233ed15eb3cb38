"""`xrayq prepare`: its table, its JSON, its refusals."""

import json
from pathlib import Path

import pytest

from model.data.dataset import open_prepared
from model.preprocess import PreprocessSpec
from tests.services import typed
from tests.unit.model.films import COLUMNS, into_shards, rows_for, twin_of, write_films, write_metadata

SPEC = PreprocessSpec(size=32)
ROWS = rows_for({"train": 2, "val": 1})


def test_xrayq_prepare_shows_a_table(tmp_path: Path) -> None:
    rows = rows_for({"train": 4, "val": 1})
    twin_of(write_films(tmp_path / "raw", rows), rows)
    done = typed("prepare", "raw", "--out", "runs/films", "--size", "32", cwd=tmp_path)
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
    again = typed("prepare", "raw", "--out", "runs/films", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (1, "", 1)
    assert again.stderr.startswith("xrayq: runs/films exists")


def test_xrayq_prepare_json(tmp_path: Path) -> None:
    rows = [row | {"view": "AP" if row["label"] == "covid19" else "PA"} for row in rows_for({"train": 4})]
    raw = write_films(tmp_path / "raw", rows)
    write_metadata(raw, rows, tuple(name for name in COLUMNS if name != "split"))
    words = ["prepare", "raw", "--size", "32", "--split", "2/1/1", "--json"]
    done = typed(*words, "--out", "a", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    report = json.loads(done.stdout)
    assert report["folder"] == "a"
    counts = {"train": 2, "val": 1, "test": 1}
    assert report["films"] == {"normal": counts, "pneumonia": counts, "covid19": dict.fromkeys(counts, 0)}
    assert report["left_out"] == {"view AP": 4}
    names = set(open_prepared(tmp_path / "a")[0].identifiers)
    assert all(set(pair) <= names for pair in report["look_alikes"])
    every = json.loads(typed(*words, "--out", "b", "--views", "all", cwd=tmp_path).stdout)
    assert (every["films"]["covid19"], every["left_out"]) == (counts, {})


def test_xrayq_prepare_of_several_folders_by_source_and_licence(tmp_path: Path) -> None:
    stated = {"train": ("CC BY 4.0", "a"), "val": ("CC BY-NC 4.0", "b"), "test": ("", "")}
    rows = rows_for({"train": 2, "val": 1, "test": 1})
    rows = [
        row | dict(zip(("license", "source"), stated[row["split"]], strict=True)) | {"test_subset": "more"}
        for row in rows
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    write_films(first, rows[:4])
    write_films(second, rows[4:], side=80)
    into_shards(second, rows[4:])
    words = ["prepare", "first", "second", "--size", "32"]
    listed = typed(*words, "--list-licences", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, ""), listed.stderr
    assert [line.split(maxsplit=1) for line in listed.stdout.splitlines()] == [
        ["6", "CC BY 4.0"],
        ["3", "CC BY-NC 4.0"],
        ["3", "not given"],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]
    whole = typed(*words, "--out", "whole", cwd=tmp_path).stdout
    table = [line.replace("┃", " ").replace("│", " ").split() for line in whole.splitlines()]
    assert ["class", "train", "val", "test", "more", "all"] in table
    assert ["all", "6", "3", "0", "3", "12"] in table
    assert "licence:      6  CC BY 4.0" in whole
    done = typed(*words, "--licences", "cc by", "--without-licences", "-NC", "--out", "free", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "left out:     3  licence CC BY-NC 4.0" in done.stdout
    assert "left out:     3  licence not given" in done.stdout
    assert {film.licence for film in open_prepared(tmp_path / "free")[0].records} == {"CC BY 4.0"}
    done = typed(*words, "--without-sources", "b", "--sources", "a,b", "--json", "--out", "a", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert report["left_out"] == {"source b": 3, "source not given": 3}
    assert report["licences"] == {"CC BY 4.0": 6}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 3, "no such folder or file: nowhere"),
        (["raw", "--split", "most"], 2, "--split 'most': give shares as 70/15/15"),
        (["raw", "--split", "0/0"], 2, "--split '0/0': give shares"),
        (["raw", "--split", "1/1/1/1"], 1, "up to three numbers"),
        (["raw", "--split", "nan/1"], 1, "up to three numbers"),
        (["raw", "--sources", "here"], 1, "no film has the source 'here'; there are none"),
        (["raw", "--findings", "normal"], 1, "at least two that differ, the negative one first"),
        (["raw", "--findings", "normal,tb"], 1, "is not one of normal, tb"),
        (["raw", "nowhere"], 3, "no such folder or file: nowhere"),
        (["raw", "--views", "LL"], 1, "no film of view LL"),
    ],
)
def test_xrayq_prepare_says_what_is_wrong(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    write_films(tmp_path / "raw", ROWS)
    done = typed("prepare", *words, "--out", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith("xrayq: ")
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]
