"""The questions that matter, normal films flagged, and the same films from other copies: each figure by hand."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from model.bundle import Bundle
from model.calibration import Calibration
from model.data.dataset import FilmRow, Films
from model.decision import OperatingPoint
from model.engine.base import EngineSpec
from model.evaluation.copies import measure_copies
from model.evaluation.groups import NOT_SAID, age_group, groups
from model.evaluation.normals import NormalsFlagged, normals_flagged
from model.evaluation.questions import FAIR, NO_OPACITY, QUESTIONS, Answer, answers
from model.evaluation.scored import ScoredFilms
from model.evaluation.slices import slices
from model.findings import FINDINGS, NOT_NORMAL
from model.preprocess import PreprocessSpec

POINTS = {NOT_NORMAL: 0.5, "covid19": 0.7}


def film(number: int, label: str = "normal", split: str = "test", **cells: Any) -> FilmRow:
    plain: dict[str, Any] = {"patient": f"p{number}", "view": "PA", "source": "nih", "label_basis": "read", "age": 50.0}
    statistics = dict.fromkeys(("aspect", "mean", "spread", "black", "white"), 0.5)
    return FilmRow(identifier=f"{split}-{number}", label=label, split=split, **plain | statistics | cells)


def scored(films: list[FilmRow], chances: list[tuple[float, float]], first: int = 0) -> ScoredFilms:
    """Chances of pneumonia and COVID-19."""
    rows = np.array([(1 - one - other, one, other) for one, other in chances]).reshape(-1, 3)
    up = {NOT_NORMAL: 1 - rows[:, 0], "covid19": rows[:, 2]}
    size = len(films)
    return ScoredFilms(
        films=Films(
            store=np.zeros((first + size, 1, 4, 4), np.uint8), rows=np.arange(first, first + size), records=tuple(films)
        ),
        logits=np.log(rows).astype(np.float32),
        chances=rows,
        flags=tuple(tuple(name for name, level in POINTS.items() if up[name][row] >= level) for row in range(size)),
        sets=None,
    )


def drawn(seed: int, labels: dict[str, int], split: str = "test", **cells: Any) -> ScoredFilms:
    """So many films of each label, each of its own patient, with random chances."""
    random = np.random.default_rng(seed)
    names = [name for name, count in labels.items() for _ in range(count)]
    films = [film(seed * 1000 + at, name, split, **cells) for at, name in enumerate(names)]
    return scored(films, [(one / 2, other / 2) for one, other in random.uniform(0.01, 0.99, (len(films), 2))])


def both(*parts: ScoredFilms) -> ScoredFilms:
    films = [record for part in parts for record in part.films.records]
    return scored(films, [(row[1], row[2]) for part in parts for row in part.chances])


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    rates: dict[str, Any] = {"sensitivity": 0.9, "specificity": 0.9, "positives": 9, "negatives": 9, "chosen_on": "val"}
    return Bundle(
        name="made",
        version="0",
        findings=FINDINGS,
        preprocess=PreprocessSpec(size=4),
        calibration=Calibration(temperature=1.0),
        operating_points=tuple(
            OperatingPoint(finding=name, threshold=level, **rates) for name, level in POINTS.items()
        ),
        metrics={},
        provenance={},
    )


@pytest.fixture(scope="module")
def parts() -> dict[str, ScoredFilms]:
    test = both(drawn(1, {"normal": 12, "pneumonia": 9}), drawn(2, {"covid19": 7, "pneumonia": 6}, source="ieee8023"))
    more = both(drawn(3, {"normal": 8, "pneumonia": 5}), drawn(4, {"covid19": 9, "normal": 6}, source="siim"))
    return {
        "test": test,
        "test_all": both(test, drawn(5, {"normal": 4, "pneumonia": 8}, view="AP")),
        "more": scored(
            [replace(one, subset="more") for one in more.films.records], [tuple(row[1:]) for row in more.chances]
        ),
        "auxiliary": both(
            drawn(6, {"": 10}, "auxiliary", reading=NO_OPACITY), drawn(7, {"normal": 5}, "auxiliary", reading="Normal")
        ),
    }


def by_name(found: tuple[Answer, ...]) -> dict[str, Answer]:
    return {answer.name: answer for answer in found}


def area(above: list[float], below: list[float]) -> float:
    return round(float(np.mean([(one > other) + (one == other) / 2 for one, other in product(above, below)])), 4)


def of(part: ScoredFilms, score: Any, **wanted: str) -> list[float]:
    rows = zip(part.films.records, part.chances, strict=True)
    return [score(row) for record, row in rows if all(getattr(record, name) == one for name, one in wanted.items())]


def not_normal(chances: Any) -> float:
    return float(1 - chances[0])


def pneumonia(chances: Any) -> float:
    return float(chances[1])


def covid19(chances: Any) -> float:
    return float(chances[2])


def test_every_question_is_answered_by_the_films_it_names(parts: dict[str, ScoredFilms]) -> None:
    found = by_name(answers(parts))
    assert list(found) == [question.name for question in QUESTIONS]
    assert all(answer.auroc is not None and answer.reason is None for answer in found.values())
    for name in ("test", "test_all", "more"):
        answer, part = found[f"pneumonia_normal_nih_{name}"], parts[name]
        sides = [of(part, not_normal, source="nih", label=label) for label in ("pneumonia", "normal")]
        assert answer.auroc
        assert answer.auroc.value == area(*sides)
        assert (answer.positives.films, answer.negatives.films, answer.part) == (*map(len, sides), name)
    siim = found["covid19_normal_siim_more"]
    sides = [of(parts["more"], covid19, source="siim", label=label) for label in ("covid19", "normal")]
    assert siim.auroc
    assert siim.auroc.value == area(*sides)


def test_films_without_a_label_are_counted_by_their_reading(parts: dict[str, ScoredFilms]) -> None:
    found = by_name(answers(parts))
    tested = [parts["test_all"], parts["more"]]
    sick = [one for part in tested for one in of(part, pneumonia, source="nih", label="pneumonia")]
    others = of(parts["auxiliary"], pneumonia, reading=NO_OPACITY)
    answer = found["pneumonia_no_opacity_nih"]
    assert answer.auroc
    assert answer.auroc.value == area(sick, others)
    assert answer.part == "test_all + more + auxiliary"
    sick = [one for part in tested for one in of(part, not_normal, source="nih", label="pneumonia")]
    sick += of(parts["auxiliary"], not_normal, reading=NO_OPACITY)
    well = [one for part in (*tested, parts["auxiliary"]) for one in of(part, not_normal, source="nih", label="normal")]
    answer = found["not_normal_normal_nih"]
    assert answer.auroc
    assert answer.auroc.value == area(sick, well)
    assert (answer.positives.films, answer.negatives.films) == (len(sick), len(well))


def test_a_label_counts_more_than_a_reading_that_differs() -> None:
    """A normal film of the test that radiologists read otherwise stays on the side of its label."""
    side = QUESTIONS[-1].positives
    assert side.has(film(0, "", reading=NO_OPACITY))
    assert not side.has(film(0, "normal", reading=NO_OPACITY))
    assert not side.has(film(0, "", reading=NO_OPACITY, source="siim"))


def test_covid_against_pneumonia_is_by_the_odds_of_the_two() -> None:
    chances = np.array([[0.90, 0.04, 0.06], [0.10, 0.50, 0.40], [0.2, 0.4, 0.4], [0.0, 1.0, 0.0]])
    scores = FAIR.scores(chances, FINDINGS)
    assert scores[0] > 0 == scores[2] > scores[1] > scores[3]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(("patients", "known"), [(2, False), (3, True)])
def test_too_few_patients_give_a_reason_and_no_figure(patients: int, known: bool) -> None:
    """Patients, not films: two with many films each are too few."""
    films = [film(at, "pneumonia", patient=f"p{at % patients}") for at in range(12)]
    films += [film(at) for at in range(20, 30)]
    part = scored(films, [(0.1 + at / 100, 0.1) for at in range(len(films))])
    answer = by_name(answers({"test": part, "test_all": part}))["pneumonia_normal_nih_test"]
    assert (answer.positives.films, answer.positives.patients) == (12, patients)
    assert (answer.auroc is not None, answer.reason is None) == (known, known)
    if not known:
        assert answer.reason == "fewer than 3 patients have such films: pneumonia"
        assert answer.as_dict()["auroc"] is None


def test_without_auxiliary_films_their_questions_say_so(parts: dict[str, ScoredFilms]) -> None:
    few = {name: part for name, part in parts.items() if name in ("test", "test_all")}
    found = by_name(answers(few))
    for name in ("pneumonia_no_opacity_nih", "not_normal_normal_nih"):
        assert found[name].auroc is None
        assert "--auxiliary" in (found[name].reason or "")
    assert found["pneumonia_normal_nih_more"].reason == "fewer than 3 patients have such films: pneumonia; normal"


def test_other_findings_have_none_of_these_questions(parts: dict[str, ScoredFilms]) -> None:
    other = replace(parts["test"].films, findings=("clear", "mass", "effusion"))
    part = replace(parts["test"], films=other)
    assert answers({"test": part, "test_all": part}) == ()


@pytest.mark.parametrize(
    ("age", "name"),
    [
        (17.9, "under 18"),
        (18.0, "18-39"),
        (39.9, "18-39"),
        (40.0, "40-59"),
        (60.0, "60 and over"),
        (103.0, "60 and over"),
        (None, NOT_SAID),
    ],
)
def test_age_groups(age: float | None, name: str) -> None:
    assert age_group(age) == name


def test_groups_share_the_films_out() -> None:
    films = [film(at, sex=("F", "M", "")[at % 3], age=(20.0, 45.0, None)[at % 3]) for at in range(9)]
    part = scored(films, [(0.1, 0.1)] * 9)
    found = [(group.kind, group.name, len(group.part.films)) for group in groups(["sex", "age"], "all", part)]
    assert found == [
        ("sex", "women", 3), ("sex", "men", 3), ("sex", NOT_SAID, 3),
        ("age", "18-39", 3), ("age", "40-59", 3), ("age", NOT_SAID, 3),
    ]  # fmt: skip
    unsaid = scored([replace(one, sex="") for one in films], [(0.1, 0.1)] * 9)
    assert not list(groups(["sex"], "all", unsaid))


def test_slices_of_more_stand_apart(parts: dict[str, ScoredFilms]) -> None:
    found = slices(parts["test"], parts["test_all"], parts["more"])
    counted = {(one.of, one.group, one.name): sum(one.films.values()) for one in found}
    assert counted["more", "source", "siim"] == 15
    assert counted["more", "source", "nih"] == 13
    assert counted["bundle's views", "source", "nih"] == 21
    assert counted["every view", "view", "AP"] == 12
    assert counted["more", "age", "40-59"] == counted["more", "all", "more"] == 28


def rows_of(found: tuple[NormalsFlagged, ...]) -> dict[tuple[str, str, str, str], NormalsFlagged]:
    return {(row.part, row.group, row.name, row.of): row for row in found}


def test_normals_flagged_by_hand(parts: dict[str, ScoredFilms], bundle: Bundle) -> None:
    found = rows_of(normals_flagged(parts, bundle))
    for (part, name), key in {
        ("test", "nih"): ("test", "source", "nih", "bundle's views"),
        ("more", "siim"): ("more", "source", "siim", "every view"),
        ("auxiliary", "nih"): ("auxiliary", "source", "nih", "every view"),
    }.items():
        up = [
            flags
            for record, flags in zip(parts[part].films.records, parts[part].flags, strict=True)
            if record.label == "normal" and record.source == name
        ]
        row = found[key]
        assert (row.films, row.patients) == (len(up), len(up))
        assert row.any_flag.value == round(np.mean([bool(flags) for flags in up]), 4)
        for flag in POINTS:
            assert row.flags[flag].value == round(np.mean([flag in flags for flags in up]), 4)
    assert found["test", "view", "AP", "every view"].films == 4
    assert {part for part, _, _, _ in found} == {"test", "more", "auxiliary"}


def test_films_that_thresholds_were_chosen_on_are_not_counted(parts: dict[str, ScoredFilms], bundle: Bundle) -> None:
    seen = {"train": parts["test"], "val": parts["test"]}
    assert normals_flagged(parts | seen, bundle) == normals_flagged(parts, bundle)


def test_intervals_over_patients_are_wider_where_these_have_many_films(bundle: Bundle) -> None:
    """Ten patients of four films that are flagged alike; each film of another patient has no second interval."""
    chances = [(0.6, 0.1) if at < 20 else (0.1, 0.1) for at in range(40)]
    for films, repeated in (([film(at) for at in range(40)], False), ([film(at // 4) for at in range(40)], True)):
        part = scored(films, chances)
        row = rows_of(normals_flagged({"test": part, "test_all": part}, bundle))["test", "all", "test", "every view"]
        assert row.any_flag.value == 0.5
        over, exact = row.any_flag.bootstrap95, row.any_flag.interval95
        assert (over is not None) == repeated
        assert over is None or over[1] - over[0] > exact[1] - exact[0]


def test_a_bundle_without_flags_has_no_such_table(parts: dict[str, ScoredFilms], bundle: Bundle) -> None:
    assert normals_flagged(parts, replace(bundle, operating_points=())) == ()


class Answers:
    """An engine that has an answer ready for each film."""

    spec = EngineSpec(name="ready", precision="fp32", device="cpu", batches=(1,))

    def __init__(self, logits: np.ndarray[Any, Any]) -> None:
        self._logits = logits

    def warm_up(self) -> None: ...

    def infer(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self._logits[images[:, 0, 0, 0]]

    def close(self) -> None: ...


def test_copies_are_paired_by_name_and_their_flags_compared(bundle: Bundle) -> None:
    """Two of three copies, in another order than their films; one changes a flag."""
    part = scored(
        [film(at, split=("train", "val", "test")[at]) for at in range(3)], [(0.30, 0.1), (0.1, 0.1), (0.2, 0.2)]
    )
    store = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    records = (replace(part.films.records[2], set="native"), replace(part.films.records[0], set="native"))
    copies = Films(store=store, rows=np.array([2, 0]), records=records)
    theirs = np.log([[0.3, 0.6, 0.1], [1, 1, 1], [0.58, 0.21, 0.21]]).astype(np.float32)
    found = measure_copies(bundle, Answers(theirs), part, copies, lambda _done, _all: None)
    assert found.sets == ("native",)
    assert found.films == {"train": 1, "test": 1}
    assert found.left_out == 1
    assert found.agreement.films == 2
    assert found.agreement.films_with_other_flags == 1
    assert found.agreement.largest_difference == 0.3
    assert found.agreement.mean_difference == round((0.3 + 0.3 + 0.02 + 0.01 + 0.01) / 6, 5)
