"""What the shipped network was to reach: judged from the evaluation, missed aims first."""

from dataclasses import replace
from pathlib import Path

import pytest

import model
from model.evaluation.evaluate import EvaluationContent
from model.pages.card import read_evaluation
from model.pages.card_aims import ACCURACY, MET, MISSED, NORMALS, aims, aims_table
from model.stats.estimate import Estimate

SHIPPED = Path(model.__file__).parent / "bundles" / "reference.evaluation.json"


@pytest.fixture(scope="module")
def shipped() -> EvaluationContent:
    return read_evaluation(SHIPPED)


def with_accuracy(content: EvaluationContent, value: float) -> EvaluationContent:
    test = content.parts["test"]
    summary = replace(test.summary, accuracy=replace(test.summary.accuracy, value=value))
    return replace(content, parts=content.parts | {"test": replace(test, summary=summary)})


@pytest.mark.parametrize(("value", "met"), [(ACCURACY, True), (ACCURACY - 0.0001, False)])
def test_an_aim_is_met_from_its_value_on(shipped: EvaluationContent, value: float, met: bool) -> None:
    assert next(iter(aims(with_accuracy(shipped, value)))).met is met


def test_an_interval_that_holds_a_half_tells_nothing_apart(shipped: EvaluationContent) -> None:
    for low, met in ((0.49, False), (0.51, True)):
        changed = tuple(
            replace(answer, auroc=Estimate(value=0.8, interval95=(low, 0.9))) for answer in shipped.questions or ()
        )
        (fair,) = (aim for aim in aims(replace(shipped, questions=changed)) if aim.aimed == "interval above .5")
        assert fair.met is met


def test_each_source_is_judged_by_itself(shipped: EvaluationContent) -> None:
    found = {aim.words: aim.met for aim in aims(shipped) if "under any flag" in aim.words}
    rows = [row for row in shipped.normals_flagged or () if row.group == "source" and row.part in ("test", "more")]
    assert len(found) == len(rows) > 1
    for row in rows:
        assert row.any_flag.value is not None
        assert found[f"normal films of {row.name} under any flag, {row.part}"] == (row.any_flag.value <= NORMALS)


def test_missed_ones_come_first(shipped: EvaluationContent) -> None:
    ends = [line.rsplit("|", 2)[1].strip() for line in list(aims_table(shipped))[2:]]
    assert ends == sorted(ends, key=lambda end: end == MET)
    assert set(ends) == {MISSED, MET}


def test_a_network_of_others_has_no_aims(shipped: EvaluationContent) -> None:
    assert list(aims_table(replace(shipped, paper=None))) == []
