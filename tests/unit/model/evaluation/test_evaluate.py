"""`xrayq evaluate`: the same figures on every run, and each is what its name says."""

import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from model.bundle import Bundle, load
from model.calibration import log_losses, probabilities
from model.conformal import Conformal
from model.data.dataset import load_dataset
from model.engine.ort import OrtEngine
from model.errors import DatasetError
from model.evaluation.comparisons import difference
from model.evaluation.evaluate import Evaluation, json_text
from model.evaluation.papers import start_words
from model.evaluation.scored import predictions_text
from model.evaluation.shares import share_over_patients
from model.findings import FINDINGS
from model.pages.sections import calibration
from model.scorer import score
from model.stats.reliability import mean_interval
from model.study_table import read_study
from tests.services import environment, typed
from tests.unit.model.conftest import TEMPERATURE, THRESHOLDS
from tests.unit.model.films import prepare_films, rows_for, write_films
from tests.unit.model.prepared_set import evaluated, prepared
from worker.cli.common import require
from worker.errors import Unhealthy

STUDY: dict[str, Any] = {
    "study": "lr",
    "title": "Rates",
    "columns": ["rate", "accuracy"],
    "rows": [["1e-4", 0.61], ["1e-3", None]],
    "note": "A note.",
    "provenance": {"seed": 2020},
}
WITHOUT_TORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from worker.cli import main

