"""`xrayq evaluate` with films that no training saw, held out or of a source never seen, and with other copies."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnx")
pytest.importorskip("torch")

from model import bundle as bundles
from model.data.bundle_films import films_for
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.questions import NO_OPACITY
from tests.services import Xrayq
from tests.unit.model.data.test_never_trained import HELD_OUT, OTHERS, SHARE, read_films, set_of
from tests.unit.model.films import Row, prepare_films, rows_for, write_films
from tests.unit.model.prepared_set import rows
from tests.unit.model.tiny import SIZE, deep_network, tiny_bundle

TRUNK = {"films": 100, "held_out": SHARE, "labels": ["nih:Mass"]}
WORDS = "evaluate trained --films films --auxiliary aux --unseen aux=openist:normal --copies copies --out"


def one_source() -> list[Row]:
    """Test films of both findings from ieee8023, of enough patients for an interval."""
    made = rows()
    for row in made:
        if (row["split"], row["label"]) == ("test", "pneumonia"):
            row["source"] = "ieee8023"
    return made


def more() -> list[Row]:
    made = [row | {"source": "siim", "test_subset": "more", "sex": "F", "age": "50"} for row in rows_for({"test": 3})]
    return [row | {name: f"more-{row[name]}" for name in ("image_id", "patient_id")} for row in made]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bundles whose trunk held a half of the auxiliary patients out, and none, trained on films; two of other films or
    of films not said; films, aux and copies."""
    raw = [write_films(tmp_path / "raw", one_source(), side=96), write_films(tmp_path / "more", more(), side=90)]
    prepare_films(raw, tmp_path / "films", size=SIZE, views=())
    plain = tiny_bundle(tmp_path / "made", network=deep_network)
    made = {"pretraining": TRUNK, "data_digest": films_for(plain, tmp_path / "films").digest}
    careless = made | {"pretraining": TRUNK | {"held_out": 0.0}}
    bundles.derive(plain, tmp_path / "trained", provenance=made)
    bundles.derive(plain, tmp_path / "careless", provenance=careless)
    bundles.derive(plain, tmp_path / "elsewhere", provenance=made | {"data_digest": "0" * 64})
    bundles.derive(plain, tmp_path / "unsaid", provenance={"pretraining": TRUNK})
    some = [row for row in rows() if row["split"] == "val"]
    prepare_films(write_films(tmp_path / "native", some, side=300), tmp_path / "copies", size=SIZE, views=())
    read = [*read_films(HELD_OUT[:6], NO_OPACITY), *read_films([*HELD_OUT[6:9], *OTHERS[:4]])]
    unseen = [{"image_id": f"o{number}", "source": "openist", "labels": "normal"} for number in range(4)]
    set_of(tmp_path / "aux", [*read, *unseen])
    return tmp_path


@pytest.mark.slow
def test_second_run_writes_the_same_bytes(folder: Path, xrayq: Xrayq) -> None:
    """One prints JSON, the other the tables for people."""
    written, printed = [], []
    for out, more_words in (("one", ["--json"]), ("two", [])):
        code, said, error = xrayq(*WORDS.split(), out, *more_words)
        assert code == 0, error
        written.append({path.name: path.read_bytes() for path in (folder / out).iterdir()})
        printed.append(said)
    assert written[0] == written[1]
    content = json.loads(written[0]["evaluation.json"])
    assert json.loads(printed[0]) == content
    assert str(folder) not in json.dumps(content)
    for words in ("network, more", "siim: COVID-19 against normal", "unseen, openist", "1 - p(normal)"):
        assert words in printed[1]
    page = written[0]["report.html"].decode()
    for words in (
        "prepared from: native",
        "Held out: 0.5",
        "Where the bundle has a gate, it may",
        "source never trained on: openist",
        "more, all views",
    ):
        assert words in page
    as_it_was_read(content)
    all_is_measured(content)


def as_it_was_read(content: dict[str, Any]) -> None:
    assert EvaluationContent.read(content).as_dict() == content
    new = {"questions", "normals_flagged", "other_films", "copies"}
    older = {name: value for name, value in content.items() if name not in new}
    assert EvaluationContent.read(older).as_dict() == older


def all_is_measured(content: dict[str, Any]) -> None:
    assert content["parts"]["more"]["films"] == {"normal": 3, "pneumonia": 3, "covid19": 3}
    questions = {row["name"]: row for row in content["questions"]}
    assert questions["covid19_normal_siim_more"]["auroc"]["value"] is not None
    assert questions["pneumonia_no_opacity_nih"]["negatives"]["films"] == 6
    fair = content["fair"]["test_all"]["network"]["auroc"]
    assert questions["covid19_pneumonia_ieee8023"]["auroc"] == {name: fair[name] for name in ("value", "interval95")}
    normals = {(row["part"], row["group"], row["name"]): row for row in content["normals_flagged"]}
    assert normals["auxiliary", "source", "nih"]["films"] == 3
    assert normals["unseen", "source", "openist"]["films"] == 4
    assert normals["more", "sex", "women"]["films"] == 3
    assert content["other_films"]["held_out"] == SHARE
    assert [(films["part"], films["films"]) for films in content["other_films"]["films"]] == [
        ("auxiliary", 9), ("unseen", 4),
    ]  # fmt: skip
    assert (content["copies"]["films"], content["copies"]["agreement"]["films"]) == ({"val": 9}, 9)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("careless --auxiliary aux", 1, "not every training behind it held auxiliary patients out"),
        ("careless --unseen aux=nih:Mass", 1, "the prepared set has films of nih in train or val"),
        ("elsewhere --auxiliary aux", 1, "was trained on other films than films holds"),
        ("elsewhere --unseen aux=openist:normal", 1, "was trained on other films than films holds"),
        ("unsaid --auxiliary aux", 1, "or does not say on which: no film can be told to be unseen by it"),
        ("trained --auxiliary aux --out raw/metadata.csv", 1, "raw/metadata.csv is not a folder"),
        ("trained --unseen aux", 2, "write it as FOLDER=source:label"),
        ("trained --unseen none=a:b", 3, "no such folder or file: none"),
        ("trained --auxiliary none", 3, "no such folder or file: none"),
        ("trained --copies none", 3, "no such folder or file: none"),
        ("trained --copies raw", 1, "is not a prepared set"),
        ("trained --auxiliary raw", 1, "lacks the columns"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_writes_nothing(
    words: str, code: int, said: str, folder: Path, xrayq: Xrayq
) -> None:
    ended, _, error = xrayq(*f"evaluate --films films --out report {words}".split())
    assert (ended, said in error, error.count("\n")) == (code, True, 1), error
    assert not (folder / "report").exists()


def test_copies_of_other_films_are_refused(folder: Path, xrayq: Xrayq) -> None:
    prepare_films(write_films(folder / "others", more()), folder / "strange", size=SIZE, views=())
    prepare_films([folder / "raw"], folder / "without-more", size=SIZE, views=())
    words = "evaluate trained --films without-more --copies strange --out report"
    ended, _, error = xrayq(*words.split())
    assert ended == 1
    assert "has no film of the evaluated set: films are paired by image_id" in error
