"""The rule and the statistics under it, on films made up by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from model.promotion.against_truth import OneSided
from model.promotion.compared_film import BundleScore, ComparedFilm, FindingScore
from model.promotion.rule import (
    BROKEN,
    FILMS,
    KEEP,
    LABELS,
    MET,
    NOT_ENOUGH,
    NOT_ENOUGH_LABELS,
    OPEN,
    PROMOTE,
    RULE,
    Criterion,
    verdict,
)
from model.promotion.side_by_side import FlagChanges, SideBySide, compare
from model.stats.betting import share_interval
from model.stats.binomial import interval
from model.stats.estimate import Proportion

FLAG, OTHER = "covid19", "normal"
SENSITIVITY, SPECIFICITY = f"sensitivity of {FLAG} on {FLAG}, lost", f"specificity of {FLAG} on {OTHER}, lost"
SETS = {True: (FLAG,), False: (OTHER,), None: (FLAG, OTHER)}


def film(
    live: bool = False,
    shadow: bool = False,
    truth: str | None = None,
    shift: float = 0.0,
    *,
    drawn: bool = False,
    unsure: bool = False,
) -> ComparedFilm:
    def said(flag: bool, moved: float, named: tuple[str, ...]) -> BundleScore:
        findings = {
            OTHER: FindingScore(probability=0.5 - moved, flag=False),
            FLAG: FindingScore(probability=0.5 + moved, flag=flag),
        }
        return BundleScore(findings=findings, prediction_set=named)

    both = truth == FLAG if truth else live
    return ComparedFilm(
        live=said(live, 0.0, SETS[both]),
        shadow=said(shadow, shift, SETS[None if unsure else both]),
        truth=truth,
        drawn=drawn,
    )


SICK, WELL = film(True, True, FLAG), film(False, False, OTHER)
GOOD = [*[SICK] * 60, *[WELL] * 240]
"""Enough for every criterion."""


def judge(films: Sequence[ComparedFilm], missed: int = 0, *, representative: bool = True) -> SideBySide:
    return compare(films, flagged=[FLAG], negative=OTHER, missed=missed, representative=representative)


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
    sick, well = truth.by_label[FLAG], truth.by_label[OTHER]
    assert [getattr(sick, who).value for who in ("live", "shadow", "lost")] == [0.8, 0.8, 0.2]
    assert [getattr(well, who).value for who in ("live", "shadow", "lost")] == [1.0, 0.8, 0.2]
    assert sick.lost.interval95 == interval(1, 5)
    assert truth.mcnemar == OneSided(live_only=2, shadow_only=1, p=1.0)
    lines = {line.criterion: line for line in found.criteria}
    assert (lines[SENSITIVITY].value, lines[SENSITIVITY].interval95) == (0.2, share_interval(1, 5))
    brier = [0.49**2 - 0.25] * 3 + [0.8**2 - 0.25, 0.3**2 - 0.25, 0.6**2 - 0.25] + [0.0] * 4
    assert lines["Brier score of the shadow, rise"].value == round(sum(brier) / 10, 4)


def test_a_shadow_that_is_as_good_is_promoted() -> None:
    found = judge(GOOD)
    assert found.verdict == PROMOTE
    assert set(states(found).values()) == {MET}


def test_nothing_scored_by_both() -> None:
    found = judge([])
    assert found.verdict == NOT_ENOUGH
    assert found.findings[FLAG].shift is None


def test_without_truth_nothing_is_promoted() -> None:
    unread = [replace(one, truth=None) for one in GOOD]
    found = judge(unread)
    assert found.verdict == NOT_ENOUGH_LABELS
    missing = {line.criterion: line.missing for line in found.criteria}
    assert missing[SENSITIVITY] == f"films with the label {FLAG}: 0, at least {RULE.judged} more"
    assert judge([*unread[20:], *[film(False, True)] * 60]).verdict == KEEP


def test_labels_that_nobody_drew_promote_nothing() -> None:
    assert judge(GOOD, representative=False).verdict == NOT_ENOUGH_LABELS
    lost = [*GOOD, *[film(True, False, FLAG)] * 60]
    assert judge(lost, representative=False).verdict == KEEP


def test_films_the_shadow_could_not_score() -> None:
    assert judge(GOOD, missed=1).verdict == NOT_ENOUGH
    assert judge(GOOD * 2, missed=1).verdict == PROMOTE
    assert judge(GOOD, missed=30).verdict == KEEP


def test_lost_sensitivity_keeps_live_whatever_was_gained() -> None:
    found = judge([*GOOD, *[film(True, False, FLAG)] * 30, *[film(False, True, FLAG)] * 30])
    assert found.verdict == KEEP
    assert states(found)[SENSITIVITY] == BROKEN
    assert states(found)[SPECIFICITY] == MET


def test_few_positives_promote_nothing() -> None:
    few = [*[SICK] * (RULE.judged - 1), *[WELL] * 240]
    found = judge(few)
    assert (states(found)[SENSITIVITY], found.verdict) == (OPEN, NOT_ENOUGH_LABELS)
    assert judge([SICK, *few]).verdict == PROMOTE


def test_the_fewest_that_are_judged_are_the_fewest_that_can_be_met() -> None:
    assert share_interval(0, RULE.judged)[1] <= RULE.lost < share_interval(0, RULE.judged - 1)[1]


def test_a_drawn_film_without_a_label_counts_against_the_shadow() -> None:
    """Those that the shadow no longer flags are the ones that readers left out."""
    hidden = [film(True, False, None, drawn=True)] * 10
    found = judge([*GOOD, *hidden])
    assert states(found)[SENSITIVITY] == OPEN
    assert found.verdict != PROMOTE
    assert states(judge([*GOOD, *[replace(one, drawn=False) for one in hidden]]))[SENSITIVITY] == MET


def test_probabilities_that_became_worse_keep_live_though_no_flag_changed() -> None:
    worse = [replace(one, shadow=film(one.truth == FLAG, one.truth == FLAG, shift=shift).shadow)
             for one in GOOD
             for shift in [-0.25 if one.truth == FLAG else 0.25]]  # fmt: skip
    found = judge(worse)
    assert found.verdict == KEEP
    assert states(found)["Brier score of the shadow, rise"] == BROKEN
    assert states(found)["films with other flags"] == MET
    assert states(found)["films with a probability that moved"] == BROKEN


def test_probabilities_that_moved_are_no_harm_where_they_became_better() -> None:
    better = [replace(one, shadow=film(one.truth == FLAG, one.truth == FLAG, shift=shift).shadow)
              for one in GOOD
              for shift in [0.25 if one.truth == FLAG else -0.25]]  # fmt: skip
    found = judge([replace(one, shadow=replace(one.shadow, prediction_set=old.shadow.prediction_set))
                   for one, old in zip(better, GOOD, strict=True)])  # fmt: skip
    assert found.verdict == PROMOTE


def test_sets_that_lose_the_label_or_say_less_keep_live() -> None:
    shifted = [replace(one, shadow=replace(one.shadow, prediction_set=())) for one in GOOD]
    assert states(judge(shifted))["prediction sets that hold the label, fall"] == BROKEN
    unsure = [replace(one, shadow=replace(one.shadow, prediction_set=None)) for one in GOOD]
    found = judge(unsure)
    assert states(found)["prediction sets that hold the label, fall"] == MET
    assert states(found)["unsure films, rise"] == BROKEN


def test_many_changed_flags_are_no_harm_where_truth_says_so() -> None:
    """Half of the false alarms gone, no positive lost."""
    films = [*[SICK] * 60, *[film(True, False, OTHER)] * 80, *[WELL] * 160]
    found = judge(films)
    (flags,) = (line for line in found.criteria if line.criterion == "films with other flags")
    assert (found.verdict, flags.state) == (PROMOTE, MET)
    assert "truth" in str(flags.because)
    assert judge([replace(one, truth=None) for one in films]).verdict == KEEP


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(MET, FILMS), (MET, LABELS)], PROMOTE),
        ([(MET, FILMS), (OPEN, LABELS)], NOT_ENOUGH_LABELS),
        ([(OPEN, FILMS), (OPEN, LABELS)], NOT_ENOUGH),
        ([(OPEN, FILMS), (BROKEN, LABELS)], KEEP),
    ],
)
def test_verdict(found: list[tuple[str, str]], expected: str) -> None:
    lines = [Criterion(criterion="", value=0, limit=0, state=state, judged_on=on) for state, on in found]
    assert verdict(lines) == expected


@pytest.mark.slow
def test_a_shadow_that_loses_too_much_is_hardly_ever_promoted_by_looking_every_day() -> None:
    """Looked at on each of 60 days, four films with the finding a day; it loses just what it may not lose more of. By
    exact intervals, as if each look were the only one, far more of such shadows would be promoted on some day."""
    lost = np.random.default_rng(8).binomial(4, RULE.lost, (250, 60)).cumsum(axis=1)
    looks = [[(int(events), 4 * day) for day, events in enumerate(run, 1)] for run in lost]
    daily = sum(any(share_interval(*seen)[1] <= RULE.lost for seen in run) for run in looks)
    exact = sum(any(interval(*seen)[1] <= RULE.lost for seen in run) for run in looks)
    assert daily <= 0.05 * len(looks)
    assert exact > 1.5 * 0.05 * len(looks)
