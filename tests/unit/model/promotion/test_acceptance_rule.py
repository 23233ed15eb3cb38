"""The rule for an AE: its chances of error, by simulation, and what it says of a few counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bundle import REFERENCE, Bundle, load
from model.decision import SENSITIVITY, SPECIFICITY
from model.promotion.acceptance_rule import (
    ALPHA,
    GO,
    MOST_FILMS,
    NO_GO,
    POWER,
    UNDECIDED,
    CountedRate,
    alphas,
    judge,
    state_of,
    verdict,
)
from model.promotion.rule import BROKEN, MET, OPEN
from model.stats.binomial import interval
from tests.unit.model.promotion.acceptance_sites import MARGIN, MIX, SimulatedAe, simulate

AES = 400
ERROR = ALPHA + 3 * (ALPHA * (1 - ALPHA) / AES) ** 0.5
"""Three standard errors of the simulation above what the rule promises: 8.3 %."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load(REFERENCE)


def counted(rate: str = SENSITIVITY, right: int = 0, films: int = 0, calibrated: float = 0.5) -> CountedRate:
    return CountedRate(finding="covid19", rate=rate, right=right, films=films, calibrated=calibrated)


def test_an_ae_at_its_floor_is_seldom_called_go_however_often_one_looks(bundle: Bundle) -> None:
    """All other rates are met at once here, so this one decides. With 5 % for every look it would be 12 %."""
    ae = SimulatedAe(name="", worse=MARGIN, only=("covid19", SENSITIVITY))
    ends = simulate(ae, films=2000, looks=5, aes=AES, seed=1, bundle=bundle)
    assert 0 < ends.verdicts[GO] <= ERROR * AES


def test_an_ae_at_every_floor_is_seldom_called_no_go(bundle: Bundle) -> None:
    ends = simulate(SimulatedAe(name="", worse=MARGIN), films=500, looks=4, aes=AES, seed=2, bundle=bundle)
    assert 0 < ends.verdicts[NO_GO] <= ERROR * AES


def test_an_ae_as_calibrated_goes_and_one_clearly_worse_does_not(bundle: Bundle) -> None:
    good = simulate(SimulatedAe(name=""), films=2000, looks=1, aes=AES, seed=3, bundle=bundle)
    assert good.verdicts[GO] >= 0.9 * AES
    assert good.verdicts[NO_GO] == 0
    for only in (None, ("covid19", SENSITIVITY), ("pneumonia", SPECIFICITY)):
        ae = SimulatedAe(name="", worse=0.2, only=only)
        bad = simulate(ae, films=2000, looks=1, aes=AES // 4, seed=4, bundle=bundle)
        assert bad.verdicts[GO] == 0
        assert bad.verdicts[NO_GO] >= 0.8 * AES // 4


def test_so_many_films_as_it_asks_for_are_enough(bundle: Bundle) -> None:
    """Before any film was read: of each kind what it says, at the simulated AEs' mix."""
    rates = [
        CountedRate(finding=point.finding, rate=rate, right=0, films=0, calibrated=getattr(point, rate))
        for point in bundle.operating_points
        for rate in (SENSITIVITY, SPECIFICITY)
    ]
    of_kind = {(one.finding, one.rate): one.more for one in judge(rates, margin=MARGIN, look=0).rates}
    pneumonias = of_kind["pneumonia", SENSITIVITY]
    assert pneumonias is not None
    assert all(more is not None and more <= pneumonias for more in of_kind.values())
    ends = simulate(SimulatedAe(name=""), films=round(pneumonias / min(MIX)), looks=1, aes=AES, seed=5, bundle=bundle)
    assert ends.verdicts[GO] >= POWER * AES


@given(
    counts=st.integers(1, 300).flatmap(lambda films: st.tuples(st.integers(0, films), st.just(films))),
    floor=st.sampled_from((0.3, 0.41, 0.877)),
    look=st.integers(1, 4),
)
def test_the_state_is_what_the_limits_say(counts: tuple[int, int], floor: float, look: int) -> None:
    right, films = counts
    lower, upper = alphas(look, 6)
    low, high = interval(right, films, 1 - 2 * lower)[0], interval(right, films, 1 - 2 * upper)[1]
    state = state_of(right, films, floor, lower, upper)
    assert (state == MET, state == BROKEN) == (low >= floor, high < floor)


def test_the_looks_share_the_chance_of_error() -> None:
    assert sum(alphas(look, 6)[0] for look in range(1, 1000)) == pytest.approx(ALPHA, rel=0.002)
    assert alphas(1, 6) == (ALPHA / 2, ALPHA / 12)
    assert judge([counted(films=9)], margin=MARGIN, look=1).rule.lower_level == 0.975


def test_one_broken_rate_is_enough_for_no_go_and_go_needs_every_one() -> None:
    for states, said in (
        ([MET, MET], GO),
        ([MET, OPEN], UNDECIDED),
        ([BROKEN, OPEN], NO_GO),
        ([BROKEN, MET], NO_GO),
        ([], UNDECIDED),
    ):
        assert verdict(states) == said


def test_a_finding_that_the_ae_does_not_have_stays_open_and_says_at_least_how_many_to_draw() -> None:
    judged = judge([counted(), counted(SPECIFICITY, 97, 100, 0.97)], margin=MARGIN, look=1)
    without, met = judged.rates
    assert (without.value, without.limits, without.state, met.state) == (None, (0.0, 1.0), OPEN, MET)
    assert without.more is not None
    assert without.drawn == np.ceil(without.more / interval(0, 100)[1])
    assert (met.more, met.drawn, judged.verdict) == (None, None, UNDECIDED)


def test_what_cannot_be_settled_by_reading_says_so() -> None:
    """A rate that is as calibrated, asked to lie above that but for a thousandth."""
    (rate,) = judge([counted(right=250, films=500)], margin=0.001, look=1).rates
    assert (rate.state, rate.more, rate.drawn) == (OPEN, None, None)
    assert MOST_FILMS < 0.25 / 0.001**2


def test_a_margin_beyond_the_rate_asks_for_one_film() -> None:
    (none,) = judge([counted(calibrated=0.05)], margin=MARGIN, look=0).rates
    assert (none.floor, none.state, none.more) == (0, OPEN, 1)
    assert judge([counted(films=1, calibrated=0.05)], margin=MARGIN, look=1).verdict == GO