main()
"""


@pytest.fixture
def films(evaluated_films: Path) -> Path:
    return evaluated_films


@pytest.fixture(scope="module")
def content(evaluation: Evaluation) -> dict[str, Any]:
    return evaluation.content.as_dict()


@pytest.fixture(scope="module")
def table(evaluation: Evaluation) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(predictions_text(evaluation.scored, evaluation.content.bundle.digest))))


def rows_of(table: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    return [row for row in table if row["split"] == "test" and all(row[key] == one for key, one in wanted.items())]


def accuracy(rows: list[dict[str, str]]) -> float:
    return round(float(np.mean([row["label"] == row["called"] for row in rows])), 4)


def test_second_run_elsewhere_writes_the_same_bytes(
    evaluation: Evaluation, bundle: Bundle, films: Path, tmp_path: Path
) -> None:
    shutil.copytree(films, tmp_path / "copy")
    shutil.copytree(bundle.path, tmp_path / "bundle")
    again = evaluated(load(tmp_path / "bundle"), tmp_path / "copy")
    assert json_text(again.content) == json_text(evaluation.content)
    assert predictions_text(again.scored, evaluation.content.bundle.digest) == predictions_text(
        evaluation.scored, evaluation.content.bundle.digest
    )
    assert str(films) not in json_text(evaluation.content)
    assert str(bundle.path) not in json_text(evaluation.content)


def test_another_answer_changes_the_bytes(evaluation: Evaluation) -> None:
    """The comparison above can fail: a flipped call shows."""
    content = evaluation.content
    test = content.parts["test"]
    (first, *cells), *rows = test.summary.confusion
    flipped = replace(test, summary=replace(test.summary, confusion=((first + 1, *cells), *rows)))
    assert json_text(replace(content, parts=content.parts | {"test": flipped})) != json_text(content)


def test_every_film_is_scored_as_the_service_does(
    table: list[dict[str, str]], evaluation: Evaluation, bundle: Bundle
) -> None:
    films = evaluation.scored.films
    assert [row["identifier"] for row in table] == list(films.identifiers)
    engine = OrtEngine(bundle, threads=1)
    for number in (0, 17, 41):
        (served,) = score(engine, bundle, films.take(np.array([number])))
        for finding in FINDINGS:
            assert float(table[number][f"p_{finding}"]) == pytest.approx(served.probabilities[finding], abs=1e-4)
            assert float(table[number][f"logit_{finding}"]) == pytest.approx(served.logits[finding], abs=1e-3)
        assert table[number]["flags"].split() == list(served.flags)


def test_parts_are_the_films_they_name(content: dict[str, Any], table: list[dict[str, str]]) -> None:
    counts = {name: sum(part["films"].values()) for name, part in content["parts"].items()}
    assert counts == {"train": 15, "val": 6, "test": 12, "test_all": 15}
    assert content["parts"]["test"]["summary"]["accuracy"]["value"] == accuracy(rows_of(table, view="PA"))
    assert content["parts"]["test_all"]["summary"]["accuracy"]["value"] == accuracy(rows_of(table))
    assert content["data"]["films"]["test"]["AP"] == dict.fromkeys(FINDINGS, 1)


def test_the_subset_more_changes_no_figure_of_the_others(
    bundle: Bundle, content: dict[str, Any], films: Path, tmp_path: Path
) -> None:
    """In predictions.csv under a split of its own; measured as a part, with slices and questions of its own."""
    more = [
        row | {"image_id": f"more-{row['image_id']}", "patient_id": f"more-{row['image_id']}", "test_subset": "more"}
        for row in rows_for({"test": 2})
    ]
    write_films(tmp_path / "more", more, side=90)
    prepare_films([films.parent / "raw", tmp_path / "more"], tmp_path / "films", size=224, views=())
    found = evaluated(bundle, tmp_path / "films")
    new, written = (
        found.content.as_dict(),
        list(csv.DictReader(io.StringIO(predictions_text(found.scored, bundle.digest)))),
    )
    assert {row["split"] for row in written if row["identifier"].startswith("more-")} == {"more"}
    assert len(written) == 42 + len(more)
    parts, baselines = new["parts"], new["baselines"]
    assert parts.pop("more")["films"] == dict.fromkeys(FINDINGS, 2)
    for rival in ("svm", "shortcut"):
        assert baselines[rival].pop("more")["summary"]["films"] == len(more)
    for name in ("films", "sources", "patients"):
        new["data"][name].pop("more")
    for name in ("slices", "normals_flagged"):
        assert len(new[name]) > len(content[name])
        new[name] = [row for row in new[name] if "more" not in (row["of"], row.get("part"))]
    different = {name for name in content if content[name] != new[name]}
    assert different == {"data", "questions"}
    changed = {"digest", "people", "flow"}
    assert {name for name in content["data"] if content["data"][name] != new["data"][name]} == changed
    more = new["data"]["people"].pop("more")
    assert (more["all"]["films"], new["data"]["flow"]["prepared"]) == (6, 48)
    assert new["data"]["people"] == content["data"]["people"]
    tested = [
        [row for row in one["questions"] if row["name"].endswith(("_test", "_test_all"))] for one in (content, new)
    ]
    assert tested[0] == tested[1] != []


def test_slices_are_the_films_they_name(content: dict[str, Any], table: list[dict[str, str]]) -> None:
    found = {(one["group"], one["name"]): one for one in content["slices"]}
    assert set(found) == {
        ("all", "test"), ("view", "AP"), ("view", "PA"), ("source", "ieee8023"), ("source", "nih"),
        ("label", "confirmed"), ("label", "report-mined"),
    }  # fmt: skip
    assert found["view", "AP"]["accuracy"]["value"] == accuracy(rows_of(table, view="AP"))
    assert found["source", "nih"]["accuracy"]["value"] == accuracy(rows_of(table, view="PA", source="nih"))
    mined = rows_of(table, view="PA", label_basis="nih_report_nlp")
    assert found["label", "report-mined"]["accuracy"] | {"interval95": None} == {
        "value": accuracy(mined), "n": len(mined), "interval95": None,
    }  # fmt: skip
    assert found["label", "confirmed"]["accuracy"]["n"] + len(mined) == 12


def test_fair_slice_is_two_classes_of_one_source(content: dict[str, Any], table: list[dict[str, str]]) -> None:
    rows = [row for row in rows_of(table, source="ieee8023") if row["label"] != "normal"]
    right = [(float(row["p_covid19"]) > float(row["p_pneumonia"])) == (row["label"] == "covid19") for row in rows]
    found = content["fair"]["test_all"]["network"]
    assert found["films"] == len(rows) == 7
    assert found["accuracy"]["value"] == round(float(np.mean(right)), 4)
    share = [float(row["p_covid19"]) / (float(row["p_covid19"]) + float(row["p_pneumonia"])) for row in rows]
    pairs = [
        (one > other) + (one == other) / 2
        for one, a in zip(share, rows, strict=True)
        for other, b in zip(share, rows, strict=True)
        if a["label"] == "covid19" and b["label"] == "pneumonia"
    ]
    assert found["auroc"]["value"] == pytest.approx(np.mean(pairs), abs=1e-4)


def test_flags_are_those_of_the_operating_points(content: dict[str, Any]) -> None:
    """The fixture's pneumonia flag is always up and its COVID-19 flag never."""
    flags = content["parts"]["test"]["flags"]
    assert set(flags) == set(THRESHOLDS)
    assert [flags["pneumonia"][rate]["value"] for rate in ("sensitivity", "specificity")] == [1.0, 0.0]
    assert [flags["covid19"][rate]["value"] for rate in ("sensitivity", "specificity")] == [0.0, 1.0]
    assert flags["covid19"]["precision"]["value"] is None


def test_reliability_is_before_and_after_the_temperature(content: dict[str, Any], evaluation: Evaluation) -> None:
    part = evaluation.scored.where(lambda film: film.split == "test" and film.view == "PA")
    found = content["parts"]["test"]["reliability"]
    for when, temperature in (("before", 1.0), ("after", TEMPERATURE)):
        losses = log_losses(probabilities(part.logits, temperature), part.labels)
        assert found[when]["log_loss"] == pytest.approx(losses.mean(), abs=1e-4)
    assert found["before"]["log_loss"] != found["after"]["log_loss"]


