import re
from itertools import product
from pathlib import Path

import pytest

import worker
from worker.states import TRANSITIONS, State, sources

ALLOWED = {
    (State.QUARANTINED, State.RECEIVED),
    (State.QUARANTINED, State.INELIGIBLE),
    (State.RECEIVED, State.SCORED),
    (State.RECEIVED, State.INELIGIBLE),
    (State.RECEIVED, State.FAILED),
    (State.FAILED, State.RECEIVED),
    (State.FAILED, State.INELIGIBLE),
    (State.SCORED, State.REPORTED),
}


@pytest.mark.parametrize(("source", "target"), list(product(State, State)))
def test_every_pair(source: State, target: State) -> None:
    assert (source in sources(target)) == ((source, target) in ALLOWED)


def test_table_is_complete_and_explained() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(len(why) > 10 for targets in TRANSITIONS.values() for why in targets.values())


def test_every_state_is_reached_and_only_the_last_ones_end() -> None:
    reached, new = {State.RECEIVED, State.QUARANTINED}, {State.RECEIVED, State.QUARANTINED}
    while new:
        new = {target for state in new for target in TRANSITIONS[state]} - reached
        reached |= new
    assert reached == set(State)
    assert {state for state, targets in TRANSITIONS.items() if not targets} == {State.REPORTED, State.INELIGIBLE}


def test_one_module_knows_which_scores_are_live() -> None:
    """The others take `live_findings`, `live_scores`, IS_LIVE or LIVE_OF_FILM from it, and a Role is no string."""
    by_hand = {}
    for path in sorted(Path(worker.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"score\w*\.c\.role\s*==.*|\brole\s*(?:==|!=|=)\s*[\"'].*", text)
        if found and path.name not in ("scores.py", "tables.py"):  # an index of the schema is SQL
            by_hand[path.name] = found
    assert by_hand == {}
