"""Another network beside this one: on the same films, as it is served, and nothing of this network's figures moves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from model import bundle as bundles
from model.bundle import REFERENCE, Bundle, load
from model.calibration import Calibration
from model.data.dataset import load_dataset
from model.engine.ort import OrtEngine
from model.evaluation.comparisons import difference
from model.evaluation.evaluate import Evaluation, EvaluationContent, json_text
from model.evaluation.other_network import with_other_network
from model.pages.card import EVALUATION, card, read_evaluation
from model.pages.sections import calls
from tests.services import Xrayq
from tests.unit.model.conftest import write_bundle


@pytest.fixture(scope="module")
def other(
    bundle: Bundle, evaluation: Evaluation, evaluated_films: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The same network, calibrated so that it calls nine of ten films COVID-19."""
    logits = evaluation.scored.logits
    bias = float(np.quantile(logits[:, :2].max(axis=1) - logits[:, 2], 0.9))
    calibration = Calibration(temperature=1.0, scale=(1.0, 1.0, 1.0), bias=(0.0, 0.0, bias))
    digest = load_dataset(evaluated_films).digest
    path = tmp_path_factory.mktemp("other") / "old"
    return bundles.derive(
        bundle, path, name="old", version="0.1", calibration=calibration, provenance={"data_digest": digest}
    )


@pytest.fixture(scope="module")
def both(evaluation: Evaluation, other: Bundle, evaluated_films: Path) -> EvaluationContent:
    engine = OrtEngine(other, threads=2)
    return with_other_network(evaluation, other, engine, evaluated_films).content


def test_it_is_measured_on_the_same_films(both: EvaluationContent, evaluation: Evaluation, other: Bundle) -> None:
    found = both.other_network
    assert found is not None
    assert (found.title, found.digest, found.trained_on) == ("old 0.1", other.digest, True)
    assert list(found.parts) == list(found.against) == ["test", "test_all"]
    for name, every in (("test", False), ("test_all", True)):
        ours = evaluation.scored.where(lambda film, every=every: film.split == "test" and (every or film.view == "PA"))
        theirs = other.calibration.probabilities(ours.logits).argmax(axis=1)
        assert not np.array_equal(theirs, ours.called)
        part = found.parts[name]
        assert part.summary.films == len(ours.films) == evaluation.content.parts[name].summary.films
        assert part.summary.accuracy.value == pytest.approx(np.mean(theirs == ours.labels), abs=1e-4)
        assert part.summary.accuracy.interval95
        assert found.against[name] == difference(ours.called, theirs, ours.labels, ours.films.patients)


def test_it_changes_nothing_else_and_is_read_back(both: EvaluationContent, evaluation: Evaluation) -> None:
    plain = json.loads(json_text(evaluation.content))
    assert "other_network" not in plain
    beside = json.loads(json_text(both))
    assert {name: value for name, value in beside.items() if name != "other_network"} == plain
    assert json_text(EvaluationContent.read(beside)) == json_text(both)
    assert json_text(EvaluationContent.read(plain)) == json_text(evaluation.content)


def test_the_report_and_the_card_show_it(both: EvaluationContent) -> None:
    page = "".join(map(str, calls(both)))
    assert "Beside bundle old 0.1" in page
    for name in ("this network, test", "old 0.1, test, all views", "SVM, test", "source statistics, test, all views"):
        assert f"{name}</t" in page, name
    assert "another prepared set" not in page
    assert both.other_network is not None
    stranger = replace(both, other_network=replace(both.other_network, trained_on=False))
    assert "trained on another prepared set, which may have held" in "".join(map(str, calls(stranger)))


def test_the_card_has_it_among_the_rest(both: EvaluationContent) -> None:
    shipped = read_evaluation(EVALUATION)
    beside = replace(shipped, other_network=both.other_network)
    (line,) = set(card(load(REFERENCE), beside).splitlines()) - set(card(load(REFERENCE), shipped).splitlines())
    assert both.other_network is not None
    gain = both.other_network.against["test"].accuracy
    assert line.startswith("| bundle old 0.1 |")
    assert f"{gain.value:+.3f} [" in line


@pytest.mark.slow
def test_xrayq_evaluate_beside(
    bundle: Bundle, other: Bundle, both: EvaluationContent, evaluated_films: Path, tmp_path: Path, xrayq: Xrayq
) -> None:
    words = ["evaluate", str(bundle.path), "--films", str(evaluated_films), "--engine", "onnxruntime"]
    code, out, problems = xrayq(*words, "--beside", str(other.path), "--out", "report")
    assert code == 0, problems
    written = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert written["other_network"] == json.loads(json_text(both))["other_network"]
    assert "old 0.1, test all" in out
    assert "Accuracy minus that of old 0.1, over patients: test " in out


def test_a_network_that_needs_other_films_is_refused_before_any_is_scored(
    bundle: Bundle, evaluated_films: Path, tmp_path: Path, xrayq: Xrayq
) -> None:
    small = write_bundle(tmp_path / "small", bundle.onnx, size=192)
    words = ["evaluate", str(bundle.path), "--films", str(evaluated_films), "--beside", str(small.path)]
    code, _, problems = xrayq(*words, "--out", "report")
    assert (code, problems.count("\n")) == (1, 1)
    assert "bundle small needs size 192" in problems
    assert not (tmp_path / "report").exists()