def test_wrong_and_right_films(content: dict[str, Any], table: list[dict[str, str]]) -> None:
    missed = {row["identifier"] for row in rows_of(table, view="PA") if row["label"] != row["called"]}
    assert {one["identifier"] for one in content["wrong"]} == missed
    assert missed, "a random network that errs nowhere shows nothing"
    confidence = [max(one["probabilities"].values()) for one in content["wrong"]]
    assert confidence == sorted(confidence, reverse=True)
    shown = {one["identifier"] for entries in content["right"].values() for one in entries}
    assert shown
    assert not shown & missed


def test_baselines_answer_on_the_same_films(content: dict[str, Any]) -> None:
    for name in ("svm", "shortcut"):
        for part, measured in content["parts"].items():
            assert content["baselines"][name][part]["summary"]["films"] == measured["summary"]["films"], (name, part)
    assert set(content["baselines"]["statistics"]["test"]) == {"aspect", "mean", "spread", "black", "white", "shape"}
    assert content["baselines"]["covidnet"]["accuracy"]["value"] == round(194 / 210, 4)


def test_training_on_more_views_is_read_off_the_bundle(content: dict[str, Any], bundle: Bundle, films: Path) -> None:
    """The fixture says nothing of its training, which is then its own views'. One that says more has two SVMs."""
    assert content["data"]["views"] == content["data"]["train_views"] == ["PA"]
    assert not content["data"]["trained_on"]
    assert "svm_own_views" not in content["baselines"]
    digest = load_dataset(films, views=("PA",), train_views=()).digest
    made = {"views": ["PA"], "train_views": ["all"], "data_digest": digest, "history": [{"epoch": 1}]}
    found = evaluated(replace(bundle, provenance=made), films).content.as_dict()
    assert found["data"]["trained_on"]
    assert found["learning_curve"] == [{"epoch": 1}]
    assert found["baselines"]["svm"]["fitted"]["summary"]["films"] == 18
    assert found["baselines"]["svm_own_views"]["train"]["summary"]["films"] == 15
    assert "has 18, and starts from: weights not said" in found["paper"]["why_different"][-1]
    assert found["parts"]["test"] == content["parts"]["test"]


def test_difference_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    first, second = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 0, 0, 0, 1])
    found = difference(first, second, labels, list("abcdef"))
    assert found.accuracy.value == round(5 / 6 - 4 / 6, 4)
    assert found.balanced_accuracy.value == round((3 / 4 + 1) / 2 - (3 / 4 + 1 / 2) / 2, 4)
    assert (found.mcnemar.first_only, found.mcnemar.second_only) == (2, 1)
    low, high = found.accuracy.interval95 or (1.0, 0.0)
    assert low < (found.accuracy.value or 0.0) < high


def test_intervals() -> None:
    patients = [str(number) for number in range(40)]
    hit = np.arange(40) % 2 == 0
    low, high = share_over_patients(hit, np.ones(40, bool), patients) or (0.0, 0.0)
    assert 0.3 < low < 0.5 < high < 0.7
    assert share_over_patients(hit, np.zeros(40, bool), patients) is None
    assert mean_interval(np.full(40, 0.25), patients) == (0.25, 0.25)


def test_set_prepared_otherwise_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = prepared(tmp_path, size=32)
    with pytest.raises(DatasetError, match=r"prepared with size 32.*bundle random needs size 224"):
        evaluated(bundle, other)
    ran = typed("evaluate", str(bundle.path), "--films", str(other), "--out", str(tmp_path / "report"))
    assert ran.returncode == 1
    assert ran.stderr.startswith("xrayq: ")
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_missing_things_are_named(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    for words in (
        ("evaluate", str(bundle.path), "--films", str(tmp_path / "none")),
        ("evaluate", str(tmp_path / "none"), "--films", str(films)),
        ("evaluate", str(bundle.path), "--films", str(films), "--study", str(tmp_path / "none")),
    ):
        ran = typed(*words, "--out", str(tmp_path / "report"))
        assert ran.returncode == 3, ran.stderr
        assert "none" in ran.stderr


def test_split_without_a_class_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    from tests.unit.model.films import prepare_films, write_films
    from tests.unit.model.prepared_set import rows

    few = [row for row in rows() if (row["split"], row["label"]) != ("val", "covid19")]
    prepare_films(write_films(tmp_path / "raw", few), tmp_path / "films", size=224, views=())
    with pytest.raises(DatasetError, match="every class in val"):
        evaluated(bundle, tmp_path / "films")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": [[1]]}, "2 cells"),
        ({"title": 3}, "texts"),
        ({"columns": None}, "NoneType"),
        ({"note": None}, "texts"),
    ],
)
def test_malformed_study_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(STUDY | change))
    with pytest.raises(DatasetError, match=rf"study\.json.*{said}"):
        read_study(tmp_path / "study.json")


