"""report.html: complete, readable without pictures and without a network, and honest about what it does not know."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("onnx")

from dataclasses import replace

from model.activation_map import ActivationMaps
from model.bundle import Bundle
from model.evaluation.evaluate import Evaluation
from model.notice import MEASURES_NOTICE
from model.pages.report import SECTIONS, render
from model.pages.verdicts import NOT_SHOWN, REFUTED, SHOWN, TOO_FEW, verdicts
from model.stats.estimate import Estimate, Interval
from model.study_table import Study
from tests.still import no_pictures

HISTORY = [
    {
        "member": 1,
        "epoch": epoch,
        "train_loss": 1.0 / epoch,
        "validation_loss": 1.1,
        "validation_accuracy": 0.5 + epoch / 100,
    }
    for epoch in (1, 2, 3)
]
STUDY = Study(
    study="lr",
    title="<script>alert(1)</script>",
    columns=("rate", "accuracy"),
    rows=(("1e-4", 0.61234), ("1e-3", None)),
    note="Rates & more.",
    provenance={},
)


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open != "style":
            self.text += data


@pytest.fixture(scope="module")
def maps(bundle: Bundle) -> ActivationMaps:
    return ActivationMaps(bundle, threads=2)


@pytest.fixture(scope="module")
def html(evaluation: Evaluation, maps: ActivationMaps) -> str:
    return render(evaluation, maps)


@pytest.fixture(scope="module")
def page(html: str) -> Reader:
    return Reader(html)


def test_every_picture_has_its_words(page: Reader) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) > 30
    assert all(len(attributes.get("alt") or "") > 15 for attributes in pictures)
    charts = [one["alt"] or "" for one in pictures if (one["src"] or "").startswith("data:image/svg+xml")]
    assert len(charts) >= 8
    assert all(re.search(r"\d", alt) for alt in charts), "a chart's words hold its numbers"
    assert "svg" not in {tag for tag, _ in page.tags}, "an inline drawing would need its own alternative"


def test_nothing_is_fetched(html: str, page: Reader) -> None:
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action", "background"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value[:60])
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://", page.text)


def test_it_says_what_it_is(page: Reader) -> None:
    assert page.text.count(MEASURES_NOTICE) >= 2


def test_every_section_is_there_and_linked(page: Reader) -> None:
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert anchors == [anchor for anchor, _ in SECTIONS]
    assert links == [f"#{anchor}" for anchor in anchors]


def test_every_wrong_film_is_shown(page: Reader, evaluation: Evaluation) -> None:
    alts = " ".join(attributes.get("alt") or "" for tag, attributes in page.tags if tag == "img")
    assert evaluation.content.wrong
    for film in evaluation.content.wrong:
        assert f"Film {film.identifier}, " in alts
        assert f"Activation map of {film.identifier} for " in alts


def test_headline_is_that_of_the_json(page: Reader, evaluation: Evaluation) -> None:
    accuracy = evaluation.content.parts["test"].summary.accuracy
    low, high = accuracy.interval95
    assert f"{accuracy.value:.3f}" in page.text
    assert f"95 %: {low:.2f} to {high:.2f}" in page.text


def test_same_evaluation_same_page(html: str, evaluation: Evaluation, maps: ActivationMaps) -> None:
    assert render(evaluation, maps) == html


def test_no_trace_of_the_machine(html: str, bundle: Bundle) -> None:
    assert str(bundle.path) not in html
    assert str(Path.home()) + "/" not in re.sub(r'"data:[^"]*"', "", html)


def test_missing_history_and_studies_are_said(page: Reader) -> None:
    assert "kept no learning curve" in page.text
    assert "No study was given" in page.text


def test_history_studies_and_known_data(
    page: Reader, evaluation: Evaluation, maps: ActivationMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History and studies are shown and escaped; only data of another digest are pointed out."""
    no_pictures(monkeypatch)
    known = replace(evaluation.content.data, trained_on=True)
    content = replace(evaluation.content, learning_curve=HISTORY, studies=(STUDY,), data=known)
    full = Reader(render(replace(evaluation, content=content), maps))
    assert "script" not in {tag for tag, _ in full.tags}
    assert "<script>alert(1)</script>" in full.text
    assert "0.6123" in full.text
    alts = [attributes["alt"] or "" for tag, attributes in full.tags if tag == "img"]
    assert any("Learning curve over 3 epochs" in alt and "0.530" in alt for alt in alts)
    assert "another digest" in page.text
    assert "another digest" not in full.text


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [((0.01, 0.2), SHOWN), ((-0.1, 0.2), NOT_SHOWN), ((-0.3, -0.1), REFUTED), (None, TOO_FEW)],
)
def test_verdict_follows_from_the_interval(bounds: Interval | None, verdict: str, evaluation: Evaluation) -> None:
    content = evaluation.content
    gain = Estimate(value=0.05, interval95=bounds)
    other = {"svm": {"test": replace(content.against["svm"]["test"], balanced_accuracy=gain)}}
    changed = replace(content, against=content.against | other)
    assert verdicts(changed)[0].verdict == verdict


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [((0.001, 0.02), SHOWN), ((-0.01, 0.02), NOT_SHOWN), ((-0.03, -0.01), REFUTED), (None, TOO_FEW)],
)
def test_calibration_is_judged_by_the_difference_of_the_same_films(
    bounds: Interval | None, verdict: str, evaluation: Evaluation
) -> None:
    part = evaluation.content.parts["test"]
    gain = Estimate(value=0.005, interval95=bounds)
    changed = replace(part, reliability=replace(part.reliability, log_loss_gain=gain))
    found = verdicts(replace(evaluation.content, parts=evaluation.content.parts | {"test": changed}))
    (claim,) = (claim for claim in found if claim.text.startswith("Calibration makes"))
    assert claim.verdict == verdict
    assert "fallen film by film by 0.005" in claim.evidence


def test_an_evaluation_of_an_earlier_release_says_nothing_of_calibration(evaluation: Evaluation) -> None:
    """It has no difference of the same films: that is no finding on few films."""
    part = evaluation.content.parts["test"]
    earlier = replace(part, reliability=replace(part.reliability, log_loss_gain=None))
    found = verdicts(replace(evaluation.content, parts=evaluation.content.parts | {"test": earlier}))
    assert len(found) == len(verdicts(evaluation.content)) - 1
    assert not [claim for claim in found if claim.text.startswith("Calibration makes")]
