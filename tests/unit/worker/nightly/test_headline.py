"""The night's first words: what makes a day good, one to look at, or bad."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.night_reports import GOOD, LATE, SENDER, acknowledged, broken, failed, lost, stood, wrong_scores
from worker.alarms.acknowledge import Acknowledgement
from worker.alarms.rules import Condition
from worker.nightly.headline import Level, judge
from worker.nightly.night_report import MissingPart, NightReport
from worker.nightly.words import frozen, lasted, local
from worker.words import size

DIFFERS = "CR1 differs from its reference"
DRIFT = Condition(rule="drift", subject="CR1", value=1, threshold=0, text=DIFFERS)
DRIFTS = stood("drift", "CR1", DIFFERS)
DEAD = stood("dead_letters", "", "2 films became dead letters", value=2.0)
CUT = broken("cut", rows=4)
ALTERED = broken("", rows=4, scores=wrong_scores(7, 8))


def day(**changes: Any) -> NightReport:
    return replace(GOOD, **changes)


def room(days_left: float | None) -> dict[str, Any]:
    return {"storage": replace(GOOD.storage, days_left=days_left)}


def test_a_good_day() -> None:
    found = judge(GOOD)
    assert (found.level, found.headline, found.faults, found.remarks) == (
        Level.GOOD,
        "All 9 films that reached us accounted for",
        [],
        [],
    )


def test_a_day_without_films() -> None:
    assert judge(day(senders=())).headline == "No film came on this day"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"failed": failed(1)}, "1 film could not be scored and waits for a person"),
        ({"failed": failed(1, 2)}, "2 films could not be scored and wait for a person"),
        ({"senders": (replace(SENDER, scored=6, pending=3),)}, "3 films of this day still waited"),
        ({"refused": {"CR1": {"0xA700": 1200, "0xC001": 1}}}, "CR1: C-STORE was refused 1,201 times (0xA700 1200, 0x"),
        ({"refused": {"CR1": {"0xA700": 1}}}, "CR1: C-STORE was refused once (0xA700 1). A film may be counted more"),
        (
            {"contexts_refused": {"CR1": {"X: no transfer syntax in common": 1, "Y": 9}}},
            "CR1: 1 presentation context that may have brought a film was refused (X: no transfer syntax in common 1).",
        ),
        ({"not_associated": {"CR1": {"CALLED_AE": 2}}}, "CR1: not let in 2 times (CALLED_AE 2); the gateway's log"),
        ({"conditions": (DRIFT,)}, "CR1 differs from its reference."),
        ({"alarms": (DRIFTS,)}, "Alarm: CR1 differs"),
        (room(3.5), "full in 3.5 days"),
        ({"late": (replace(LATE, flags=("covid19",)),)}, "1 film of days before ended on this day with a flag"),
        (
            {"follows": datetime(2026, 11, 19, 22, tzinfo=UTC)},
            "from 2026-11-19 22:00 to 2026-11-20 00:00 UTC are in no report",
        ),
        (
            {"follows": datetime(2026, 11, 20, 4, tzinfo=UTC)},
            "00:00 to 2026-11-20 04:00 UTC are in the report of the day before",
        ),
        (
            {"page_without": (MissingPart(part="drift", reason="ValueError"),)},
            "part 'drift' could not be drawn (ValueError)",
        ),
    ],
)
def test_a_day_to_look_at(changes: dict[str, Any], word: str) -> None:
    found = judge(day(**changes))
    assert found.level == Level.LOOK
    assert found.headline == "All 9 films that reached us accounted for; 1 thing needs a look"
    assert word in found.remarks[0]


def test_what_stands_as_an_alarm_already_is_said_once() -> None:
    found = judge(day(conditions=(DRIFT,), alarms=(DRIFTS,)))
    assert len(found.remarks) == 1


def test_dead_letters_are_told_once_unless_the_alarm_counts_more() -> None:
    told = "2 films could not be scored and wait for a person (dead letters)."
    assert judge(day(failed=failed(1, 2), alarms=(DEAD,))).remarks == [told]
    alone = judge(day(failed=failed(1), alarms=(DEAD,))).remarks
    assert alone[1:] == ["Alarm: 2 films became dead letters."]  # one of them of the day before
    assert judge(day(alarms=(DEAD,))).remarks == alone[1:]


@pytest.mark.parametrize("changes", [{"alarms": (replace(DRIFTS, open_at_end=False),)}, room(None)])
def test_what_needs_no_look(changes: dict[str, Any]) -> None:
    assert judge(day(**changes)).level == Level.GOOD


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"senders": (replace(SENDER, scored=11),)}, "2 films not accounted for"),
        ({"senders": (replace(SENDER, lost=1),)}, "1 film not as the audit trail says"),
        ({"unaccounted_before": lost((1, "CR1"))}, "1 film of earlier days not accounted for"),
        ({"chain": CUT}, "The audit trail is broken"),
        (
            {"senders": (replace(SENDER, scored=8, lost=1),), "chain": CUT},
            "1 film not accounted for, and the audit trail is broken",
        ),
        ({"chain": ALTERED}, "2 scores not as the audit trail says"),
    ],
)
def test_a_bad_day(changes: dict[str, Any], headline: str) -> None:
    found = judge(day(**changes, failed=failed(1)))
    assert (found.level, found.headline) == (Level.BAD, headline)
    assert found.faults
    assert found.remarks


KEPT = Acknowledgement(at="2026-11-19T23:30:00+00:00", by="operator:ann", why="sent again as 42")
LOST = Condition(rule="unaccounted", subject="CR1", value=1, threshold=0, text="1 film is not accounted for")
BROKEN = Condition(rule="trail_broken", value=1, threshold=0, text="the audit trail is broken")


@pytest.mark.parametrize(
    ("changes", "found", "headline"),
    [
        ({"unaccounted_before": lost((1, "CR1"))}, LOST, "All 9 films that reached us accounted for"),
        (
            {"senders": (replace(SENDER, scored=7, lost=1),)},
            LOST,
            "All 9 films that reached us accounted for but 2, acknowledged",
        ),
        ({"chain": CUT}, BROKEN, "All 9 films that reached us accounted for"),
        ({"chain": ALTERED}, BROKEN, "All 9 films that reached us accounted for"),
        ({}, DRIFT, "All 9 films that reached us accounted for"),
    ],
)
def test_what_is_acknowledged_is_said_and_needs_no_look(
    changes: dict[str, Any], found: Condition, headline: str
) -> None:
    known = acknowledged(found.rule, found.subject, KEPT)
    told = judge(day(**changes, conditions=(found,), acknowledged=(known,)))
    assert (told.level, told.headline, told.faults, told.remarks) == (Level.GOOD, headline, [], [])
    assert told.known == [f"{found.text}. Acknowledged on 2026-11-20 00:30 by operator:ann: sent again as 42."]


def test_what_another_ae_lacks_is_wrong_all_the_same() -> None:
    films = lost((1, "CR1"), (2, "CR2"), (3, "CR2"))
    known = acknowledged(LOST.rule, LOST.subject, KEPT)
    told = judge(day(unaccounted_before=films, conditions=(LOST,), acknowledged=(known,)))
    assert (told.level, told.headline) == (Level.BAD, "2 films of earlier days not accounted for")
    assert told.faults == ["CR2: 2 films of earlier days not accounted for."]
    assert len(told.known) == 1


def test_an_acknowledged_alarm_of_another_look_is_said_too() -> None:
    told = judge(day(alarms=(replace(DRIFTS, acknowledged=KEPT),)))
    assert (told.level, len(told.known)) == (Level.GOOD, 1)


def test_a_day_that_is_not_over_says_so_far() -> None:
    headline = "All 9 films that reached us accounted for so far"
    assert judge(day(day_over=False)).headline == headline
    assert judge(day(day_over=False, failed=failed(1))).headline == f"{headline}; 1 thing needs a look"
    assert judge(day(day_over=False, senders=())).headline == "No film came on this day so far"


def test_numbers_as_a_person_reads_them() -> None:
    assert [size(number) for number in (0, 1023, 1024, 123_456, 3 << 29, 2 << 50)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "121 KiB",
        "1.5 GiB",
        "2,097,152.0 GiB",
    ]
    assert [lasted(seconds) for seconds in (5, 119, 121, 7200, 172_800)] == [
        "5 s",
        "119 s",
        "2 minutes",
        "2 hours",
        "2 days",
    ]
    assert local(datetime(2026, 11, 20, 23, 30, tzinfo=UTC), ZoneInfo("Europe/Berlin")) == "2026-11-21 00:30"


def test_the_relay_does_without_matplotlib() -> None:
    code = "import sys; import worker.nightly.run; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=180).returncode == 0


def test_a_frozen_reference_is_told_in_words() -> None:
    one = {"films": 500, "digest": "d" * 64, "old": None}
    detail = {"calling_ae": "CR1", "bundle": "", "measures": {"brightness": one, "contrast": one}}
    assert frozen(detail) == "CR1, new: brightness, contrast; 500 films"
    again = {"distance": one | {"old": "e" * 64}, "probability:covid19": one | {"films": 1200}}
    assert frozen(detail | {"bundle": "b" * 64, "measures": again}) == (
        "CR1, replaced: distance, probability:covid19; 500 to 1,200 films, bundle bbbbbbbbbbbb"
    )
