"""The night's rules from a report's values."""

import re
from dataclasses import replace
from typing import Any

import pytest

from model.data import listed_films
from model.stats.sequential import RateWatch
from model.xray_devices import LONGEST_NAME, DeviceMatch
from tests import night_reports
from tests.night_reports import GOOD, SENDER, drift_test, lost, wrong_scores
from worker.alarms.night_rules import NightFacts, conditions, gone, looked_at
from worker.alarms.rules import RULES, When
from worker.audit.trail import ChainCheck
from worker.db.tables import alarm as alarm_table
from worker.monitoring.live_rates import DeviceRates
from worker.nightly.operations import Source
from worker.settings import Settings

FORTY = replace(SENDER, received=40, scored=40)
QUIET = replace(GOOD, senders=(FORTY,)).facts


def labelled(**rates: RateWatch) -> NightFacts:
    return replace(QUIET, performance=night_reports.labelled(**rates))


def test_a_quiet_night_has_none() -> None:
    assert conditions(QUIET) == []
    assert conditions(labelled()) == []


@pytest.mark.parametrize(("difference", "lost", "value"), [(2, 0, 2), (-1, 0, 1), (1, 1, 1), (0, 1, 1)])
def test_films_that_are_not_accounted_for(difference: int, lost: int, value: int) -> None:
    other = replace(FORTY, calling_ae="CR2", scored=40 - difference, lost=lost)
    (found,) = conditions(replace(QUIET, senders=(FORTY, other)))
    assert (found.rule, found.subject, found.value) == ("unaccounted", "CR2", value)
    assert found.text == (
        f"2026-11-20: 40 films received from CR2, difference {difference}; "
        f"{lost} of them and 0 of earlier days are not accounted for"
    )


def test_films_of_earlier_days() -> None:
    before = lost((7, "CR1"), (9, "CR9"), (8, "CR9"))
    found = conditions(replace(QUIET, senders=(replace(FORTY, scored=38, lost=1),), unaccounted_before=before))
    assert [(one.subject, one.value) for one in found] == [("CR1", 3), ("CR9", 2)]
    assert [one.about for one in found] == [("7",), ("8", "9")]
    assert found[1].text == (
        "2026-11-20: 0 films received from CR9, difference 0; 0 of them and 2 of earlier days are not accounted for"
    )


def test_a_broken_chain() -> None:
    chain = ChainCheck(rows=9, head="d" * 64, broken=12, fault="its content was altered")
    (found,) = conditions(replace(QUIET, chain=chain))
    assert (found.rule, found.subject) == ("trail_broken", "")
    assert found.text == "the audit trail is broken at row 12: its content was altered; 9 rows before are whole"
    (found,) = conditions(replace(QUIET, chain=replace(chain, broken=None, fault="no row has the digest")))
    assert found.text == "the audit trail is broken: no row has the digest; 9 rows before are whole"


def test_scores_that_differ_from_the_trail() -> None:
    """In the alarm of the trail; each is one more thing that it is about, so that an acknowledged one comes again."""
    chain = ChainCheck(rows=9, head="d" * 64, scores=wrong_scores(7, 8))
    (found,) = conditions(replace(QUIET, chain=chain))
    seven, eight = (
        f"the score of instance {key} by bundle bbbbbbbbbbbb was altered after it was written" for key in (7, 8)
    )
    assert (found.rule, found.subject, found.about) == ("trail_broken", "", (seven, eight))
    assert found.text == f"scores and the audit trail differ: {seven}, and 1 more"
    many = replace(wrong_scores(*range(100)), wrong=101)
    (found,) = conditions(replace(QUIET, chain=replace(chain, scores=many, broken=12, fault="its content was altered")))
    assert found.text.startswith(
        "the audit trail is broken at row 12: its content was altered; 9 rows before are whole; "
    )
    assert len(found.text) <= 500
    assert (found.about[0], found.about[-1]) == ("row 12, its content was altered", "101 scores")


