"""The windows of dates and times that a PACS is asked for."""

from datetime import date, datetime
from itertools import pairwise

import pytest

from dicom_gateway.study_window import StudyWindow, windows


def keys(begin: str, end: str) -> list[str]:
    return [
        " ".join(filter(None, (found.keys["StudyDate"], found.keys["StudyTime"])))
        for found in windows(datetime.fromisoformat(begin), datetime.fromisoformat(end))
    ]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("2026-11-27", "2026-11-28", ["20261127"]),
        ("2026-11-01", "2026-12-01", ["20261101-20261130"]),
        ("2026-11-27T08:00", "2026-11-27T09:30:15", ["20261127 080000-093015"]),
        ("2026-11-27T22:00", "2026-11-28T02:00", ["20261127 220000-", "20261128 000000-020000"]),
        ("2026-11-27T22:00", "2026-11-28", ["20261127 220000-"]),
        ("2026-12-30T22:00", "2027-01-02T02:00", ["20261230 220000-", "20261231-20270101", "20270102 000000-020000"]),
    ],
)
def test_no_window_crosses_midnight(begin: str, end: str, expected: list[str]) -> None:
    assert keys(begin, end) == expected


def test_an_end_before_the_begin() -> None:
    with pytest.raises(ValueError, match="not after"):
        windows(datetime(2026, 11, 27), datetime(2026, 11, 27))


def test_halves_leave_nothing_out_and_end() -> None:
    window = StudyWindow(first=date(2026, 11, 1), last=date(2026, 11, 3))
    parts = [window]
    leaves = []
    while parts:
        part = parts.pop()
        halves = part.halves()
        parts += halves or ()
        leaves += [] if halves else [part]
    for day in (1, 2, 3):
        of_day = sorted((leaf for leaf in leaves if leaf.first.day == day), key=lambda leaf: leaf.begin)
        assert (of_day[0].begin, of_day[-1].end) == (0, 86_400)
        assert all(before.end == after.begin for before, after in pairwise(of_day))
        assert all(leaf.first == leaf.last and leaf.end - leaf.begin <= 60 for leaf in of_day)


def test_what_a_window_covers() -> None:
    day, other = date(2026, 11, 27), date(2026, 11, 28)
    morning = StudyWindow(first=day, last=day, end=43_200)
    for study, inside in (
        ((day, 43_200), True),
        ((day, 43_201), False),
        ((day, None), True),
        ((other, 0), False),
        ((None, None), True),
    ):
        assert morning.covers(*study) == inside, study
    assert StudyWindow(first=day, last=other).covers(other, 86_399)
