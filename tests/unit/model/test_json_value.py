"""Values as JSON and back."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

import pytest

from model.json_value import JsonValue, ReadableJson, plain


@dataclass(frozen=True, kw_only=True)
class Inner(JsonValue):
    bounds: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Outer(ReadableJson):
    name: str
    parts: dict[str, Inner]
    rows: tuple[tuple[str | float | None, ...], ...]


@dataclass(frozen=True, kw_only=True)
class More(Outer):
    count: int


VALUE = More(
    name="a", parts={"b": Inner(bounds=(0.1, 0.2)), "c": Inner(bounds=None)}, rows=(("x", 1.5, None),), count=3
)


def test_keys_are_the_fields_in_their_order() -> None:
    written = json.dumps(VALUE.as_dict())
    parts = '{"b": {"bounds": [0.1, 0.2]}, "c": {"bounds": null}}'
    assert written == f'{{"name": "a", "parts": {parts}, "rows": [["x", 1.5, null]], "count": 3}}'


def test_a_value_reads_back_through_json() -> None:
    assert More.read(json.loads(json.dumps(VALUE.as_dict()))) == VALUE


def test_keys_that_are_no_field_are_left_out() -> None:
    assert Outer.read(VALUE.as_dict()).as_dict() == {
        name: value for name, value in VALUE.as_dict().items() if name != "count"
    }


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        Outer.read({"name": "a", "parts": {}})


def test_plain_leaves_what_json_says_already() -> None:
    assert plain({"a": [1, None, "x", (True,)]}) == {"a": [1, None, "x", [True]]}


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Moment:
    at: datetime
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Day:
    day: date
    moment: Moment | None
    colour: Colour
    counts: dict[str, Moment]


@dataclass(frozen=True, kw_only=True)
class WithItsOwn:
    hidden: int

    def as_dict(self) -> dict[str, int]:
        return {"shown": self.hidden + 1}


MOMENT = Moment(at=datetime(2026, 11, 20, 1, 2, 3, 456, tzinfo=UTC), names=("a", "b"))


def test_any_dataclass_is_an_object_with_its_fields_in_their_order() -> None:
    value = plain(Day(day=date(2026, 11, 20), moment=MOMENT, colour=Colour.RED, counts={"x": MOMENT}))
    moment = {"at": "2026-11-20T01:02:03+00:00", "names": ["a", "b"]}
    assert value == {"day": "2026-11-20", "moment": moment, "colour": "red", "counts": {"x": moment}}
    assert list(value) == ["day", "moment", "colour", "counts"]
    assert json.loads(json.dumps(value)) == value


def test_times_are_as_fine_as_asked() -> None:
    assert plain([MOMENT], timespec="auto")[0]["at"] == "2026-11-20T01:02:03.000456+00:00"


def test_what_others_read_of_a_class_it_says_itself() -> None:
    assert plain((WithItsOwn(hidden=1), None, 2.5)) == [{"shown": 2}, None, 2.5]
