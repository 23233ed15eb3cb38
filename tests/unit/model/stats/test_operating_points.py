"""What flags do on films, and what one means at a stated prevalence."""

from functools import cache

import numpy as np
import pytest

from model.calibration import Calibration, PriorShift
from model.findings import FINDINGS, NOT_NORMAL
from model.stats.binomial import proportion
from model.stats.estimate import Estimate
from model.stats.operating_points import Rates, bundle_metrics, flag_measures, predictive_values
from model.stats.thresholds import choose_points, default_targets


def counted(hits: int, positives: int, quiet: int, negatives: int) -> Rates:
    """Rates of flags on films with and without the finding."""
    return Rates(sensitivity=proportion(hits, positives), specificity=proportion(quiet, negatives))


@pytest.mark.parametrize(
    ("films", "prevalence", "ppv", "npv"),
    [
        ((90, 100, 900, 1000), 0.01, 0.0833, 0.9989),  # .009 / (.009 + .099); .891 / (.891 + .001)
        ((90, 100, 900, 1000), 0.2, 0.6923, 0.973),
        ((30, 30, 100, 100), 0.05, 1.0, 1.0),
        ((0, 30, 90, 100), 0.05, 0.0, 0.9448),
        ((20, 20, 0, 20), 0.05, 0.05, None),  # every film is flagged: there is no film for an NPV
        ((0, 20, 20, 20), 0.05, None, 0.95),
        ((0, 0, 19, 20), 0.05, None, None),
        ((9, 10, 19, 20), 0.0, 0.0, 1.0),
        ((9, 10, 19, 20), 1.0, 1.0, 0.0),
    ],
)
def test_predictive_values_follow_bayes_rule(
    films: tuple[int, int, int, int], prevalence: float, ppv: float | None, npv: float | None
) -> None:
    found = predictive_values(counted(*films), prevalence)
    assert (found.ppv.value, found.npv.value) == (ppv, npv)
    for estimate in (found.ppv, found.npv):
        if estimate.value is None:
            assert estimate == Estimate(value=None, interval95=None)
        else:
            assert estimate.interval95 is not None
            low, high = estimate.interval95
            assert 0 <= low <= estimate.value <= high <= 1


@pytest.mark.parametrize("prevalence", [-0.1, 1.1, float("nan")])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(ValueError, match="prevalence"):
        predictive_values(counted(9, 10, 19, 20), prevalence)


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "positives", "negatives"),
    [(0.95, 0.9, 50, 200), (0.8, 0.95, 32, 70), (0.99, 0.99, 30, 100)],
)
def test_intervals_of_predictive_values_cover(
    sensitivity: float, specificity: float, positives: int, negatives: int
) -> None:
    random, share, exact = np.random.default_rng(0), 0.05, cache(proportion)
    truths = (
        share * sensitivity / (share * sensitivity + (1 - share) * (1 - specificity)),
        (1 - share) * specificity / ((1 - share) * specificity + share * (1 - sensitivity)),
    )
    draws = np.stack([random.binomial(positives, sensitivity, 1000), random.binomial(negatives, specificity, 1000)])
    held = np.zeros(2)
    for hits, quiet in draws.T.tolist():
        found = predictive_values(Rates(sensitivity=exact(hits, positives), specificity=exact(quiet, negatives)), share)
        for index, (estimate, truth) in enumerate(zip((found.ppv, found.npv), truths, strict=True)):
            assert estimate.interval95 is not None
            held[index] += estimate.interval95[0] - 5e-5 <= truth <= estimate.interval95[1] + 5e-5
    assert (held / 1000 >= 0.95).all()


def test_flags_of_the_composite_are_of_all_films_but_the_negative() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    flagged = np.array([True, False, False, False, True, False, True, True])
    composite = flag_measures(NOT_NORMAL, flagged, labels, FINDINGS)
    assert (composite.sensitivity, composite.specificity) == (proportion(3, 4), proportion(3, 4))
    own = flag_measures("covid19", flagged, labels, FINDINGS)
    assert (own.sensitivity, own.specificity) == (proportion(2, 2), proportion(4, 6))
    assert composite.negatives_flagged == own.negatives_flagged == proportion(1, 4)


def test_a_prior_shift_changes_no_figure_of_a_bundle() -> None:
    """Where nearly all films are normal, the most probable finding is normal: that would say nothing of the network."""
    random, labels = np.random.default_rng(1), np.repeat([0, 1, 2], 40)
    logits = (2 * np.eye(3)[labels] + random.normal(size=(120, 3))).astype(np.float32)
    films, rare = dict.fromkeys(FINDINGS, 1 / 3), {"normal": 0.98, "pneumonia": 0.01, "covid19": 0.01}
    plain = Calibration(temperature=1.0)
    site = Calibration(temperature=1.0, prior_shift=PriorShift(films=films, site=rare))
    patients = [str(row) for row in range(120)]
    chances = plain.probabilities(logits)
    points = choose_points(chances, labels, FINDINGS, default_targets(FINDINGS), patients=patients, split="val")
    found = bundle_metrics(site, logits, labels, FINDINGS, points)
    assert found == bundle_metrics(plain, logits, labels, FINDINGS, points)
    assert (found.flags[NOT_NORMAL].specificity.value or 0) >= 0.9
    assert (found.flags[NOT_NORMAL].sensitivity.value or 0) > 0.6
