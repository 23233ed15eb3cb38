"""The night's first words: what makes a day good, one to look at, or bad."""

import subprocess
import sys
from typing import Any

import pytest

from worker.nightly.headline import Level, judge
from worker.nightly.page.words import frozen, lasted, local
from worker.words.sizes import size

SENDER = {
    "calling_ae": "CR1",
    "received": 9,
    "ineligible": {},
    "pending": 0,
    "lost": 0,
    "difference": 0,
    "other_objects": 0,
}
GOOD: dict[str, Any] = {
    "senders": [SENDER],
    "difference": 0,
    "unaccounted_before": [],
    "orphans": None,
    "refused": {},
    "contexts_refused": {},
    "not_associated": {},
    "identity_changed": [],
    "failed": [],
    "conditions": [],
    "alarms": [],
    "undelivered": [],
    "outages": [],
    "day_over": True,
    "acknowledged": [],
    "zone": "Europe/Berlin",
    "page_without": [],
    "late": [{"flags": []}],
    "start": "2026-11-20T00:00:00+00:00",
    "follows": "2026-11-20T00:00:00+00:00",
    "storage": {"days_left": 400.0},
    "chain": {"whole": True, "rows": 12, "fault": ""},
}
DRIFT = {"rule": "drift", "subject": "CR1", "text": "CR1 differs from its reference"}
DEAD = {"rule": "dead_letters", "subject": "", "text": "2 films became dead letters", "value": 2.0}


def day(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def test_a_good_day() -> None:
    found = judge(GOOD)
    assert (found.level, found.headline, found.faults, found.remarks) == (
        Level.GOOD,
        "All 9 films accounted for",
        [],
        [],
    )


def test_a_day_without_films() -> None:
    assert judge(day(senders=[])).headline == "No film came on this day"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"failed": [{"id": 1}]}, "1 film could not be scored and waits for a person"),
        ({"failed": [{"id": 1}, {"id": 2}]}, "2 films could not be scored and wait for a person"),
        ({"senders": [SENDER | {"pending": 3}]}, "3 films of this day still waited"),
        ({"refused": {"CR1": {"0xA700": 1200, "0xC001": 1}}}, "CR1: C-STORE was refused 1,201 times (0xA700 1200, 0x"),
        ({"refused": {"CR1": {"0xA700": 1}}}, "CR1: C-STORE was refused once (0xA700 1). A film may be counted more"),
        (
            {"contexts_refused": {"CR1": {"X: no transfer syntax in common": 1, "Y": 9}}},
            "CR1: 1 presentation context that may have brought a film was refused (X: no transfer syntax in common 1).",
        ),
        ({"not_associated": {"CR1": {"CALLED_AE": 2}}}, "CR1: not let in 2 times (CALLED_AE 2); the gateway's log"),
        ({"conditions": [DRIFT]}, "CR1 differs from its reference."),
        ({"alarms": [DRIFT | {"open_at_end": True, "acknowledged": None}]}, "Alarm: CR1 differs"),
        ({"storage": {"days_left": 3.5}}, "full in 3.5 days"),
        ({"late": [{"flags": ["covid19"]}]}, "1 film of days before ended on this day with a flag"),
        ({"follows": "2026-11-19T22:00:00+00:00"}, "from 2026-11-19 22:00 to 2026-11-20 00:00 UTC are in no report"),
        ({"follows": "2026-11-20T04:00:00+00:00"}, "00:00 to 2026-11-20 04:00 UTC are in the report of the day before"),
        ({"page_without": [{"part": "drift", "reason": "ValueError"}]}, "part 'drift' could not be drawn (ValueError)"),
    ],
)
def test_a_day_to_look_at(changes: dict[str, Any], word: str) -> None:
    found = judge(day(**changes))
    assert found.level == Level.LOOK
    assert found.headline == "All 9 films accounted for; 1 thing needs a look"
    assert word in found.remarks[0]


def test_what_stands_as_an_alarm_already_is_said_once() -> None:
    found = judge(day(conditions=[DRIFT], alarms=[DRIFT | {"open_at_end": True, "acknowledged": None}]))
    assert len(found.remarks) == 1


def test_dead_letters_are_told_once_unless_the_alarm_counts_more() -> None:
    stands = DEAD | {"open_at_end": True, "acknowledged": None}
    told = "2 films could not be scored and wait for a person (dead letters)."
    assert judge(day(failed=[{"id": 1}, {"id": 2}], alarms=[stands])).remarks == [told]
    alone = judge(day(failed=[{"id": 1}], alarms=[stands])).remarks
    assert alone[1:] == ["Alarm: 2 films became dead letters."]  # one of them of the day before
    assert judge(day(alarms=[stands])).remarks == alone[1:]


