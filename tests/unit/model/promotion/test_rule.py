"""The rule and the statistics under it, on films made up by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from model.promotion.rule import BROKEN, KEEP, MET, NOT_ENOUGH, NOT_JUDGED, OPEN, PROMOTE, RULE, verdict
from model.promotion.side_by_side import ComparedFilm, FindingScore, FlagChanges, OneSided, SideBySide, compare
from model.stats.binomial import interval
from model.stats.estimate import Proportion

FLAG, OTHER = "covid19", "normal"


def film(live: bool = False, shadow: bool = False, truth: str | None = None, shift: float = 0.0) -> ComparedFilm:
    def said(flag: bool, moved: float) -> dict[str, FindingScore]:
        return {
            OTHER: FindingScore(probability=0.5 - moved, flag=False),
            FLAG: FindingScore(probability=0.5 + moved, flag=flag),
        }

    return ComparedFilm(live=said(live, 0.0), shadow=said(shadow, shift), truth=truth)


def judge(films: Sequence[ComparedFilm], missed: int = 0) -> SideBySide:
    return compare(films, flagged=[FLAG], missed=missed)


def states(result: SideBySide) -> dict[str, str]:
    return {line.criterion: line.state for line in result.criteria}


def test_every_number_of_a_comparison() -> None:
    films = [
        *[film(True, True, FLAG, 0.01)] * 3,
        film(True, False, FLAG, -0.3),
        film(False, True, FLAG, 0.2),
        film(False, True, OTHER, 0.1),
        *[film(False, False, OTHER, 0.0)] * 4,
        film(False, False, None, 0.0),
    ]
    found = judge(films, missed=1)
    assert (found.films, found.missed) == (11, Proportion(value=0.0833, interval95=interval(1, 12), n=12))
    assert found.films_with_other_flags.value == round(3 / 11, 4)
    change = found.findings[FLAG]
    assert change.flags == FlagChanges(on=2, off=1, changed=found.films_with_other_flags)
    assert change.shift is not None
    assert change.shift.mean == round((0.03 - 0.3 + 0.2 + 0.1) / 11, 4)
    assert change.shift.quantiles == {"0.05": -0.15, "0.25": 0.0, "0.5": 0.0, "0.75": 0.01, "0.95": 0.15}
    assert change.shift.largest == -0.3
    assert found.findings[OTHER].flags is None
    truth = found.truth[FLAG]
    assert [getattr(truth.sensitivity, who).value for who in ("live", "shadow", "lost")] == [0.8, 0.8, 0.2]
    assert [getattr(truth.specificity, who).value for who in ("live", "shadow", "lost")] == [1.0, 0.8, 0.2]
    assert truth.sensitivity.lost.interval95 == interval(1, 5)
    assert truth.mcnemar == OneSided(live_only=2, shadow_only=1, p=1.0)


def test_nothing_scored_by_both() -> None:
    found = judge([])
    assert found.verdict == NOT_ENOUGH
    assert found.findings[FLAG].shift is None


def test_without_truth_flags_decide() -> None:
    same = [film()] * RULE.films
    assert judge(same).verdict == PROMOTE
    assert judge(same[1:]).verdict == NOT_ENOUGH
    changed = film(live=False, shadow=True)
    assert judge([*same[3:], *[changed] * 3]).verdict == PROMOTE
    assert judge([*same[4:], *[changed] * 4]).verdict == NOT_ENOUGH
    assert judge([*same[20:], *[changed] * 20]).verdict == KEEP


def test_films_the_shadow_could_not_score() -> None:
    same = [film()] * RULE.films
    assert judge(same, missed=4).verdict == PROMOTE
    assert judge(same, missed=5).verdict == KEEP


def test_lost_sensitivity_keeps_live_whatever_was_gained() -> None:
    same = [film(truth=OTHER)] * RULE.films
    lost = [*same, *[film(True, False, FLAG)] * 12, *[film(False, True, FLAG)] * 12, *[film(True, True, FLAG)] * 16]
    found = judge(lost)
    assert found.verdict == KEEP
    assert states(found)[f"sensitivity of {FLAG}, lost"] == BROKEN


def test_few_positives_are_not_judged_unless_plainly_lost() -> None:
    same = [film(truth=OTHER)] * RULE.films
    few = [*same, *[film(True, True, FLAG)] * (RULE.judged - 1)]
    assert states(judge(few))[f"sensitivity of {FLAG}, lost"] == NOT_JUDGED
    assert judge(few).verdict == PROMOTE
    assert judge([*same, *[film(True, False, FLAG)] * 3, *[film(True, True, FLAG)] * 2]).verdict == KEEP


def test_the_fewest_that_are_judged_are_the_fewest_that_can_be_met() -> None:
    assert interval(0, RULE.judged)[1] <= RULE.lost
    assert interval(0, RULE.judged - 1)[1] >= RULE.lost
    assert interval(3, RULE.films)[1] <= RULE.other_flags < interval(4, RULE.films)[1]


def test_many_changed_flags_are_no_harm_where_truth_says_so() -> None:
    """Half of the false alarms gone, no positive lost."""
    films = [
        *[film(True, True, FLAG)] * 40,
        *[film(True, False, OTHER)] * 80,
        *[film(False, False, OTHER)] * 100,
    ]
    found = judge(films)
    (flags,) = (line for line in found.criteria if line.criterion == "films with other flags")
    assert (found.verdict, flags.state) == (PROMOTE, MET)
    assert "truth" in str(flags.because)
    unread = judge([replace(one, truth=None) for one in films])
    assert unread.verdict == KEEP


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([MET, MET], PROMOTE),
        ([MET, NOT_JUDGED], PROMOTE),
        ([MET, OPEN], NOT_ENOUGH),
        ([OPEN, BROKEN], KEEP),
    ],
)
def test_verdict(found: list[str], expected: str) -> None:
    assert verdict(found) == expected
