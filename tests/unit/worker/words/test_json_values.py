"""Values as JSON has them."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from tests.night_reports import GOOD, SENDER
from worker.nightly.films import Percentiles
from worker.words.json_values import to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Inner:
    at: datetime
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    day: date
    inner: Inner | None
    colour: Colour
    counts: dict[str, Inner]


@dataclass(frozen=True, kw_only=True)
class WithItsOwn:
    hidden: int

    def as_dict(self) -> dict[str, Any]:
        return {"shown": self.hidden + 1}


INNER = Inner(at=datetime(2026, 11, 20, 1, 2, 3, 456, tzinfo=UTC), names=("a", "b"))


def test_a_dataclass_is_an_object_with_its_fields_in_their_order() -> None:
    value = to_json(Outer(day=date(2026, 11, 20), inner=INNER, colour=Colour.RED, counts={"x": INNER}))
    inner = {"at": "2026-11-20T01:02:03+00:00", "names": ["a", "b"]}
    assert value == {"day": "2026-11-20", "inner": inner, "colour": "red", "counts": {"x": inner}}
    assert list(value) == ["day", "inner", "colour", "counts"]
    assert json.loads(json.dumps(value)) == value


def test_what_others_read_of_a_class_it_says_itself() -> None:
    assert to_json((WithItsOwn(hidden=1), None, 2.5)) == [{"shown": 2}, None, 2.5]
    assert to_json(SENDER)["difference"] == 0


def test_a_percentile_without_an_end_is_null() -> None:
    assert to_json(Percentiles(p50=1.5, p95=float("inf"), p99=float("inf"))) == {"p50": 1.5, "p95": None, "p99": None}


def test_a_whole_report_is_json() -> None:
    found = GOOD.as_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found)[:3] == ["date", "zone", "start"]
    assert (found["date"], found["zone"], found["start"]) == (
        "2026-11-20",
        "Europe/Berlin",
        "2026-11-20T00:00:00+00:00",
    )
