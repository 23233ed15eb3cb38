"""A variant beside the reference: what is counted, and what is too much."""

from typing import Any

import numpy as np
import pytest

from model.bundle import Bundle
from model.calibration import Calibration
from model.decision import OperatingPoint
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec
from model.stats.agreement import Agreement, auroc, compare


def point(finding: str, threshold: float) -> OperatingPoint:
    return OperatingPoint(
        finding=finding, threshold=threshold, sensitivity=0.9, specificity=0.5, positives=1, negatives=1, chosen_on="x"
    )


def bundle(tmp_path: Any, **points: float) -> Bundle:
    return Bundle(
        path=tmp_path,
        name="a",
        version="1",
        digest="",
        findings=FINDINGS,
        preprocess=PreprocessSpec(size=224),
        calibration=Calibration(temperature=1.0),
        operating_points=tuple(point(finding, threshold) for finding, threshold in points.items()),
        metrics={},
        provenance={},
        variants={},
    )


def logits(*rows: tuple[float, float, float]) -> Any:
    return np.log(np.array(rows)).astype(np.float32)


LABELS = np.array([0, 1, 2, 1])
BEFORE = logits((0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8), (0.4, 0.5, 0.1))


def test_the_same_logits_agree(tmp_path: Any) -> None:
    found = compare(bundle(tmp_path, pneumonia=0.4, covid19=0.5), BEFORE, BEFORE, LABELS)
    assert (found.largest_difference, found.mean_difference, found.films_with_other_flags) == (0, 0, 0)
    assert found.accuracy == (1, 1)
    assert found.auroc == dict.fromkeys(FINDINGS, (1.0, 1.0))
    assert found.faults(flag_tolerance=0.0) == []


def test_differences_are_of_probabilities(tmp_path: Any) -> None:
    after = logits((0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8), (0.46, 0.44, 0.1))
    found = compare(bundle(tmp_path, pneumonia=0.1), BEFORE, after, LABELS)
    assert found.largest_difference == pytest.approx(0.06, abs=1e-4)
    assert found.mean_difference == pytest.approx(0.01, abs=1e-5)
    assert found.accuracy == (1, 0.75)


def test_a_film_counts_once_however_many_of_its_flags_change(tmp_path: Any) -> None:
    after = logits((0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.1, 0.1, 0.8), (0.2, 0.2, 0.6))
    found = compare(bundle(tmp_path, pneumonia=0.4, covid19=0.5), BEFORE, after, LABELS)
    assert (found.films_with_other_flags, found.share_with_other_flags) == (1, 0.25)


def test_flags_that_swap_between_films_count_as_two(tmp_path: Any) -> None:
    after = BEFORE[[1, 0, 2, 3]]
    found = compare(bundle(tmp_path, pneumonia=0.4), BEFORE, after, LABELS)
    assert found.films_with_other_flags == 2


def test_a_finding_without_films_has_no_auroc(tmp_path: Any) -> None:
    found = compare(bundle(tmp_path), BEFORE, BEFORE, np.array([0, 1, 0, 1]))
    assert set(found.auroc) == {"normal", "pneumonia"}


def agreement(**changes: Any) -> Agreement:
    fields: dict[str, Any] = {
        "films": 200,
        "largest_difference": 0.05,
        "mean_difference": 0.004,
        "films_with_other_flags": 4,
        "share_with_other_flags": 0.02,
        "auroc": {"normal": (0.9, 0.895), "covid19": (0.9, 0.99)},
        "accuracy": (0.8, 0.7),
    }
    return Agreement(**fields | changes)


def test_the_limits_themselves_are_allowed() -> None:
    assert agreement().faults(flag_tolerance=0.02) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"films_with_other_flags": 5, "share_with_other_flags": 0.025},
            "flags change on 5 of 200 films, more than 2.00%",
        ),
        ({"auroc": {"covid19": (0.9, 0.8949)}}, "AUROC of covid19 falls from 0.9000 to 0.8949, by more than 0.005"),
    ],
)
def test_beyond_them_is_a_fault(changes: dict[str, Any], words: str) -> None:
    assert agreement(**changes).faults(flag_tolerance=0.02) == [words]


def test_auroc_counts_pairs() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 10, 60) / 10, random.random(60) < 0.4
    pairs = scores[positive][:, None] - scores[~positive][None]
    assert auroc(scores, positive) == round(float(((pairs > 0) + 0.5 * (pairs == 0)).mean()), 4)
