"""Values as JSON and back."""

import json
from dataclasses import dataclass

import pytest

from model.json_value import JsonValue, plain


@dataclass(frozen=True, kw_only=True)
class Inner(JsonValue):
    bounds: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Outer(JsonValue):
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
