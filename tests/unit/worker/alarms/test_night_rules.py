"""The night's rules from a report's values."""

from typing import Any

import pytest

from worker.alarms.night_rules import conditions, gone, looked_at
from worker.alarms.rules import RULES, When
from worker.settings import Settings

SENDER = {"calling_ae": "CR1", "received": 40, "difference": 0, "lost": 0}
CHAIN = {"whole": True, "rows": 9, "broken": None, "fault": ""}
GOOD = {"value": 0.9, "trials": 50, "calibrated": [0.8, 0.95], "alarm": False}
QUIET: dict[str, Any] = {
    "date": "2026-11-20",
    "senders": [SENDER],
    "unaccounted": [],
    "unaccounted_before": [],
    "orphans": None,
    "chain": CHAIN,
    "performance": None,
    "drift": {"tests": []},
    "sources": [],
    "alarms": [],
}


def labelled(**rates: dict[str, Any]) -> dict[str, Any]:
    one = {"finding": "pneumonia", "sensitivity": GOOD, "specificity": GOOD, "ppv": GOOD} | rates
    return QUIET | {"performance": {"findings": [one]}}


def test_a_quiet_night_has_none() -> None:
    assert conditions(QUIET) == []
    assert conditions(labelled()) == []


@pytest.mark.parametrize(("difference", "lost", "value"), [(2, 0, 2), (-1, 0, 1), (1, 1, 1), (0, 1, 1)])
def test_films_that_are_not_accounted_for(difference: int, lost: int, value: int) -> None:
    other = SENDER | {"calling_ae": "CR2", "difference": difference, "lost": lost}
    (found,) = conditions(QUIET | {"senders": [SENDER, other]})
    assert (found.rule, found.subject, found.value) == ("unaccounted", "CR2", value)
    assert found.text == (
        f"2026-11-20: 40 films received from CR2, difference {difference}; "
        f"{lost} of them and 0 of earlier days are not accounted for"
    )


def test_films_of_earlier_days() -> None:
    before = [{"calling_ae": ae, "id": key} for key, ae in ((7, "CR1"), (9, "CR9"), (8, "CR9"))]
    found = conditions(QUIET | {"senders": [SENDER | {"difference": 2, "lost": 1}], "unaccounted_before": before})
    assert [(one.subject, one.value) for one in found] == [("CR1", 3), ("CR9", 2)]
    assert [one.about for one in found] == [("7",), ("8", "9")]
    assert found[1].text == (
        "2026-11-20: 0 films received from CR9, difference 0; 0 of them and 2 of earlier days are not accounted for"
    )


def test_a_broken_chain() -> None:
    chain = {"whole": False, "rows": 9, "broken": 12, "fault": "its content was altered"}
    (found,) = conditions(QUIET | {"chain": chain})
    assert (found.rule, found.subject) == ("trail_broken", "")
    assert found.text == "the audit trail is broken at row 12: its content was altered; 9 rows before are whole"
    (found,) = conditions(QUIET | {"chain": chain | {"broken": None, "fault": "no row has the digest"}})
    assert found.text == "the audit trail is broken: no row has the digest; 9 rows before are whole"


def test_films_that_only_the_spool_knows() -> None:
    assert conditions(QUIET | {"orphans": []}) == []
    (found,) = conditions(QUIET | {"orphans": ["0123456789ab", "89ab01234567"]})
    assert (found.rule, found.subject, found.value) == ("orphans", "", 2)
    assert "2 films of the spool are not in the database (0123456789ab, 89ab01234567)" in found.text
    (many,) = conditions(QUIET | {"orphans": ["0123456789ab"] * 100_000})
    assert "99,995 more" in many.text
    assert len(many.text) <= 500


@pytest.mark.parametrize(("value", "threshold"), [(0.6, 0.8), (0.99, 0.95)])
@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_a_rate_that_left_its_interval(name: str, value: float, threshold: float) -> None:
    (found,) = conditions(labelled(**{name: GOOD | {"alarm": True, "value": value}}))
    assert (found.rule, found.subject, found.value, found.threshold) == ("performance", "pneumonia", value, threshold)
    assert found.text == (
        f"pneumonia: live {name} is {value:.3f} on 50 labelled films; it was calibrated at 0.800 to 0.950"
    )


def test_what_a_report_says_nothing_about_is_not_looked_at() -> None:
    assert looked_at(QUIET) == {"unaccounted", "trail_broken", "report_failed"}
    tested = {"drift": {"tests": [{"calling_ae": "CR1"}, {"calling_ae": "CR1"}]}}
    rules = {rule.id for rule in RULES if rule.when is When.NIGHT}
    assert looked_at(labelled() | tested | {"orphans": []}) == rules - {"drift"} | {("drift", "CR1")}


def test_an_alarm_of_drift_ends_with_its_ae() -> None:
    stood = [{"rule": "drift", "subject": "CR1"}, {"rule": "drift", "subject": "CR2"}, {"rule": "x", "subject": "CR3"}]
    assert gone(QUIET | {"alarms": stood, "sources": [{"calling_ae": "CR2"}]}) == {
        ("drift", "CR1"): "CR1 sent no film for 28 days and is taken as gone; its drift was not looked at again"
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_threshold_is_a_setting(rule: Any) -> None:
    assert not rule.setting or rule.setting in Settings.model_fields
    assert len(rule.id) <= 32
