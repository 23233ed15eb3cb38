"""Every fault of a film and what is decided of it, and that the table in the docstring says the same."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_gateway.errors import PIXEL_ERRORS, PixelError
from worker.queue import retry
from worker.queue.retry import (
    DECODES,
    LONGEST_WAIT,
    Again,
    Count,
    DeadLetter,
    Decision,
    Fault,
    Postpone,
    RetryOptions,
    back_off,
    decide,
    exhausted,
    fault_of_reason,
)
from worker.scoring import decoding
from worker.scoring.outcomes import Outcome, Unfinished, after_fault, known_reasons
from worker.states import State

OPTIONS = RetryOptions(max_attempts=3, retry_seconds=2.0, lease_seconds=30.0)
DECISIONS: dict[Fault, tuple[type[Decision], ...]] = {
    Fault.DECODER_CRASHED: (Again, DeadLetter),
    Fault.DECODER_TIMEOUT: (Again, DeadLetter),
    Fault.DECODER_MEMORY: (DeadLetter,),
    Fault.DECODER_ERROR: (DeadLetter,),
    Fault.DECODER_UNAVAILABLE: (Postpone,),
    Fault.SPOOL_UNREADABLE: (Count,),
    Fault.SPOOL_MISSING: (DeadLetter,),
    Fault.SPOOL_DAMAGED: (DeadLetter,),
    Fault.NO_RADIOGRAPH: (DeadLetter,),
    Fault.STUDY_MISSING: (DeadLetter,),
    Fault.ENGINE_REFUSED: (DeadLetter,),
    Fault.ENGINE_DOWN: (Postpone,),
    Fault.DATABASE_AWAY: (Postpone,),
    Fault.ROW_REFUSED: (Count,),
    Fault.UNKNOWN: (Count,),
    Fault.WORKER_DIED: (Count,),
    Fault.ATTEMPTS_EXHAUSTED: (DeadLetter,),
}
"""The first time in an attempt, and the second where that is another."""
REASONS = known_reasons()[State.FAILED]


@pytest.mark.parametrize("fault", Fault)
def test_the_decision(fault: Fault) -> None:
    first, then = DECISIONS[fault][0], DECISIONS[fault][-1]
    assert type(decide(fault, decoded=1)) is first
    for decoded in range(DECODES, DECODES + 3):
        assert type(decide(fault, decoded=decoded)) is then
    assert type(decide(fault)) is then


def test_the_table_of_the_docstring_says_the_same() -> None:
    row = re.compile(r"    ([a-z_]+) {2,}([A-Z]\w+(?:, [A-Z]\w+)?) {2,}\S")
    lines = Path(retry.__file__).read_text(encoding="utf-8").split('"""')[1].splitlines()
    table = [(match[1], match[2]) for line in lines if (match := row.match(line))]
    assert table == [(fault, ", ".join(decision.__name__ for decision in DECISIONS[fault])) for fault in Fault]


def test_a_film_whose_decoder_dies_is_decoded_once_more_and_no_third_time() -> None:
    assert decide(Fault.DECODER_CRASHED, decoded=1) == Again()
    assert decide(Fault.DECODER_CRASHED, decoded=2) == DeadLetter(reason="decoder_crashed")


def test_a_fault_of_ours_waits_by_claims_and_one_that_is_counted_by_attempts() -> None:
    assert decide(Fault.DATABASE_AWAY, attempts=1, claims=4) == Postpone(failures=4)
    assert decide(Fault.WORKER_DIED, attempts=2, claims=4) == Count(failures=2)


def test_waits_double_up_to_the_longest() -> None:
    decisions = [decide(Fault.UNKNOWN, attempts=attempts) for attempts in range(1, 8)]
    waits = [OPTIONS.wait(decision).total_seconds() for decision in decisions if isinstance(decision, Count)]
    assert waits == [2, 4, 8, 16, 32, LONGEST_WAIT, 60]
    assert OPTIONS.wait(Postpone(failures=10_000)) == timedelta(seconds=LONGEST_WAIT)
    assert back_off(0.05, 1, 5.0) == 0.05


@pytest.mark.parametrize(("attempts", "none_left"), [(0, False), (2, False), (3, True), (4, True)])
def test_attempts_are_used_up(attempts: int, none_left: bool) -> None:
    assert exhausted(attempts, OPTIONS) is none_left


def test_a_dead_letter_has_the_closest_reason() -> None:
    for error in (*PIXEL_ERRORS, PixelError):
        fault = fault_of_reason(error.reason)
        assert fault is Fault.NO_RADIOGRAPH
        assert decide(fault, reason=error.reason) == DeadLetter(reason=error.reason)
    assert fault_of_reason("spool_damaged") is Fault.SPOOL_DAMAGED


@pytest.mark.parametrize("fault", Fault)
def test_the_end_of_a_film_is_the_decision(fault: Fault) -> None:
    end = after_fault(7, fault)
    if DECISIONS[fault][-1] is DeadLetter:
        assert end == Outcome(instance_id=7, state=State.FAILED, reason=fault.value)
    else:
        assert end == Unfinished(instance_id=7, fault=fault)


def test_no_other_module_fails_a_film() -> None:
    root = Path(retry.__file__).parents[1]
    failing = re.compile(r"state=State\.FAILED")
    makers = {path.name: len(failing.findall(path.read_text())) for path in root.glob("scoring/*.py")}
    assert {name: times for name, times in makers.items() if times} == {"outcomes.py": 1}


def test_every_reason_of_a_dead_letter_is_decided_here() -> None:
    named = {fault.value for fault in Fault if DECISIONS[fault][-1] is DeadLetter} - {Fault.NO_RADIOGRAPH}
    assert set(decoding.CRASH_REASONS) <= named <= set(REASONS)
    assert set(REASONS) - named == {error.reason for error in (*PIXEL_ERRORS, PixelError)}
