"""What is fitted, how the method is chosen, and the interval of a probability."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from model.calibrating import fitting
from model.calibrating.fitting import FOLDS, PRIOR, compare, fit, fit_vector, folds, splits
from model.calibration import Bin, Calibration, fit_temperature, probabilities
from model.findings import FINDINGS
from model.stats.calibration_error import by_finding, error_by_finding, if_true
from model.stats.reliability import reliability

SCALE, BIAS = (0.6, 1.0, 1.7), (0.5, -0.2, -0.3)


def drawn(chances: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Labels [N] as often as the probabilities [N, findings] say."""
    ranks = chances.cumsum(axis=1)
    return np.asarray((np.random.default_rng(seed).random((len(chances), 1)) > ranks).sum(axis=1).clip(max=2))


def films(
    count: int, calibration: Calibration, seed: int = 5
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[str]]:
    """Logits whose true probabilities this calibration gives, labels, and a patient for every two films."""
    logits = np.random.default_rng(seed).normal(0, 2, (count, 3)).astype(np.float32)
    return logits, drawn(calibration.probabilities(logits), seed + 1), [f"p{row // 2}" for row in range(count)]


TRUE_VECTOR = Calibration(temperature=1.5, scale=SCALE, bias=BIAS)


def test_vector_scaling_by_hand() -> None:
    logits = np.array([[2.0, 0.0, -2.0]], np.float32)
    found = Calibration(temperature=2.0, scale=(1.0, 2.0, 3.0), bias=(0.0, 1.0, 2.0)).probabilities(logits)
    expected = np.exp([1.0, 1.0, -1.0])
    assert np.allclose(found, expected / expected.sum())


def test_a_known_vector_is_recovered() -> None:
    logits, labels, _ = films(20_000, TRUE_VECTOR)
    found = fit_vector(logits, labels, 1.5)
    assert found.scale == pytest.approx(SCALE, abs=0.05)
    # Only differences of biases change a softmax.
    assert np.diff(found.bias) == pytest.approx(np.diff(BIAS), abs=0.06)


def test_newton_finds_the_minimum_that_scipy_finds() -> None:
    logits, labels, _ = films(150, TRUE_VECTOR)
    truth = np.eye(3)[labels]

    def loss(values: NDArray[np.float64]) -> float:
        chances = probabilities(logits / 1.2 * values[:3] + values[3:], 1.0)
        prior = ((values - [1, 1, 1, 0, 0, 0]) ** 2).sum() / (2 * PRIOR**2)
        return float(-np.log((chances * truth).sum(axis=1)).sum() + prior)

    theirs = minimize(loss, np.array([1.0, 1, 1, 0, 0, 0]), tol=1e-10).x
    ours = fit_vector(logits, labels, 1.2)
    assert (*ours.scale, *ours.bias) == pytest.approx(theirs, abs=1e-3)


def test_films_told_apart_without_error_give_finite_numbers() -> None:
    labels = np.arange(30) % 3
    found = fit_vector((np.eye(3)[labels] * 8).astype(np.float32), labels, 0.05)
    assert np.isfinite([*found.scale, *found.bias]).all()


def test_logits_that_mean_the_opposite_leave_the_temperature_alone() -> None:
    logits, labels, _ = films(600, Calibration(temperature=1.0))
    assert fit_vector(-8 * logits, labels, 1.0) == Calibration(temperature=1.0)


def test_vector_scaling_is_taken_where_held_out_films_want_it() -> None:
    logits, labels, patients = films(600, TRUE_VECTOR)
    found = fit(logits, labels, patients, FINDINGS)
    held = found.record["held_out"]
    assert found.method == "vector"
    assert held["vector"]["log_loss"] < held["temperature"]["log_loss"] - 0.01
    assert held["vector"]["brier"] < held["none"]["brier"]


@pytest.mark.parametrize("seed", range(4))
def test_a_temperature_alone_where_it_is_all_there_is(seed: int) -> None:
    """Vector scaling then only adds noise, which held-out films show."""
    logits, labels, patients = films(120, Calibration(temperature=2.5), seed=seed)
    found = fit(logits, labels, patients, FINDINGS)
    held = found.record["held_out"]
    assert (found.method == "vector") == (held["vector"]["log_loss"] < held["temperature"]["log_loss"])
    assert held["temperature"]["log_loss"] < held["none"]["log_loss"]
    assert held["vector"]["log_loss"] > held["temperature"]["log_loss"] - 0.02


def test_none_where_the_logits_are_best_as_they_are() -> None:
    logits, labels, patients = films(120, Calibration(temperature=1.0), seed=1)
    found = fit(logits, labels, patients, FINDINGS)
    held = found.record["held_out"]
    assert held["none"]["log_loss"] == min(own["log_loss"] for own in held.values())
    assert (found.method, found.temperature, found.scale) == ("none", 1.0, ())
    assert found.words == "logits as they are"
    assert (found.probabilities(logits) == probabilities(logits, 1.0)).all()
    assert Calibration.read(found.as_dict(), FINDINGS) == found


