"""A model card says what its bundle and its evaluation hold, and nothing of another bundle."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("onnx")

from model import bundle as bundles
from model.bundle import REFERENCE, Bundle, load
from model.data.flow import Flow
from model.errors import BundleError
from model.evaluation.evaluate import Evaluation, EvaluationContent
from model.pages.by_hand import MEASURED
from model.pages.card import card, read_evaluation
from model.pages.card_file import CARD, read_card
from model.pages.card_json import card_json
from model.pages.card_questions import more_measures
from tests.services import typed_in

SECTIONS = (
    *("What it is", "Intended use", "When to ignore a score", "What it was measured to do", "Films and people"),
    *("Reference standard", "What test films may have influenced", "Harms", "What it can and cannot do"),
    *("Data and licences", "Reporting guidelines"),
)
SHARE = {"value": 0.25, "interval95": [0.1, 0.5], "n": 20, "bootstrap95": None}
MORE: dict[str, Any] = {
    "questions": [
        {
            "name": "covid19_normal_siim_more",
            "words": "covid19 of siim against normal of siim",
            "part": "more",
            "score": "p(covid19)",
            "positives": {"words": "covid19 of siim", "films": 69, "patients": 60},
            "negatives": {"words": "normal of siim", "films": 26, "patients": 26},
            "auroc": {"value": 0.875, "interval95": [0.8, 0.93]},
            "reason": None,
        },
        {
            "name": "few",
            "words": "few against few",
            "part": "test",
            "score": "p(covid19)",
            "positives": {"words": "a", "films": 1, "patients": 1},
            "negatives": {"words": "b", "films": 1, "patients": 1},
            "auroc": None,
            "reason": "too few patients",
        },
    ],
    "normals_flagged": [
        {
            "part": "unseen",
            "group": "source",
            "name": "openist",
            "of": "every view",
            "films": 20,
            "patients": 20,
            "any_flag": SHARE,
            "flags": {"not_normal": SHARE | {"bootstrap95": [0.2, 0.4]}},
        }
    ],
    "other_films": {
        "held_out": 0.1,
        "digests": {},
        "films": [{"part": "unseen", "source": "openist", "films": 20, "patients": 20, "readings": {}}],
    },
    "copies": {
        "sets": ["native"],
        "agreement": {
            "films": 14,
            "films_with_other_flags": 2,
            "mean_difference": 0.0123,
            "largest_difference": 0.2,
        },
    },
}


@pytest.fixture
def content(evaluation: Evaluation) -> EvaluationContent:
    return evaluation.content


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_section_is_there(bundle: Bundle, content: EvaluationContent) -> None:
    text = card(bundle, content)
    assert "Not a medical device" in text.splitlines()[2]
    for heading in SECTIONS:
        assert section(text, heading).strip(), heading
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_a_card_of_another_bundle_is_refused(content: EvaluationContent) -> None:
    other = load(REFERENCE)
    for make in (card, card_json):
        with pytest.raises(ValueError, match=rf"the evaluation is of bundle \w+, not {other.digest[:12]}"):
            make(other, content)


def test_people_and_sources_are_those_of_the_films(bundle: Bundle, content: EvaluationContent) -> None:
    shown = section(card(bundle, content), "Films and people")
    assert "| test | all | 12 | 12 | not known | not said 12 | PA 12 | ieee8023 6, nih 6 |" in shown
    assert "| test_all | covid19 | 5 | 5 | not known | not said 5 | PA 4, AP 1 | ieee8023 5 |" in shown
    assert "| test | nih | 5 | 3 | 0 |" in shown
    assert "| listed | 42 |" in shown
    assert "| all | 6 | 12 | 0.62 to 1.00 |" in shown
    labels = section(card(bundle, content), "Reference standard")
    assert "not recorded" not in labels
    assert re.search(r"\| nih \| .*\| nih_report_nlp \d+, read by a person \d+ \|", labels)


def test_what_was_left_out_is_shown(bundle: Bundle, content: EvaluationContent) -> None:
    flow = Flow(listed=50, left_out={"view LL": 5, "younger than 18": 3}, prepared=42, licences={"CC BY 3.0": 42})
    text = card(bundle, replace(content, data=replace(content.data, flow=flow)))
    assert "| left out: view LL | 5 |\n| left out: younger than 18 | 3 |\n| **prepared** | 42 |" in text
    assert "| CC BY 3.0 | 42 |" in section(text, "Data and licences")


def test_an_earlier_evaluation_has_its_own_words(bundle: Bundle, content: EvaluationContent) -> None:
    """Percentile intervals and errors in bins are not called what they are today."""
    now = section(card(bundle, content), "What it was measured to do")
    assert "DeLong" in now
    test = content.parts["test"]
    after = replace(test.reliability.after, ece_in_bins=None)
    parts = content.parts | {"test": replace(test, reliability=replace(test.reliability, after=after))}
    data = replace(content.data, people=None, flow=None)
    earlier = card(bundle, replace(content, parts=parts, data=data))
    assert "DeLong" not in earlier
    assert "percentile intervals of a bootstrap" in " ".join(earlier.split())
    assert "not recorded" in section(earlier, "Films and people")


def test_figures_by_hand_are_of_their_own_bundle(bundle: Bundle, content: EvaluationContent) -> None:
    assert bundle.digest not in MEASURED
    assert "2026-11" not in card(bundle, content)


def test_unknown_sources_are_said_to_be(bundle: Bundle, content: EvaluationContent) -> None:
    counts = {"normal": 3, "pneumonia": 2, "covid19": 1}
    data = replace(content.data, sources={split: {"our_hospital": counts} for split in ("train", "val", "test")})
    text = card(bundle, replace(content, data=data))
    assert "| our_hospital | not known to this project" in section(text, "Reference standard")


def test_more_measures_are_shown_where_there_are_any() -> None:
    text = "\n".join(more_measures(MORE, gate=True))
    its_gate = "no training of its network saw. Its gate, which gives no score, may have been trained on them:"
    assert its_gate in " ".join(text.split())
    assert "which no training of its network saw:" in "\n".join(more_measures(MORE, gate=False))
    assert "| p(covid19) | 69 of 60 patients | 26 of 26 patients | 0.875 [0.80, 0.93] |" in text
    assert "| - (too few patients) |" in text
    assert (
        "| unseen, source: openist | 20 | 20 | 0.250 [0.10, 0.50] | 0.250 [0.10, 0.50], patients [0.20, 0.40] |" in text
    )
    assert "14 films prepared again from native: 2 have other flags" in text
    assert list(more_measures({}, gate=True)) == []


def test_the_card_for_programs_has_what_the_evaluation_has(bundle: Bundle, content: EvaluationContent) -> None:
    text = card_json(bundle, content)
    assert text == card_json(bundle, EvaluationContent.read(json.loads(json.dumps(content.as_dict()))))
    found = json.loads(text)
    assert (found["schema"], found["bundle"]["digest"]) == (1, bundle.digest)
    measured = content.as_dict()
    assert found["parts"]["test"]["accuracy"] == measured["parts"]["test"]["summary"]["accuracy"]
    assert found["films"]["people"] == json.loads(json.dumps(measured["data"]["people"]))
    (point, _) = found["operating_points"]
    assert point["test"]["sensitivity"] == measured["parts"]["test"]["flags"][point["finding"]]["sensitivity"]
    assert [one["prevalence"] for one in point["predictive"]] == [0.01, 0.05, 0.2]
    assert found["reference_standard"]["nih"]["what"].startswith("NIH ChestX-ray14")
    assert "history" not in found["provenance"]


def test_a_card_beside_a_bundle_is_of_that_bundle(tmp_path: Path, bundle: Bundle, content: EvaluationContent) -> None:
    own = bundles.derive(bundle, tmp_path / "own", parent=None)
    assert read_card(own) is None
    (own.path / CARD).write_text(card_json(own, replace(content, bundle=replace(content.bundle, digest=own.digest))))
    found = read_card(own)
    assert found is not None
    assert load(own.path).digest == own.digest == found["bundle"]["digest"]
    child = bundles.derive(own, tmp_path / "child", version="2")
    assert read_card(child) is None, "a card is of one bundle and not of those made from it"
    (child.path / CARD).write_text((own.path / CARD).read_text())
    with pytest.raises(BundleError, match=f"card of bundle {own.digest[:12]}, not of {child.digest[:12]}"):
        read_card(child)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no model card"), ("[]", "no model card"), ('{"schema": 9, "bundle": {"digest": ""}}', "card of schema 9")],
)
def test_a_file_that_is_no_card_is_named(tmp_path: Path, bundle: Bundle, text: str, words: str) -> None:
    own = bundles.derive(bundle, tmp_path / "own")
    (own.path / CARD).write_text(text)
    with pytest.raises(BundleError, match=words):
        read_card(own)


def test_the_command_writes_both_cards(tmp_path: Path, bundle: Bundle, content: EvaluationContent) -> None:
    own = bundles.derive(bundle, tmp_path / "own", parent=None)
    written = replace(content, bundle=replace(content.bundle, digest=own.digest))
    (tmp_path / "evaluation.json").write_text(json.dumps(written.as_dict()))
    with typed_in(tmp_path) as xrayq:
        code, _, problems = xrayq("bundle", "card", "own")
        assert (code, "run 'xrayq evaluate own' first" in problems) == (3, True), problems
        code, said, problems = xrayq(
            *["bundle", "card", "own", "--evaluation", "evaluation.json", "--markdown", "CARD.md"]
        )
        assert (code, "not a medical device" in said) == (0, True), problems
        first = (own.path / CARD).read_bytes()
        code, said, _ = xrayq(*["bundle", "card", "own", "--evaluation", "evaluation.json", "--json"])
        assert (code, json.loads(said)) == (0, json.loads(first))
        assert (own.path / CARD).read_bytes() == first
        assert (tmp_path / "CARD.md").read_text() == card(own, read_evaluation(tmp_path / "evaluation.json"))
        assert f"model card: {own.path / CARD}" in xrayq("bundle", "show", "own")[1]
        shown = json.loads(xrayq("bundle", "show", "own", "--json")[1])
        assert (shown["card"], shown["notice"]) == (
            str(own.path / CARD),
            "Research software, not a medical device.",
        )
        (own.path / CARD).write_text("{}")
        assert "is no model card" in xrayq("bundle", "show", "own")[1]
        code, _, problems = xrayq("bundle", "verify", "own")
        assert (code, "is no model card" in problems) == (5, True)
        (tmp_path / "other.json").write_text("{}")
        code, _, problems = xrayq(*["bundle", "card", "own", "--evaluation", "other.json"])
        assert (code, problems.count("\n"), "is no evaluation" in problems) == (1, 1, True), problems


def test_a_card_that_cannot_be_made_or_written_leaves_nothing(
    tmp_path: Path, bundle: Bundle, content: EvaluationContent
) -> None:
    own = bundles.derive(bundle, tmp_path / "own", parent=None)
    whole = replace(content, bundle=replace(content.bundle, digest=own.digest)).as_dict()
    (tmp_path / "whole.json").write_text(json.dumps(whole))
    parts = {name: part for name, part in whole["parts"].items() if name != "test"}
    (tmp_path / "cut.json").write_text(json.dumps(whole | {"parts": parts}))
    with typed_in(tmp_path) as xrayq:
        for words, said in (
            (["cut.json"], "the evaluation has no part test"),
            (["whole.json", "--markdown", "/nope/x.md"], "cannot write /nope/x.md"),
            (["whole.json", "--markdown", "own/manifest.json"], "name another one"),
        ):
            code, _, problems = xrayq("bundle", "card", "own", "--evaluation", *words)
            assert (code, problems.count("\n"), said in problems) == (1, 1, True), problems
            assert not list(own.path.glob(f"{CARD}*"))
    assert load(own.path) == own


def test_a_shipped_bundle_has_its_evaluation_beside_it(
    tmp_path: Path, bundle: Bundle, content: EvaluationContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    own = bundles.derive(bundle, shipped / "reference", parent=None)
    whole = replace(content, bundle=replace(content.bundle, digest=own.digest)).as_dict()
    (shipped / "reference.evaluation.json").write_text(json.dumps(whole))
    monkeypatch.setattr(bundles, "SHIPPED", shipped)
    with typed_in(tmp_path) as xrayq:
        code, _, problems = xrayq("bundle", "card")
    assert code == 0, problems
    assert read_card(own) is not None
