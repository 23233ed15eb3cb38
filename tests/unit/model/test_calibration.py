"""Probabilities, their temperature, and the operating points chosen on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.calibration import fit_temperature, log_losses, probabilities
from model.decision import OperatingPoint, flags
from model.findings import FINDINGS
from model.stats.operating_points import choose_point

FINITE = st.floats(-80, 80, width=32)


@given(rows=st.lists(st.lists(FINITE, min_size=3, max_size=3), min_size=1, max_size=5), temperature=st.floats(0.05, 20))
def test_each_row_sums_to_one_and_keeps_its_order(rows: list[list[float]], temperature: float) -> None:
    logits = np.array(rows, np.float32)
    chances = probabilities(logits, temperature)
    assert chances.dtype == np.float64
    assert np.allclose(chances.sum(axis=1), 1, atol=1e-12)
    assert (chances >= 0).all()
    assert (np.take_along_axis(chances, logits.argmax(axis=1)[:, None], 1)[:, 0] == chances.max(axis=1)).all()


def test_probabilities_by_hand() -> None:
    logits = np.log(np.array([[1, 2, 1], [4, 1, 16]], np.float32))
    assert np.allclose(probabilities(logits, 1.0), [[1 / 4, 1 / 2, 1 / 4], [4 / 21, 1 / 21, 16 / 21]])
    assert np.allclose(probabilities(logits, 2.0)[1], [2 / 7, 1 / 7, 4 / 7])


def test_huge_logits_stay_finite() -> None:
    chances = probabilities(np.array([[3e38, -3e38, 0]], np.float32), 0.05)
    assert chances.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 1.7, 5.0])
def test_temperature_is_recovered(true_temperature: float) -> None:
    random = np.random.default_rng(7)
    logits = (random.normal(0, 2, (20_000, 3)) * true_temperature).astype(np.float32)
    ranks = probabilities(logits, true_temperature).cumsum(axis=1)
    labels = (random.random((len(logits), 1)) > ranks).sum(axis=1).clip(max=2)
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(true_temperature, rel=0.05)
    temperatures = [fitted * factor for factor in (0.5, 0.8, 1.0, 1.25, 2.0)]
    around = [log_losses(probabilities(logits, one), labels).mean() for one in temperatures]
    assert around[0] > around[1] > around[2] < around[3] < around[4]


def test_log_loss_falls_as_the_right_answer_becomes_likelier() -> None:
    labels = np.array([1])
    rows = [np.array([[0, logit, 0]], np.float32) for logit in (*range(-3, 4), -1000)]
    *losses, worst = (float(log_losses(probabilities(row, 1.0), labels)[0]) for row in rows)
    assert losses == sorted(losses, reverse=True)
    assert losses[3] == pytest.approx(np.log(3))
    assert worst == pytest.approx(-np.log(1e-12))


CHOICES: list[tuple[str, list[float], list[float], float, float, float]] = [
    # name, scores of positives, of negatives, wanted sensitivity; threshold, specificity
    ("all needed", [0.9, 0.5, 0.2], [0.1, 0.3], 1.0, 0.2, 0.5),
    ("one may be missed", [0.9, 0.8, 0.7, 0.1], [0.3, 0.6], 0.75, 0.7, 1.0),
    ("rounds up, never down", [0.9, 0.8, 0.1], [0.05], 0.67, 0.1, 1.0),
    ("all tied", [0.4, 0.4, 0.4], [0.4, 0.2], 0.5, 0.4, 0.5),
    ("tie at the cut", [0.9, 0.5, 0.5, 0.5], [0.5, 0.5], 0.5, 0.5, 0.0),
    ("a single positive", [0.3], [0.2], 0.9, 0.3, 1.0),
    ("four digits, rounded down", [0.123456], [0.1234, 0.1233], 0.9, 0.1234, 0.5),
    ("certain", [1.0, 1.0], [0.0], 0.9, 1.0, 1.0),
]


@pytest.mark.parametrize(
    ("positives", "negatives", "sensitivity", "threshold", "specificity"),
    [choice[1:] for choice in CHOICES],
    ids=[choice[0] for choice in CHOICES],
)
def test_operating_point(
    positives: list[float], negatives: list[float], sensitivity: float, threshold: float, specificity: float
) -> None:
    scores = np.array(positives + negatives)
    truth = np.arange(len(scores)) < len(positives)
    point = choose_point("covid19", scores, truth, sensitivity=sensitivity, split="val")
    assert point.threshold == pytest.approx(threshold)
    assert point.specificity == pytest.approx(specificity, abs=1e-4)
    assert point.sensitivity >= sensitivity
    assert (point.positives, point.negatives) == (len(positives), len(negatives))
    assert point.as_dict()["chosen_on"] == f"val: highest threshold with sensitivity >= {sensitivity}"


@given(
    positives=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    negatives=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    sensitivity=st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]),
)
def test_operating_point_reaches_its_sensitivity_and_no_higher_one_does(
    positives: list[float], negatives: list[float], sensitivity: float
) -> None:
    scores = np.array(positives + negatives)
    truth = np.arange(len(scores)) < len(positives)
    point = choose_point("covid19", scores, truth, sensitivity=sensitivity, split="val")
    assert (scores[truth] >= point.threshold).mean() >= sensitivity
    assert (scores[truth] >= point.threshold + 1.01e-4).mean() < sensitivity


@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ((0.5, 0.3, 0.2), ("pneumonia", "covid19")),
        ((0.5, 0.2999999, 0.2), ("covid19",)),
        ((0.7, 0.2, 0.1999999), ()),
        ((0.0, 1.0, 0.0), ("pneumonia",)),
    ],
)
def test_a_flag_needs_exactly_its_threshold(chances: tuple[float, ...], expected: tuple[str, ...]) -> None:
    points = tuple(
        OperatingPoint(
            finding=finding,
            threshold=threshold,
            sensitivity=0.9,
            specificity=0.9,
            positives=1,
            negatives=1,
            chosen_on="",
        )
        for finding, threshold in (("pneumonia", 0.3), ("covid19", 0.2))
    )
    assert flags(dict(zip(FINDINGS, chances, strict=True)), points) == expected
    assert flags(dict(zip(FINDINGS, chances, strict=True)), ()) == ()