@pytest.mark.parametrize("changes", [{"alarms": [DRIFT | {"open_at_end": False}]}, {"storage": {"days_left": None}}])
def test_what_needs_no_look(changes: dict[str, Any]) -> None:
    assert judge(day(**changes)).level == Level.GOOD


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({"senders": [SENDER | {"difference": -2}], "difference": 2}, "2 films not accounted for"),
        ({"senders": [SENDER | {"lost": 1}]}, "1 film not as the audit trail says"),
        ({"unaccounted_before": [{"calling_ae": "CR1"}]}, "1 film of earlier days not accounted for"),
        ({"chain": {"whole": False, "rows": 4, "fault": "cut"}}, "The audit trail is broken"),
        (
            {
                "senders": [SENDER | {"difference": 1, "lost": 1}],
                "difference": 1,
                "chain": {"whole": False, "rows": 4, "fault": "cut"},
            },
            "1 film not accounted for, and the audit trail is broken",
        ),
    ],
)
def test_a_bad_day(changes: dict[str, Any], headline: str) -> None:
    found = judge(day(**changes, failed=[{"id": 1}]))
    assert (found.level, found.headline) == (Level.BAD, headline)
    assert found.faults
    assert found.remarks


KEPT = {"at": "2026-11-19T23:30:00+00:00", "by": "operator:ann", "why": "sent again as 42"}
LOST = {"rule": "unaccounted", "subject": "CR1", "text": "1 film is not accounted for"}
BROKEN = {"rule": "trail_broken", "subject": "", "text": "the audit trail is broken"}


@pytest.mark.parametrize(
    ("changes", "found", "headline"),
    [
        ({"unaccounted_before": [{"calling_ae": "CR1"}]}, LOST, "All 9 films accounted for"),
        (
            {"senders": [SENDER | {"difference": 2, "lost": 1}], "difference": 2},
            LOST,
            "All 9 films accounted for but 2, acknowledged",
        ),
        ({"chain": {"whole": False, "rows": 4, "fault": "cut"}}, BROKEN, "All 9 films accounted for"),
        ({}, DRIFT, "All 9 films accounted for"),
    ],
)
def test_what_is_acknowledged_is_said_and_needs_no_look(
    changes: dict[str, Any], found: dict[str, str], headline: str
) -> None:
    known = {"rule": found["rule"], "subject": found["subject"]} | KEPT
    told = judge(day(**changes, conditions=[found], acknowledged=[known]))
    assert (told.level, told.headline, told.faults, told.remarks) == (Level.GOOD, headline, [], [])
    assert told.known == [f"{found['text']}. Acknowledged on 2026-11-20 00:30 by operator:ann: sent again as 42."]


def test_what_another_ae_lacks_is_wrong_all_the_same() -> None:
    lost = [{"calling_ae": ae} for ae in ("CR1", "CR2", "CR2")]
    told = judge(day(unaccounted_before=lost, conditions=[LOST], acknowledged=[LOST | KEPT]))
    assert (told.level, told.headline) == (Level.BAD, "2 films of earlier days not accounted for")
    assert told.faults == ["CR2: 2 films of earlier days not accounted for."]
    assert len(told.known) == 1


def test_an_acknowledged_alarm_of_another_look_is_said_too() -> None:
    told = judge(day(alarms=[DRIFT | {"open_at_end": True, "acknowledged": KEPT}]))
    assert (told.level, len(told.known)) == (Level.GOOD, 1)


def test_a_day_that_is_not_over_says_so_far() -> None:
    headline = "All 9 films accounted for so far"
    assert judge(day(day_over=False)).headline == headline
    assert judge(day(day_over=False, failed=[{"id": 1}])).headline == f"{headline}; 1 thing needs a look"
    assert judge(day(day_over=False, senders=[])).headline == "No film came on this day so far"


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
    assert local("2026-11-20T23:30:00+00:00", {"zone": "Europe/Berlin"}) == "2026-11-21 00:30"


def test_the_relay_does_without_matplotlib() -> None:
    code = "import sys; import worker.nightly.run; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_frozen_reference_is_told_in_words() -> None:
    one = {"films": 500, "digest": "d" * 64, "old": None}
    detail = {"calling_ae": "CR1", "bundle": "", "measures": {"brightness": one, "contrast": one}}
    assert frozen(detail) == "CR1, new: brightness, contrast; 500 films"
    again = {"distance": one | {"old": "e" * 64}, "probability:covid19": one | {"films": 1200}}
    assert frozen(detail | {"bundle": "b" * 64, "measures": again}) == (
        "CR1, replaced: distance, probability:covid19; 500 to 1,200 films, bundle bbbbbbbbbbbb"
    )
