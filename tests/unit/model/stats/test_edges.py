"""No films, one class, numbers that are not numbers: None or one clear error, and never a warning or a wrong figure."""

import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model.bundle import Bundle
from model.calibrating.intervals import intervals
from model.calibrating.measured_part import coverage
from model.calibration import Calibration
from model.errors import StatisticsError
from model.evaluation.comparisons import difference
from model.evaluation.shares import share_over_patients
from model.findings import FINDINGS
from model.json_value import plain
from model.stats import outside, shift
from model.stats.agreement import compare
from model.stats.betting import mean_interval, share_interval
from model.stats.binomial import interval, proportion, sign_test
from model.stats.calibration_error import by_finding, error_by_finding, if_true
from model.stats.curves import curves
from model.stats.operating_points import bundle_metrics, flag_rates
from model.stats.over_patients import patient_summary
from model.stats.reliability import patient_reliability, reliability
from model.stats.sequential import Outcome, watch
from model.stats.summaries import mcnemar, summary
from model.stats.thresholds import choose_point

Chances = np.ndarray[Any, np.dtype[np.float64]]
Labels = np.ndarray[Any, np.dtype[np.int64]]
STATISTICS: dict[str, Callable[[Chances, Labels, list[str]], object]] = {
    "summary": lambda chances, labels, _: summary(chances, labels, FINDINGS),
    "patient_summary": lambda chances, labels, patients: patient_summary(chances, labels, FINDINGS, patients),
    "curves": lambda chances, labels, patients: curves(chances, labels, FINDINGS, patients),
    "reliability": lambda chances, labels, _: reliability(chances, labels),
    "patient_reliability": patient_reliability,
    "by_finding": by_finding,
    "error_by_finding": lambda chances, labels, _: error_by_finding(chances, labels),
    "if_true": lambda chances, *_: if_true(chances),
    "intervals": lambda chances, labels, patients: intervals(chances, labels, patients, FINDINGS),
    "bundle_metrics": lambda chances, labels, _: bundle_metrics(
        Calibration(temperature=1.0), chances.astype(np.float32), labels, FINDINGS, ()
    ),
}
OF_ANSWERS: dict[str, Callable[[Labels, Labels, list[str]], object]] = {
    "mcnemar": lambda called, labels, _: mcnemar(called, called, labels),
    "difference": lambda called, labels, patients: difference(called, 1 - called, labels, patients),
    "share_over_patients": lambda called, labels, patients: share_over_patients(called == 1, labels == 1, patients),
    "flag_rates": lambda called, labels, _: flag_rates(called == 1, labels == 1),
    "coverage": lambda called, labels, _: coverage(np.eye(3, dtype=bool)[called], labels, FINDINGS),
}


def films(count: int, labels: list[int]) -> tuple[Chances, Labels, list[str]]:
    chances = np.random.default_rng(1).dirichlet([1, 1, 1], count)
    return chances, np.resize(np.array(labels, np.int64), count), [str(film) for film in range(count)]


