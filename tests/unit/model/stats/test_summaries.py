"""Shares and their intervals, the bootstrap over patients, comparisons, reliability."""

import json
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from model.calibration import probabilities
from model.findings import FINDINGS, in_order
from model.json_value import plain
from model.stats.binomial import interval, proportion
from model.stats.curves import curves, roc_curve
from model.stats.over_patients import RESAMPLES, bootstrap, patient_summary
from model.stats.reliability import ReliabilityBin, log_loss_gain, patient_reliability, reliability
from model.stats.summaries import confusion_summary, mcnemar, summary
from tests.unit.model.draws import drawn_films, drawn_weights


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (5, 10, 0.1871, 0.8129),
        (1, 10, 0.0025, 0.4450),
        (0, 1, 0.0, 0.975),
        (95, 100, 0.8872, 0.9836),
        (0, 0, 0.0, 1.0),
    ],
)
def test_clopper_pearson(successes: int, trials: int, low: float, high: float) -> None:
    assert interval(successes, trials) == pytest.approx((low, high), abs=1e-4)
    assert interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1.1e-4)


def test_proportion() -> None:
    assert proportion(5, 10).as_dict() == {"value": 0.5, "interval95": [0.1871, 0.8129], "n": 10}
    assert proportion(0, 0).as_dict() == {"value": None, "interval95": [0.0, 1.0], "n": 0}


def test_summary_counts_what_was_called_what() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2])
    called = [0, 0, 1, 1, 2, 2]
    report = summary(np.eye(3)[called], truth, FINDINGS)
    assert report.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert (report.films, report.accuracy.value) == (6, 0.6667)
    assert {name: report.recall[name].value for name in FINDINGS} == {
        "normal": 0.6667,
        "pneumonia": 0.5,
        "covid19": 1.0,
    }
    assert {name: report.precision[name].value for name in FINDINGS} == {
        "normal": 1.0,
        "pneumonia": 0.5,
        "covid19": 0.5,
    }
    assert report.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3, abs=1e-4)


def test_summary_of_a_split_without_a_class() -> None:
    report = summary(np.eye(3)[[0, 0]], np.array([0, 0]), FINDINGS)
    assert report.recall["covid19"] == proportion(0, 0)


def test_findings_in_the_papers_order() -> None:
    assert in_order({"covid19", "tb", "normal", "pneumonia", "abscess"}) == [*FINDINGS, "abscess", "tb"]


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur() -> None:
    truth, called = np.array([0, 0, 0, 1, 1]), [0, 0, 2, 1, 0]
    report = summary(np.eye(3)[called], truth, FINDINGS)
    assert report.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-4)
    assert summary(np.zeros((0, 3)), np.zeros(0, int), FINDINGS).balanced_accuracy is None


def test_summary_of_a_confusion_matrix_is_that_of_its_films() -> None:
    films = drawn_films(50)
    report = summary(films["chances"], films["truth"], FINDINGS)
    assert confusion_summary(np.array(report.confusion), FINDINGS) == report


def mean_of(values: NDArray[np.float64]) -> Any:
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_bootstrap_draws_whole_patients_as_often_as_there_are_patients() -> None:
    patients = ["a", "b", "a", "c", "c", "c", "d"]
    weights = drawn_weights(patients)
    assert weights.shape == (RESAMPLES, 7)
    assert (weights == weights.astype(int)).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3:5] == weights[:, 5:6]).all()
    assert (weights[:, [0, 1, 3, 6]].sum(axis=1) == 4).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.08)
    assert (weights == 0).mean() == pytest.approx((3 / 4) ** 4, abs=0.03)


def test_bootstrap_agrees_with_scipy_when_every_film_is_its_own_patient() -> None:
    values = np.random.default_rng(5).random(60) ** 3
    ours = bootstrap(mean_of(values), [str(index) for index in range(60)], resamples=8000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=8000, method="percentile", rng=1).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.004)


def test_more_films_of_the_same_patients_do_not_narrow_the_interval() -> None:
    right = np.array([1, 1, 1, 0, 1, 0, 1, 1, 0, 1.0])
    names = [f"p{index}" for index in range(10)]
    alone = bootstrap(mean_of(right), names)
    assert alone is not None
    assert bootstrap(mean_of(np.repeat(right, 20)), [name for name in names for _ in range(20)]) == alone
    as_if_independent = bootstrap(mean_of(np.repeat(right, 20)), [str(index) for index in range(200)])
    assert as_if_independent is not None
    assert as_if_independent[1] - as_if_independent[0] < 0.4 * (alone[1] - alone[0])