def test_study_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    assert read_study(tmp_path / "study.json").as_dict() == STUDY


@pytest.mark.slow
def test_command_without_torch(bundle: Bundle, films: Path, evaluation: Evaluation, tmp_path: Path) -> None:
    """In a process that cannot import torch: the same JSON, the table, the page, and the studies."""
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    words = ("evaluate", str(bundle.path), "--films", str(films), "--out", "report", "--study", "study.json", "--json")
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    written = (tmp_path / "report" / "evaluation.json").read_text()
    assert (
        json.loads(ran.stdout)
        == json.loads(written)
        == json.loads(json_text(evaluation.content)) | {"studies": [STUDY]}
    )
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "evaluation.json", "predictions.csv", "report.html",
    }  # fmt: skip
    assert "A note." in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.slow
def test_the_engine_is_the_settings_or_the_options(int8_bundle: Bundle, films: Path, tmp_path: Path) -> None:
    """Named in the JSON, the table and the page. The setting is read where the option is not given."""
    for words, setting, precision in (
        ((), "onnxruntime-int8", "int8"),
        (("--engine", "onnxruntime"), "onnxruntime-int8", "fp32"),
    ):
        out = tmp_path / precision
        ran = typed("evaluate", str(int8_bundle.path), "--films", str(films), "--out", str(out), *words, engine=setting)
        assert ran.returncode == 0, ran.stderr
        engine = json.loads((out / "evaluation.json").read_text())["engine"]
        assert (engine["precision"], engine["device"]) == (precision, "cpu")
        assert f"scored by {engine['name']} on cpu" in ran.stdout
        assert f"scored by {engine['name']} on cpu" in (out / "report.html").read_text()


def test_an_engine_that_is_not_there(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    words = ("evaluate", str(bundle.path), "--films", str(films), "--out", str(tmp_path / "out"), "--engine")
    for name, code, said in (("openvino", 2, "ENGINE should be "), ("onnxruntime-int8", 1, "has no int8 variant")):
        ran = typed(*words, name)
        assert (ran.returncode, said in ran.stderr, ran.stderr.count("\n")) == (code, True, 1), ran.stderr


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(Unhealthy, match=r"onnx: pip install 'xrayq\[train\]'"):
        require("evaluation")


def test_how_the_network_began_is_said_to_the_beginning(bundle: Bundle) -> None:
    start = {"checkpoint": "theirs.pt", "licence": "MIT"}
    made = {"pretraining": {"films": 5305, "start": start}}
    assert start_words(replace(bundle, provenance=made)) == (
        "starts from a trunk pretrained on 5,305 other chest films, which began with weights of others (MIT)"
    )
    assert start_words(replace(bundle, provenance={"initial_weights": "random"})) == "starts from: random"


def test_unsure_films_are_told_wherever_flags_are(bundle: Bundle, films: Path) -> None:
    limits = dict.fromkeys(FINDINGS, 0.3)
    sets = Conformal(coverage=0.9, limits=limits, films=dict.fromkeys(FINDINGS, 20))
    found = evaluated(replace(bundle, conformal=sets), films)
    rows = list(csv.DictReader(io.StringIO(predictions_text(found.scored, bundle.digest))))
    for row in rows:
        held = [name for name in FINDINGS if float(row[f"p_{name}"]) >= 0.3]
        assert (row["prediction_set"].split(), row["unsure"]) == (held, "no" if len(held) == 1 else "yes")
        assert row["bundle"] == bundle.digest[:12]
    test = [row for row in rows if row["split"] == "test" and row["view"] == "PA"]
    part = found.content.parts["test"]
    assert part.sets is not None
    assert part.sets.unsure.value == round(np.mean([row["unsure"] == "yes" for row in test]), 4)
    assert part.sets.coverage.value == round(np.mean([row["label"] in row["prediction_set"] for row in test]), 4)
    shown = {entry.identifier: entry.unsure for entry in found.content.wrong}
    assert shown == {row["identifier"]: row["unsure"] == "yes" for row in test if row["label"] != row["called"]}
    page = "".join(map(str, calibration(found.content)))
    assert "Unsure: the set is not exactly one finding" in page
    assert "The same at other prevalences" in page
    assert "normal films flagged" in page


def test_normals_flagged_are_of_the_films_of_the_negative_finding(
    evaluation: Evaluation, table: list[dict[str, str]]
) -> None:
    normals = rows_of(table, view="PA", label=FINDINGS[0])
    for name, flag in evaluation.content.parts["test"].flags.items():
        assert flag.negatives_flagged is not None
        assert flag.negatives_flagged.n == len(normals)
        assert flag.negatives_flagged.value == round(np.mean([name in row["flags"].split() for row in normals]), 4)
