"""Values of a manifest, each checked where it is read: JSON lets through more than a bundle may hold.

A rule takes a value and its name, and gives the value or raises ValueError. None takes a text for a number, or true
for 1.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isfinite
from reprlib import repr as short
from typing import Any, NoReturn

Rule = Callable[[object, str], Any]
LARGEST = sys.float_info.max
MOST_FILMS = 2**53
"""A float holds every whole number up to it."""


def json_of(raw: bytes) -> Any:
    """As json.loads, with neither NaN nor infinity nor a key that an object has twice. Raises ValueError."""
    try:
        return json.loads(raw, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("too many blocks in one another") from None


def number(value: object, name: str, *, low: float = -LARGEST, high: float = LARGEST) -> float:
    """Finite, from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bounds = "finite" if high == LARGEST else f"at most {high:g}"
        raise ValueError(
            f"{name} must be a number{'' if low == -LARGEST else f', {low:g} or more'}, {bounds}, {_not(value)}"
        )
    return float(value)


share: Rule = partial(number, low=0, high=1)


def count(value: object, name: str, *, low: int = 0, high: int = MOST_FILMS) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, {_not(value)}")
    return value


def interval(value: object, name: str) -> tuple[float, float]:
    """Two shares, the second no smaller."""
    ends = sequence(value, name)
    if len(ends) != 2:
        raise ValueError(f"{name} must have two ends, {_not(value)}")
    low, high = (float(share(end, name)) for end in ends)
    if low > high:
        raise ValueError(f"{name} must not end below its beginning, {_not(value)}")
    return low, high


def flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, {_not(value)}")
    return value


def text(value: object, name: str, *, least: int = 0, most: int = 1000) -> str:
    """Of one line: nothing in it moves a cursor or turns a line of a terminal round."""
    if not isinstance(value, str) or not least <= len(value) <= most or not value.isprintable():
        raise ValueError(f"{name} must be a text of {least} to {most} characters that can be printed, {_not(value)}")
    return value


label: Rule = partial(text, least=1, most=64)


def sequence(value: object, name: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list, {_not(value)}")
    return list(value)


def block(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a block of named values, {_not(value)}")
    return dict(value)


def blocks(value: object, name: str) -> dict[str, dict[str, Any]]:
    """Blocks by name."""
    return {key: block(entry, f"{name} of {key}") for key, entry in block(value, name).items()}


def maybe(rule: Rule) -> Rule:
    """The same, or null."""
    return lambda value, name: None if value is None else rule(value, name)


def read_by(rules: Mapping[str, Rule], value: object, name: str) -> dict[str, Any]:
    """A block by a rule for each key; it may lack some. Raises ValueError."""
    found = block(value, name)
    if unknown := found.keys() - rules.keys():
        raise ValueError(f"{name} has {', '.join(map(short, sorted(unknown)))}, which this version does not know")
    return {key: rules[key](entry, key) for key, entry in found.items()}


def by_finding(found: object, name: str, findings: tuple[str, ...], rule: Rule) -> dict[str, Any]:
    """One value for each finding, in the bundle's order, from a manifest. Raises ValueError."""
    given = block(found, name)
    if given.keys() != set(findings):
        raise ValueError(f"{name} must have a value for each of {', '.join(findings)}, and for nothing else")
    return {finding: rule(given[finding], f"{name} of {finding}") for finding in findings}


def _not(value: object) -> str:
    return f"not {short(value)}"


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    found = float(digits)
    if not isfinite(found):
        raise ValueError(f"{digits[:20]} is too large a number")
    return found


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"an object has {short(key)} twice")
        found[key] = value
    return found
