"""Probabilities, their temperature, a prior shift, and flags."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.calibration import Calibration, PriorShift, fit_temperature, log_losses, moved, probabilities
from model.decision import OperatingPoint, chance_of, composite_logit, flags, has, truth_of
from model.findings import FINDINGS, NOT_NORMAL, spoken_findings

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


def point(finding: str, threshold: float) -> OperatingPoint:
    return OperatingPoint(
        finding=finding,
        threshold=threshold,
        sensitivity=0.9,
        specificity=0.9,
        positives=1,
        negatives=1,
        chosen_on="",
    )


def test_the_composite_is_flagged_by_what_is_left_of_the_negative() -> None:
    """Neither finding reaches a point of its own, and both together do."""
    points = (point(NOT_NORMAL, 0.5), point("pneumonia", 0.4), point("covid19", 0.4))
    assert flags({"normal": 0.45, "pneumonia": 0.3, "covid19": 0.25}, points) == (NOT_NORMAL,)
    assert flags({"normal": 0.5, "pneumonia": 0.1, "covid19": 0.4}, points) == (NOT_NORMAL, "covid19")
    assert flags({"normal": 0.51, "pneumonia": 0.4, "covid19": 0.09}, points) == ("pneumonia",)
    assert spoken_findings((NOT_NORMAL, "covid19")) == "not normal, COVID-19"


def test_the_negative_is_the_first_finding_whatever_its_name() -> None:
    assert flags({"clear": 0.2, "effusion": 0.8}, (point(NOT_NORMAL, 0.8),)) == (NOT_NORMAL,)
    assert has(NOT_NORMAL, "effusion", "clear")
    assert not has(NOT_NORMAL, "clear", "clear")
    assert has("effusion", "effusion", "clear")
    assert not has("effusion", "clear", "clear")


@given(rows=st.lists(st.lists(FINITE, min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_composite_in_arrays_and_in_one_film(rows: list[list[float]]) -> None:
    logits = np.array(rows, np.float32)
    chances = probabilities(logits, 1.0)
    assert chance_of(NOT_NORMAL, chances, FINDINGS) == pytest.approx(1 - chances[:, 0])
    for row, composite in zip(logits, chance_of(NOT_NORMAL, chances, FINDINGS), strict=True):
        logit = composite_logit(dict(zip(FINDINGS, map(float, row), strict=True)))
        assert composite == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-12)
    labels = np.array([0, 1, 2])
    assert truth_of(NOT_NORMAL, labels, FINDINGS).tolist() == [False, True, True]
    assert truth_of("pneumonia", labels, FINDINGS).tolist() == [False, True, False]


FILMS = {"normal": 0.5, "pneumonia": 0.3, "covid19": 0.2}
SITE = {"normal": 0.9, "pneumonia": 0.08, "covid19": 0.02}


def test_a_prior_shift_to_the_films_own_mix_changes_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    plain = Calibration(temperature=1.3, scale=(1.0, 2.0, 0.5), bias=(0.1, 0.0, -0.2))
    shifted = Calibration(
        temperature=1.3, scale=plain.scale, bias=plain.bias, prior_shift=PriorShift(films=FILMS, site=dict(FILMS))
    )
    assert (shifted.probabilities(logits) == plain.probabilities(logits)).all()
    assert shifted.at_films == plain


def test_a_prior_shift_is_bayes_rule() -> None:
    """One film: p / share of the films x share of the site, made to sum to 1."""
    logits = np.log(np.array([[0.2, 0.5, 0.3]])).astype(np.float32)
    found = Calibration(temperature=1.0, prior_shift=PriorShift(films=FILMS, site=SITE)).probabilities(logits)[0]
    weights = np.array([0.2 * 0.9 / 0.5, 0.5 * 0.08 / 0.3, 0.3 * 0.02 / 0.2])
    assert found == pytest.approx(weights / weights.sum(), abs=1e-7)


def test_what_is_calibrated_on_films_is_calibrated_at_the_site() -> None:
    """Films of each finding alike at both places, mixed otherwise: of those said to be 10 %, 10 % are, where the shift
    is made; without it far fewer."""
    random = np.random.default_rng(5)
    labels = np.repeat([0, 1, 2], [90_000, 8_000, 2_000])  # the site's films
    seen = 1.5 * np.eye(3)[labels] + random.normal(size=(100_000, 3))
    logits = (1.5 * seen + np.log(list(FILMS.values()))).astype(np.float32)  # true posterior for the mix of FILMS
    shift = PriorShift(films=FILMS, site=SITE)
    stated = {
        name: Calibration(temperature=1.0, prior_shift=prior).probabilities(logits)
        for name, prior in (("films", None), ("site", shift))
    }
    for finding in FINDINGS:
        truth = truth_of(finding, labels, FINDINGS)
        at_site, at_films = (chance_of(finding, stated[name], FINDINGS) for name in ("site", "films"))
        for low, high in ((0.0, 0.02), (0.02, 0.1), (0.1, 0.5), (0.5, 1.0)):
            own = (at_site >= low) & (at_site < high)
            if own.sum() > 300:
                spread = 4 * np.sqrt(at_site[own].mean() / own.sum())
                assert truth[own].mean() == pytest.approx(at_site[own].mean(), abs=spread)
        assert at_site.mean() == pytest.approx(SITE[finding], rel=0.05)
        assert at_films.mean() != pytest.approx(SITE[finding], rel=0.2)


def test_a_prior_shift_comes_back_from_a_manifest_in_the_bundles_order() -> None:
    calibration = Calibration(temperature=1.0, prior_shift=PriorShift(films=FILMS, site=SITE))
    written = calibration.as_dict()
    for shares in written["prior_shift"].values():  # a manifest sorts its keys
        for name in sorted(shares):
            shares[name] = shares.pop(name)
    assert Calibration.read(written, FINDINGS) == calibration
    assert list(Calibration.read(written, FINDINGS).prior_shift.site) == list(FINDINGS)  # type: ignore[union-attr]
    assert "at prevalences normal 0.9, pneumonia 0.08, covid19 0.02" in calibration.words


@pytest.mark.parametrize(
    "site", [{"normal": 0.9, "pneumonia": 0.1, "covid19": 0.1}, {"normal": 1.0, "pneumonia": 0.0, "covid19": 0.0}]
)
def test_prevalences_that_are_none_are_refused(site: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        PriorShift.read({"films": FILMS, "site": site}, FINDINGS)


def test_an_interval_moves_with_its_probability() -> None:
    assert moved(0.31, 0.5, 0.5) == 0.31
    low, high = moved(0.31, 0.5, 0.1), moved(0.76, 0.5, 0.1)  # odds fall to a ninth
    assert low == pytest.approx(0.31 / 0.69 / 9 / (1 + 0.31 / 0.69 / 9))
    assert low < 0.1 < high
    assert (moved(0.0, 0.5, 0.1), moved(1.0, 0.5, 0.1)) == (0.0, pytest.approx(1.0))


@given(threshold=st.floats(0, 1), before=st.floats(1e-9, 1 - 1e-9), after=st.floats(1e-9, 1 - 1e-9))
def test_a_threshold_that_moved_is_on_the_same_side_of_its_probability(
    threshold: float, before: float, after: float
) -> None:
    assert (moved(threshold, before, after) <= after) == (threshold <= before) or moved(
        threshold, before, after
    ) == pytest.approx(after)
