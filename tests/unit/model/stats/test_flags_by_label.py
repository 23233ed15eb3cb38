from dataclasses import replace

import numpy as np
import pytest

from model.decision import OperatingPoint
from model.findings import FINDINGS, NOT_NORMAL
from model.stats.flags_by_label import counted_by_label

POINT = OperatingPoint(
    finding="covid19",
    threshold=0.5,
    sensitivity=0.9,
    specificity=0.75,
    positives=20,
    negatives=80,
    chosen_on="val",
)


def test_flags_are_counted_by_label() -> None:
    chances = np.array([[0.9, 0.05, 0.05], [0.3, 0.1, 0.6], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    labels = np.array([0, 0, 1, 2])
    composite = replace(POINT, finding=NOT_NORMAL)
    own, other = counted_by_label((POINT, composite), chances, labels, FINDINGS)
    assert own.flagged_by_label == {"normal": (1, 2), "pneumonia": (0, 1), "covid19": (1, 1)}
    assert other.flagged_by_label == {"normal": (1, 2), "pneumonia": (1, 1), "covid19": (1, 1)}
    assert OperatingPoint.read(own.as_dict()) == own


@pytest.mark.parametrize(
    ("finding", "label", "expected"),
    [
        ("covid19", "covid19", (18, 20)),
        ("covid19", "normal", None),
        (NOT_NORMAL, "normal", (20, 80)),
        (NOT_NORMAL, "covid19", None),
    ],
)
def test_a_bundle_that_does_not_count_says_it_where_a_label_stands_alone(
    finding: str, label: str, expected: tuple[int, int] | None
) -> None:
    assert replace(POINT, finding=finding).flagged_of(label, "normal") == expected
    assert "flagged_by_label" not in POINT.as_dict()