@pytest.mark.parametrize(
    ("losses", "method"),
    [((0.5, 0.5, 0.5), "none"), ((0.5, 0.4, 0.4), "temperature"), ((0.5, 0.45, 0.4), "vector")],
)
def test_of_methods_that_are_alike_the_simplest(
    monkeypatch: pytest.MonkeyPatch, losses: tuple[float, ...], method: str
) -> None:
    logits, labels, patients = films(120, TRUE_VECTOR)
    held = {name: {"log_loss": loss} for name, loss in zip(("none", "temperature", "vector"), losses, strict=True)}
    monkeypatch.setattr(fitting, "compare", lambda *_: held)
    assert fit(logits, labels, patients, FINDINGS).method == method


def test_held_out_loss_is_that_of_films_not_fitted_on() -> None:
    logits, labels, patients = films(90, TRUE_VECTOR)
    plain = np.zeros((5, len(labels)))
    for repeat in range(5):
        for fitted, held in splits(labels, patients, FOLDS, repeat):
            chances = probabilities(logits[held], fit_temperature(logits[fitted], labels[fitted]))
            plain[repeat, held] = -np.log(chances[np.arange(len(held)), labels[held]])
    assert compare(logits, labels, patients)["temperature"]["log_loss"] == pytest.approx(plain.mean(), abs=1e-5)


def test_folds_keep_patients_together_and_share_out_each_class() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 20])
    patients = [f"p{row // 2}" for row in range(160)]
    fold = folds(labels, patients, 5, seed=3)
    assert (fold[::2] == fold[1::2]).all()
    counts = np.array([np.bincount(fold[labels == label], minlength=5) for label in range(3)])
    assert (counts == [[20] * 5, [8] * 5, [4] * 5]).all()
    assert (folds(labels, patients, 5, seed=4) != fold).any()
    order = np.random.default_rng(0).permutation(160)
    assert (folds(labels[order], [patients[row] for row in order], 5, seed=3) == fold[order]).all()


def test_interval_of_a_probability() -> None:
    low, high = (Bin(up_to=up, films=9, positives=1, interval95=pair) for up, pair in ((0.3, (0, 0.2)), (1, (0.5, 1))))
    calibration = Calibration(temperature=1.0, bins={"covid19": (low, high)})
    found = [calibration.interval("covid19", chance) for chance in (0.0, 0.3, 0.3000001, 1.0, 1.0000001)]
    assert found == [(0, 0.2), (0, 0.2), (0.5, 1), (0.5, 1), (0.5, 1)]
    assert calibration.interval("normal", 0.5) is None


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(temperature=1.015),
        TRUE_VECTOR,
        Calibration(
            temperature=1.0,
            bins={"normal": (Bin(up_to=1.0, films=3, positives=1, interval95=(0.01, 0.9)),)},
            record={"films": 3},
        ),
    ],
)
def test_a_calibration_reads_back(calibration: Calibration) -> None:
    assert Calibration.read(calibration.as_dict(), FINDINGS) == calibration


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"method": "beta"}, "method 'beta' is not known"),
    ({"method": "vector", "scale": [1, 1], "bias": [0, 0]}, "a scale and a bias for each finding"),
    ({"method": "vector", "scale": [1, 1, -1], "bias": [0, 0, 0]}, "scales must be positive"),
    ({"method": "vector", "scale": [1, 1, 1], "bias": [0, 0, float("nan")]}, "bias must be a number, finite, not nan"),
    ({"temperature": float("inf")}, "finite"),
    ({"bins": {"tb": []}}, "bins of tb must rise, and the last one end at 1"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_calibration_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Calibration.read({"temperature": 1.0} | changes, FINDINGS)


def test_true_probabilities_show_the_error_that_chance_alone_gives() -> None:
    chances = TRUE_VECTOR.probabilities(films(150, TRUE_VECTOR)[0])
    measured = [reliability(chances, drawn(chances, seed)).ece_in_bins for seed in range(200)]
    expected = if_true(chances)
    assert expected.mean == pytest.approx(np.mean(measured), abs=0.006)
    assert np.mean(np.array(measured) < expected.high95) == pytest.approx(0.95, abs=0.05)


def test_error_by_finding_sees_what_the_called_class_hides() -> None:
    """Normal is called, rightly, of each film; the other two are stated the wrong way round."""
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    chances = np.tile([0.6, 0.1, 0.3], (100, 1))
    assert reliability(chances, labels).ece == 0
    assert error_by_finding(chances, labels) == pytest.approx((0 + 0.2 + 0.2) / 3, abs=1e-4)
    found = by_finding(chances, labels, [str(row) for row in range(100)])
    assert found.value == pytest.approx(0.4 / 3, abs=0.02)
    assert found.interval95 is not None
    assert 0 < found.interval95[0] < (found.value or 0.0) < found.interval95[1]
