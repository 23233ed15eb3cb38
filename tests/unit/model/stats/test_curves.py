"""ROC and precision-recall curves, by hand, against scikit-learn and film pair by film pair."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import t as student

from model.findings import FINDINGS
from model.stats.curves import CURVE_POINTS, Area, curves, pr_curve, roc_curve
from model.stats.over_patients import patient_summary
from model.stats.reliability import reliability
from model.stats.summaries import mcnemar
from tests.unit.model.draws import drawn_films, drawn_weights


@given(
    scores=st.lists(st.integers(0, 6), min_size=2, max_size=40),
    truth=st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_curves_are_those_of_scikit_learn(scores: list[int], truth: list[bool]) -> None:
    values, positive = np.array(scores) / 7, np.array(truth[: len(scores)])
    patients = ["one"] * len(scores)
    roc, pr = roc_curve(values, positive, patients), pr_curve(values, positive, patients)
    assert (roc.positives, roc.negatives) == (positive.sum(), (~positive).sum())
    if positive.all() or not positive.any():
        assert roc.auroc.value is None
        assert pr.average_precision.value is None
        return
    assert roc.auroc.value == pytest.approx(reference.roc_auc_score(positive, values), abs=6e-5)
    assert pr.average_precision.value == pytest.approx(reference.average_precision_score(positive, values), abs=6e-5)
    assert roc.false_positive_rate is not None
    assert roc.true_positive_rate is not None
    false, true, _ = reference.roc_curve(positive, values, drop_intermediate=False)
    every = set(zip(false.round(4).tolist(), true.round(4).tolist(), strict=True))
    assert set(zip(roc.false_positive_rate, roc.true_positive_rate, strict=True)) <= every
    area = reference.auc(roc.false_positive_rate, roc.true_positive_rate)
    assert area == pytest.approx(reference.auc(false, true), abs=2e-4)
    precision, recall, _ = reference.precision_recall_curve(positive, values)
    assert pr.recall == pytest.approx(recall[::-1], abs=6e-5)
    assert pr.precision == pytest.approx(precision[::-1], abs=6e-5)


def test_average_precision_scatters_as_every_pair_of_films_does_in_each_resample() -> None:
    films = drawn_films(60)
    positive, scores = films["truth"] == 1, films["chances"][:, 1]
    weights = drawn_weights(films["patients"])
    above = (scores[:, None] >= scores[positive]).astype(float)  # [film, positive film]
    precision = (weights * positive) @ above / np.maximum(weights @ above, 1)
    averages = (weights[:, positive] * precision).sum(axis=1) / weights[:, positive].sum(axis=1)
    found = pr_curve(scores, positive, films["patients"]).average_precision
    groups = [len({films["patients"][row] for row in np.flatnonzero(rows)}) for rows in (positive, ~positive)]
    value = float(found.value or 0.0)
    reach = student.ppf(0.975, min(groups) - 1) * averages.std() / (value * (1 - value))
    assert found.interval95 == pytest.approx(expit(logit(value) + np.array([-reach, reach])), abs=2e-4)


def test_curves_by_hand() -> None:
    patients = [str(index) for index in range(4)]
    roc = roc_curve(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]), patients)
    assert roc.auroc.value == 0.75
    assert roc.false_positive_rate == (0, 0, 0.5, 0.5, 1)
    assert roc.true_positive_rate == (0, 0.5, 0.5, 1, 1)
    tied = roc_curve(np.full(4, 0.3), np.array([True, False, True, False]), patients)
    assert tied.auroc.value == 0.5
    assert tied.false_positive_rate == tied.true_positive_rate == (0, 1)
    pr = pr_curve(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]), patients)
    assert pr.average_precision.value == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    assert list(zip(pr.recall or (), pr.precision or (), strict=True)) == [
        (0, 1),
        (0.5, 1),
        (0.5, 0.5),
        (1, 0.6667),
        (1, 0.5),
    ]


def test_a_perfect_score_and_its_opposite() -> None:
    truth, patients = np.arange(40) < 20, [str(index) for index in range(40)]
    for scores, value in ((truth.astype(float), 1.0), (-truth.astype(float), 0.0)):
        found = roc_curve(scores, truth, patients).auroc
        assert found.value == value
        low, high = found.interval95 or (0.0, 0.0)
        assert 0.08 < high - low < 0.16  # no wrong film in 20 of each class leaves room
        assert value in (low, high)


def test_curves_are_thinned_but_keep_their_ends() -> None:
    random = np.random.default_rng(1)
    truth, patients = random.random(3000) < 0.5, [str(index % 900) for index in range(3000)]
    scores = random.random(3000)
    roc, pr = roc_curve(scores, truth, patients), pr_curve(scores, truth, patients)
    for rates in (roc.false_positive_rate, roc.true_positive_rate, pr.recall):
        assert rates is not None
        assert len(rates) == CURVE_POINTS
        assert list(rates) == sorted(rates)
        assert (rates[0], rates[-1]) == (0.0, 1.0)
    assert pr.precision is not None
    assert len(pr.precision) == CURVE_POINTS
    assert pr.precision[-1] == pytest.approx(truth.mean(), abs=1e-4)


@pytest.mark.parametrize("only", [0, 1, 2])
def test_curves_of_a_slice_with_one_class(only: int) -> None:
    chances = drawn_films(12)["chances"]
    report = curves(chances, np.full(12, only), FINDINGS, [f"p{index}" for index in range(12)])
    for name in FINDINGS:
        assert report[name].roc.auroc == Area(value=None, interval95=None, n=12)
        assert report[name].pr.average_precision == Area(value=None, interval95=None, n=12)
        assert report[name].roc.true_positive_rate is None
        assert report[name].pr.precision is None
        assert report[name].roc.positives == (12 if name == FINDINGS[only] else 0)


def test_no_films_at_all() -> None:
    chances, truth = np.zeros((0, 3)), np.zeros(0, np.int64)
    report = curves(chances, truth, FINDINGS, [])
    assert report["normal"].roc.auroc == Area(value=None, interval95=None, n=0)
    assert patient_summary(chances, truth, FINDINGS, []).bootstrap.accuracy is None
    assert mcnemar(truth, truth, truth).p == 1.0
    empty = reliability(chances, truth)
    nothing = dict.fromkeys(("ece", "brier", "log_loss"))
    assert empty.as_dict() == nothing | {"films": 0, "bins": []}