def test_bootstrap_follows_its_seed_and_its_level() -> None:
    values, patients = np.random.default_rng(2).random(40), [f"p{index // 2}" for index in range(40)]
    wide, narrow = (bootstrap(mean_of(values), patients, level=level) for level in (0.95, 0.5))
    assert wide == bootstrap(mean_of(values), patients)
    assert wide != bootstrap(mean_of(values), patients, seed=1)
    assert wide is not None
    assert narrow is not None
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_bootstrap_without_a_population_is_none() -> None:
    assert bootstrap(mean_of(np.ones(5)), ["only"] * 5) is None
    assert bootstrap(mean_of(np.ones(0)), []) is None


@pytest.mark.parametrize(("held_by", "defined"), [(1, False), (2, False), (3, True), (6, True)])
def test_an_interval_needs_three_patients_of_a_class(held_by: int, defined: bool) -> None:
    truth = np.array([True] * held_by + [False] * 30)
    scores = np.arange(len(truth), dtype=float)[::-1] % 7
    found = roc_curve(scores, truth, [str(index) for index in range(len(truth))]).auroc
    assert found.value is not None
    assert (found.interval95 is not None) == defined


def test_summary_with_patients_adds_their_intervals_and_changes_nothing_else() -> None:
    films = drawn_films(120)
    chances, truth, patients = films["chances"], films["truth"], films["patients"]
    plain, full = summary(chances, truth, FINDINGS), patient_summary(chances, truth, FINDINGS, patients)
    added = full.bootstrap
    assert full.as_dict() == plain.as_dict() | {"bootstrap": added.as_dict()}
    assert (added.patients, added.resamples) == (48, RESAMPLES)
    weights, called = drawn_weights(patients), chances.argmax(axis=1)
    hits = (called == truth).astype(float)
    accuracies = [np.average(hits, weights=row) for row in weights]
    balanced = [
        np.mean([np.average(hits[truth == index], weights=row[truth == index]) for index in range(3)])
        for row in weights
    ]
    for interval95, values, value, patients_of in (
        (added.accuracy, accuracies, full.accuracy.value, [truth >= 0]),
        (added.balanced_accuracy, balanced, full.balanced_accuracy, [truth == index for index in range(3)]),
    ):
        fewest = min(len({patients[row] for row in np.flatnonzero(rows)}) for rows in patients_of)
        assert value is not None
        reach = stats.t.ppf(0.975, fewest - 1) * np.std(values) / (value * (1 - value))
        assert interval95 == pytest.approx(expit(logit(value) + np.array([-reach, reach])), abs=2e-4)


def test_a_class_that_never_occurs_leaves_the_intervals_defined() -> None:
    films = drawn_films(60)
    kept = np.flatnonzero(films["truth"] != 2)
    patients = [films["patients"][row] for row in kept]
    found = patient_summary(films["chances"][kept], films["truth"][kept], FINDINGS, patients)
    low, high = found.bootstrap.balanced_accuracy or (1.0, 0.0)
    assert low < (found.balanced_accuracy or 0.0) < high


@pytest.mark.parametrize(
    ("first_only", "second_only", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (1, 8, 20 / 512), (8, 1, 20 / 512), (0, 6, 2 / 64), (5, 5, 1.0), (2, 4, 44 / 64)],
)
def test_mcnemar_by_hand(first_only: int, second_only: int, p: float) -> None:
    both_right, both_wrong = 7, 3
    truth = np.zeros(both_right + first_only + second_only + both_wrong, np.int64)
    first = np.array([0] * both_right + [0] * first_only + [1] * second_only + [2] * both_wrong)
    second = np.array([0] * both_right + [1] * first_only + [0] * second_only + [1] * both_wrong)
    found = mcnemar(first, second, truth)
    assert (found.both_right, found.both_wrong) == (both_right, both_wrong)
    assert (found.first_only, found.second_only) == (first_only, second_only)
    assert found.p == pytest.approx(p, abs=6e-5)


