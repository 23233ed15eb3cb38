"""Prediction sets hold what they promise where films are exchangeable, whatever the findings' shares."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import betabinom, binom

from model.conformal import Conformal, fit, limit, unsure
from model.findings import FINDINGS

SETS = Conformal(
    coverage=0.9, limits={"normal": 0.5, "pneumonia": 0.25, "covid19": 0.2}, films=dict.fromkeys(FINDINGS, 9)
)


def films(counts: tuple[int, ...], seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities [N, 3] and labels [N], so many of each finding; covid19 is told apart worse than the others."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), counts)
    logits = random.normal(0, 1, (len(labels), 3)) + np.eye(3)[labels] * np.array([2.5, 2.0, 0.7])[labels][:, None]
    chances = np.exp(logits)
    return chances / chances.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize(
    ("count", "coverage", "rank"),
    [(9, 0.9, 9), (19, 0.9, 18), (10, 0.9, 10), (100, 0.9, 91), (36, 0.9, 34), (8, 0.9, None), (5, 0.5, 3)],
)
def test_the_limit_is_the_finite_sample_quantile(count: int, coverage: float, rank: int | None) -> None:
    """Rank from above: ceil((n + 1) coverage), in exact arithmetic; 8 films cannot promise .9."""
    values = np.random.default_rng(count).permutation(np.arange(1, count + 1) / 128)  # exact in binary
    expected = 0.0 if rank is None else np.floor((count + 1 - rank) / 128 * 1e6) / 1e6
    assert limit(values, coverage) == pytest.approx(expected, abs=1e-12)


def test_a_limit_is_never_above_the_film_it_comes_from() -> None:
    for value in np.random.default_rng(1).random(200):
        assert value - 1e-6 <= limit(np.array([value] * 20), 0.9) <= value


@pytest.mark.parametrize("counts", [(400, 300, 100), (60, 30, 25)])
def test_coverage_of_each_finding_is_within_binomial_bounds(counts: tuple[int, ...]) -> None:
    """Films of the same kind. With the limit known the held films are binomial; over the draw of the calibration films
    they are beta-binomial (Vovk 2012), with the mean rank / (n + 1) >= .9."""
    new = 2000
    for index in range(3):
        inside, held_of_all = 0, []
        for seed in range(40):
            fitted = fit(*films(counts, seed), FINDINGS, coverage=0.9)
            chances, labels = films((new,) * 3, seed + 1000)
            held = int((chances[labels == index, index] >= fitted.limits[FINDINGS[index]]).sum())
            rank = int(np.ceil((counts[index] + 1) * 0.9 - 1e-9))
            low, high = betabinom.ppf([0.025, 0.975], new, rank, counts[index] + 1 - rank)
            inside += low <= held <= high
            held_of_all.append(held / new)
        assert inside >= binom.ppf(0.001, 40, 0.95)
        assert np.mean(held_of_all) > 0.9 - 3 * np.std(held_of_all) / np.sqrt(40)


def test_the_promise_survives_another_share_of_the_findings() -> None:
    """One limit for all does not: the finding that is told apart worst pays for the others."""
    chances, labels = films((2000, 2000, 200), 3)
    fitted = fit(chances, labels, FINDINGS, coverage=0.9)
    one = limit(chances[np.arange(len(labels)), labels], 0.9)
    new, _ = films((0, 0, 4000), 4)
    low = binom.ppf(0.001, 200, 0.9) / 200
    assert (new[:, 2] >= fitted.limits["covid19"]).mean() > low
    assert (new[:, 2] >= one).mean() < low


@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ((0.5, 0.3, 0.2), FINDINGS),
        ((0.7, 0.2, 0.1), ("normal",)),
        ((0.45, 0.35, 0.2), ("pneumonia", "covid19")),
        ((0.49, 0.24, 0.19), ()),
    ],
)
def test_a_set_is_what_reaches_its_limit(chances: tuple[float, ...], expected: tuple[str, ...]) -> None:
    by_finding = dict(zip(FINDINGS, chances, strict=True))
    found = SETS.prediction_set(by_finding)
    assert found == expected
    assert unsure(found) == (len(expected) != 1)


def test_a_bundle_without_sets_is_never_unsure() -> None:
    assert not unsure(None)


def test_sets_read_back() -> None:
    assert Conformal.read(SETS.as_dict(), FINDINGS) == SETS


@pytest.mark.parametrize(
    "changes",
    [{"limits": {"normal": 0.5}}, {"coverage": 1.0}, {"limits": dict.fromkeys(FINDINGS, 1.5)}],
    ids=["a finding missing", "coverage", "limit"],
)
def test_wrong_sets_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"limit|between 0 and 1"):
        Conformal.read(SETS.as_dict() | changes, FINDINGS)
