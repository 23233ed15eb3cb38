"""A short slice of `make fuzz`: damage that hypothesis draws, and every input that was a fault once."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.changes import CHANGES, Change, changed
from tests.fuzz.targets import TARGETS

FOUND = sorted((Path(__file__).parent / "found").glob("*/*"))
"""found/TARGET/NAME: made smaller by hand, or by libFuzzer's -minimize_crash."""


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150)
@given(place=st.integers(0, 63), changes=CHANGES)
def test_damage_is_no_surprise(name: str, place: int, changes: list[Change]) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    target.run(changed(seeds[place % len(seeds)], changes))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())