EDGES = {
    "no films": films(0, [0]),
    "one film": films(1, [0]),
    "two films": films(2, [0, 1]),
    "one class": films(30, [1]),
    "one positive": films(30, [1] + [0] * 29),
    "without one class": films(30, [0, 1]),
    "one patient": (*films(30, [0, 1, 2])[:2], ["one"] * 30),
    "certain of everything": (np.eye(3)[[0, 1, 2] * 10], np.array([0, 1, 2] * 10), [str(film) for film in range(30)]),
    "wrong in everything": (np.eye(3)[[1, 2, 0] * 10], np.array([0, 1, 2] * 10), [str(film) for film in range(30)]),
    "all alike": (np.full((30, 3), 1 / 3), np.array([0, 1, 2] * 10), [str(film) for film in range(30)]),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", STATISTICS)
def test_an_edge_has_an_answer(name: str, edge: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if edge == "no films" and name in ("error_by_finding", "bundle_metrics"):
            with pytest.raises(StatisticsError, match=r"^there are no films$"):
                STATISTICS[name](*EDGES[edge])
            return
        found = STATISTICS[name](*EDGES[edge])
    json.dumps(plain(found), allow_nan=False)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", OF_ANSWERS)
def test_an_edge_of_answers_has_an_answer(name: str, edge: str) -> None:
    chances, labels, patients = EDGES[edge]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json.dumps(plain(OF_ANSWERS[name](chances.argmax(axis=1), labels, patients)), allow_nan=False)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", STATISTICS)
def test_what_is_no_number_is_named(name: str, odd: float) -> None:
    chances, labels, patients = films(30, [0, 1, 2])
    chances[[3, 7], 1] = odd
    with pytest.raises(StatisticsError, match=r"^2 of 30 films have (scores|probabilities) that are not finite"):
        STATISTICS[name](chances, labels, patients)


@pytest.mark.parametrize("name", [name for name in STATISTICS if name not in ("if_true", "curves")])
def test_a_label_that_is_no_class_is_named(name: str) -> None:
    chances, labels, patients = films(30, [0, 1, 3])
    with pytest.raises(StatisticsError, match="a label is not one of the 3 classes"):
        STATISTICS[name](chances, labels, patients)


def test_a_threshold_needs_both_kinds_of_films() -> None:
    for truth in (np.zeros(20, bool), np.ones(20, bool), np.zeros(0, bool)):
        with pytest.raises(StatisticsError, match="needs films with it and films without"):
            choose_point(
                "covid19",
                np.linspace(0, 1, len(truth)),
                truth,
                sensitivity=0.9,
                patients=[str(i) for i in range(len(truth))],
                split="val",
            )
    with pytest.raises(StatisticsError, match="1 of 4 films have scores that are not finite"):
        choose_point(
            "covid19",
            np.array([0.1, np.nan, 0.2, 0.3]),
            np.arange(4) < 2,
            specificity=0.9,
            patients=list("abcd"),
            split="val",
        )


REFERENCE = np.linspace(0, 1, 50)
NO_FIGURE: dict[str, tuple[Callable[[], object], str]] = {
    "shift of no reference": (lambda: shift.compare(REFERENCE[:0], REFERENCE), "there are no films"),
    "shift of no films": (lambda: shift.compare(REFERENCE, REFERENCE[:0]), "there are no films"),
    "shift of a reference with NaN": (lambda: shift.compare(with_nan(2), REFERENCE), "2 of 50 films have reference"),
    "shift of films with NaN": (lambda: shift.compare(REFERENCE, with_nan(1)), "1 of 50 films have values that are"),
    "shift of infinity": (lambda: shift.compare(REFERENCE, np.array([np.inf])), "1 of 1 films have values that are"),
    "q of NaN": (lambda: shift.q_values([0.1, float("nan")]), "p-value nan is not between 0 and 1"),
    "q over 1": (lambda: shift.q_values([0.1, 1.1]), "p-value 1.1 is not between 0 and 1"),
    "outside of no films": (lambda: outside.count(REFERENCE, REFERENCE[:0]), "there are no films"),
    "outside of one": (lambda: outside.count(REFERENCE[:1], REFERENCE), "a reference of one film has no range"),
    "outside of NaN": (lambda: outside.count(REFERENCE, with_nan(3)), "3 of 50 films have values that are not"),
    "more than all": (lambda: proportion(3, 2), "3 of 2 films cannot be"),
    "fewer than none": (lambda: interval(-1, 2), "-1 of 2 films cannot be"),
    "no such level": (lambda: interval(1, 2, level=95), "level 95 is not between 0 and 1"),
    "sides below 0": (lambda: sign_test(-1, 3), "-1 of 2 films cannot be"),
    "watch from NaN": (lambda: watch([], (float("nan"), 1.0)), "rate nan is not between 0 and 1"),
    "watch from percent": (lambda: watch([], (80.0, 90.0)), "rate 80 is not between 0 and 1"),
    "watch backwards": (lambda: watch([], (0.9, 0.8)), "ends below its beginning"),
    "watch without error": (lambda: watch([], (0.8, 0.9), alpha=0.0), "alpha is over 0"),
    "bets on NaN": (lambda: mean_interval([0.1, float("nan")], most=1), "1 of 2 films have values that are not"),
    "bets beyond": (lambda: mean_interval([0.1, 1.2], most=1), "a value lies outside -1 to 1"),
    "bets on more than all": (lambda: share_interval(3, 2), "3 of 2 films cannot be"),
}


def with_nan(count: int) -> Chances:
    return np.concatenate([np.full(count, np.nan), REFERENCE[count:]])


@pytest.mark.parametrize(("compute", "words"), NO_FIGURE.values(), ids=NO_FIGURE)
def test_what_has_no_figure_says_why(compute: Callable[[], object], words: str) -> None:
    with pytest.raises(StatisticsError, match=re.escape(words)):
        compute()


FEW: dict[str, Callable[[], object]] = {
    "shift of one value each": lambda: shift.compare(np.array([0.5]), np.array([0.5])),
    "shift of one level": lambda: shift.compare(np.zeros(20), np.ones(5)),
    "outside of one level": lambda: outside.count(np.zeros(20), np.ones(5)),
    "no tests": lambda: shift.q_values([]),
    "nothing tried": lambda: proportion(0, 0),
    "no coin": lambda: sign_test(0, 0),
    "bets on nothing": lambda: (mean_interval([], most=1), share_interval(0, 0)),
    "watch nothing": lambda: watch([], (0.0, 0.0)),
    "watch without reference": lambda: watch([Outcome(True)]),
    "watch what never was": lambda: watch([Outcome(True)] * 30, (0.0, 0.0)),
    "watch what always was": lambda: watch([Outcome(False)] * 30, (1.0, 1.0)),
    "watch films without truth": lambda: watch([Outcome(False, known=False)] * 9 + [Outcome(True)], (0.0, 0.0)),
}


@pytest.mark.parametrize("compute", FEW.values(), ids=FEW)
def test_few_or_all_alike_have_an_answer(compute: Callable[[], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json.dumps(plain(compute()), allow_nan=False)


def test_a_variant_that_gives_no_number_does_not_agree(bundle: Bundle) -> None:
    logits, labels = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])
    odd = logits.copy()
    odd[2] = np.nan
    with pytest.raises(StatisticsError, match="1 of 4 films have scores that are not finite"):
        compare(bundle, logits, odd, labels)
    with pytest.raises(StatisticsError, match="there are 3 scores of the variant for 4 films"):
        compare(bundle, logits, logits[:3], labels)
    with pytest.raises(StatisticsError, match="there are no films"):
        compare(bundle, logits[:0], logits[:0], labels[:0])


def test_zero_width_intervals_are_not_given() -> None:
    chances, labels, patients = EDGES["certain of everything"]
    found = patient_summary(chances, labels, FINDINGS, patients).bootstrap
    assert found.accuracy is not None
    assert found.balanced_accuracy is not None
    assert found.accuracy[0] < 0.95
    assert found.balanced_accuracy[0] < 0.8
    for curve in curves(chances, labels, FINDINGS, patients).values():
        for bounds in (curve.roc.auroc.interval95, curve.pr.average_precision.interval95):
            assert bounds is not None
            assert (bounds[0] < 0.9, bounds[1]) == (True, 1)