def test_reliability_by_hand() -> None:
    chances = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    found = reliability(chances, np.array([0, 1, 1, 2]), bins=2)
    assert found.bins == (
        ReliabilityBin(confidence=0.55, accuracy=0.5, count=2),
        ReliabilityBin(confidence=0.9, accuracy=1.0, count=2),
    )
    assert found.ece_in_bins == pytest.approx((2 * 0.05 + 2 * 0.1) / 4)
    assert found.brier == pytest.approx((0.38 + 0.72 + 0.06 + 0.0) / 4, abs=6e-5)
    assert found.log_loss == pytest.approx(-np.log([0.5, 0.4, 0.8, 1.0]).mean(), abs=6e-5)
    assert found.films == 4


def test_reliability_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(4)
    logits = random.normal(0, 2, (300, 3)).astype(np.float32)
    truth, chances = random.integers(3, size=300), probabilities(logits, 1.3)
    found = reliability(chances, truth)
    assert found.log_loss == pytest.approx(reference.log_loss(truth, chances), abs=6e-5)
    one_by_one = [reference.brier_score_loss(truth == index, chances[:, index]) for index in range(3)]
    assert found.brier == pytest.approx(sum(one_by_one), abs=6e-5)
    assert [one.count for one in found.bins] == [30] * 10
    confidences = [one.confidence for one in found.bins]
    assert confidences == sorted(confidences)


def test_reliability_tells_calibrated_from_overconfident() -> None:
    random = np.random.default_rng(9)
    logits = random.normal(0, 2, (20_000, 3)).astype(np.float32)
    honest = probabilities(logits, 1.0)
    truth = (random.random((len(logits), 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=2)
    assert reliability(honest, truth).ece == pytest.approx(0, abs=0.003)
    boastful = reliability(probabilities(logits, 0.5), truth)
    assert (boastful.ece or 0.0) > 0.05
    assert all(one.confidence >= one.accuracy - 0.02 for one in boastful.bins)


def test_a_gain_in_log_loss_is_judged_film_by_film() -> None:
    """The two losses' own intervals overlap: the scatter from film to film is in both."""
    random = np.random.default_rng(9)
    logits = random.normal(0, 2, (300, 3)).astype(np.float32)
    truth = (random.random((300, 1)) > probabilities(logits, 1.0).cumsum(axis=1)).sum(axis=1).clip(max=2)
    patients = [f"p{number // 2}" for number in range(300)]
    right, boastful = probabilities(logits, 1.0), probabilities(logits, 0.5)
    before, after = (patient_reliability(chances, truth, patients).scores[2] for chances in (boastful, right))
    assert before.interval95
    assert after.interval95
    assert after.interval95[1] > before.interval95[0], "apart they say nothing"
    gain, loss = (log_loss_gain(*pair, truth, patients) for pair in ((boastful, right), (right, boastful)))
    assert gain.value == pytest.approx((before.value or 0) - (after.value or 0), abs=2e-4)
    assert gain.interval95
    assert 0 < gain.interval95[0] < (gain.value or 0) < gain.interval95[1]
    assert loss.interval95 == pytest.approx([-end for end in reversed(gain.interval95)], abs=1e-3)
    assert log_loss_gain(right, right, truth, patients).interval95 == (0.0, 0.0)
    assert log_loss_gain(right[:0], right[:0], truth[:0], []).value is None


def test_equally_confident_films_share_a_bin() -> None:
    found = reliability(np.tile([0.2, 0.7, 0.1], (9, 1)), np.array([1, 0, 1, 1, 1, 1, 0, 1, 1]))
    assert found.bins == (ReliabilityBin(confidence=0.7, accuracy=0.7778, count=9),)
    assert found.ece_in_bins == pytest.approx(7 / 9 - 0.7, abs=6e-5)
    assert sum(one.count for one in reliability(drawn_films(77)["chances"], drawn_films(77)["truth"]).bins) == 77


def test_two_runs_write_the_same_bytes_in_whatever_order_the_films_come() -> None:
    films = drawn_films(90)

    def written(order: NDArray[np.int64]) -> str:
        chances, truth = films["chances"][order], films["truth"][order]
        patients = [films["patients"][row] for row in order]
        return json.dumps(
            {
                "summary": patient_summary(chances, truth, FINDINGS, patients),
                "curves": curves(chances, truth, FINDINGS, patients),
                "reliability": reliability(chances, truth),
                "mcnemar": mcnemar(chances.argmax(axis=1), chances.argmin(axis=1), truth),
            },
            default=plain,
            allow_nan=False,
        )

    first = written(np.arange(90))
    assert first == written(np.arange(90))
    assert first == written(np.random.default_rng(1).permutation(90))
    assert "-0.0," not in first