def test_films_that_only_the_spool_knows() -> None:
    assert conditions(replace(QUIET, orphans=())) == []
    (found,) = conditions(replace(QUIET, orphans=("0123456789ab", "89ab01234567")))
    assert (found.rule, found.subject, found.value) == ("orphans", "", 2)
    assert "2 films of the spool are not in the database (0123456789ab, 89ab01234567)" in found.text
    (many,) = conditions(replace(QUIET, orphans=("0123456789ab",) * 100_000))
    assert "99,995 more" in many.text
    assert len(many.text) <= 500


@pytest.mark.parametrize(("value", "threshold"), [(0.6, 0.8), (0.98, 0.95)])
@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_a_rate_that_left_its_interval(name: str, value: float, threshold: float) -> None:
    (found,) = conditions(labelled(**{name: night_reports.rate(round(50 * value), 50, alarm=True)}))
    assert (found.rule, found.subject, found.value, found.threshold) == ("performance", "pneumonia", value, threshold)
    label = {"sensitivity": "pneumonia", "specificity": "normal"}[name]
    assert found.text == (
        f"pneumonia: live {name} on films labelled {label} is {value:.3f}, of 50 in the random sample; "
        "it was calibrated at 0.800 to 0.950"
    )
    assert found.about == (f"{name} {label}",)


def test_a_rate_of_one_device_is_an_alarm_of_its_own() -> None:
    bad = night_reports.labelled(sensitivity=night_reports.rate(30, 50, alarm=True))
    room, good = DeviceRates(device="room-2", sample=bad.rates.sample), night_reports.labelled()
    (alarm,) = conditions(replace(QUIET, performance=replace(good, rates=replace(good.rates, devices=(room,)))))
    assert (alarm.rule, alarm.subject, alarm.value) == ("performance", "pneumonia on room-2", 0.6)
    assert alarm.text.startswith("pneumonia on device room-2: live sensitivity on films labelled pneumonia is 0.600")


def test_devices_with_the_longest_names_have_alarms_of_their_own() -> None:
    """The longest names that a device and a finding may have fit the column, so nothing is cut."""
    bad, good = night_reports.labelled(sensitivity=night_reports.rate(30, 50, alarm=True)), night_reports.labelled()
    finding = "f" * 32
    assert re.fullmatch(listed_films.NAME, finding)
    assert not re.fullmatch(listed_films.NAME, f"{finding}f")
    sample = replace(bad.rates.sample, findings=(replace(bad.rates.sample.findings[0], finding=finding),))
    names = [DeviceMatch(name="r" * (LONGEST_NAME - 1) + last, match={"station": last}).name for last in "12"]
    rooms = tuple(DeviceRates(device=name, sample=sample) for name in names)
    found = conditions(replace(QUIET, performance=replace(good, rates=replace(good.rates, devices=rooms))))
    assert [one.subject for one in found] == [f"{finding} on {name}" for name in names]
    assert max(len(one.subject) for one in found) <= alarm_table.c.subject.type.length


def test_what_a_report_says_nothing_about_is_not_looked_at() -> None:
    assert looked_at(QUIET) == {"unaccounted", "trail_broken", "report_failed"}
    tests = (drift_test("CR1"), drift_test("CR1", "contrast"))
    tested = replace(labelled(), drift=replace(QUIET.drift, tests=tests), orphans=())
    rules = {rule.id for rule in RULES if rule.when is When.NIGHT}
    assert looked_at(tested) == rules - {"drift"} | {("drift", "CR1")}


def test_an_alarm_of_drift_ends_with_its_ae() -> None:
    stood = tuple(night_reports.stood(rule, ae, "") for rule, ae in (("drift", "CR1"), ("drift", "CR2"), ("x", "CR3")))
    source = Source(calling_ae="CR2", last_film=GOOD.span.start, silent_hours=1.0, films=1, usual=None)
    assert gone(replace(GOOD, alarms=stood, sources=(source,)).facts) == {
        ("drift", "CR1"): "CR1 sent no film for 28 days and is taken as gone; its drift was not looked at again"
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_threshold_is_a_setting(rule: Any) -> None:
    assert not rule.setting or rule.setting in Settings.model_fields
    assert len(rule.id) <= 32
