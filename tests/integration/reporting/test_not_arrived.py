"""Results that do not arrive are seen in `xrayq status` and in the night's report."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests import days
from tests.alarms import limits
from tests.integration.reporting.site import Site
from tests.integration.status.test_snapshot import options, shown
from tests.pacs import pacs
from worker.alarms import live_rules
from worker.alarms.rules import Condition
from worker.db.session import database_time, reading
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import judge
from worker.nightly.page.page import render
from worker.reporting.faults import (
    ASKED,
    NO_ACKNOWLEDGEMENT,
    NOT_ACCEPTED,
    OTHER_MESSAGE,
    WORDS,
    in_words,
    is_away,
    is_there,
)
from worker.reporting.not_arrived import ResultOutage, outages
from worker.status.snapshot import StatusReader


def found(site: Site) -> tuple[ResultOutage, ...]:
    with reading(site.database) as connection:
        return outages(connection)


def test_what_waits_for_its_first_try_is_no_outage(site: Site) -> None:
    site.film()
    assert found(site) == ()


def test_status_says_what_fails_and_what_was_given_up(site: Site, database_url: str) -> None:
    watched = StatusReader(options(database_url, site.spool.root))
    site.film("one")
    site.later(hours=169)
    site.film("two")
    assert site.send(first_wait=600) == ["no_connection"] * 2
    looked = watched.look()
    (there,) = site.destinations
    assert looked.faults == (f"results do not arrive at {there.name}",)
    (one,) = looked.as_dict()["stored"]["result_outages"]
    assert (one["failing"], one["attempts"], one["given_up"], one["reason"]) == (1, 1, 1, "no_connection")
    for width in (80, 120):
        lines = shown(looked, width, 24)
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        assert f"results 1 result did not arrive at {there.name}, tried once, next try " in text
        assert "; 1 result given up: nothing listens there, or it does not answer. First: xrayq report list" in text
    site.later()
    with pacs(there.port):
        assert site.send() == [""]
    assert [(out.failing, out.given_up) for out in found(site)] == [(0, 1)]


def test_the_nights_report_says_so(site: Site) -> None:
    site.film("one")
    site.later(hours=169)
    site.film("two")
    assert site.send(first_wait=600) == ["no_connection"] * 2
    night_options = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT)
    report = night_report(site.database, datetime.now(UTC).date(), night_options)
    name, why = site.destinations[0].name, "nothing listens there, or it does not answer"
    remarks = judge(report).remarks
    assert f"1 result given up at {name}: {why}." in remarks
    assert f"1 result did not arrive at {name} yet: {why}." in remarks
    assert name in render(report).html
    assert report.as_dict()["lost_results"] == [{"destination": name, "reason": "no_connection", "results": 1}]


def test_what_waits_behind_what_failed_is_counted_and_old_losses_stay_in_sight(site: Site) -> None:
    for name in ("one", "two", "three"):
        site.film(name)
    first = site.send_one(first_wait=600)
    assert first == "no_connection"
    night_options = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT)
    today, tomorrow = datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1)
    (out,) = found(site)
    assert (out.waiting, out.failing, out.given_up) == (3, 1, 0)
    name, why = site.destinations[0].name, "nothing listens there, or it does not answer"
    remarks = judge(night_report(site.database, today, night_options)).remarks
    assert f"3 results did not arrive at {name} yet: {why}." in remarks
    site.later(hours=169)
    assert site.send(first_wait=600) == ["no_connection"] * 3
    for day, expected in ((today, f"3 results given up at {name}: {why}."), (tomorrow, "on days before")):
        remarks = judge(night_report(site.database, day, night_options)).remarks
        assert any(expected in remark for remark in remarks), remarks
        assert len([remark for remark in remarks if "given up" in remark]) == 1


def undelivered(site: Site, **thresholds: float) -> list[Condition]:
    with reading(site.database) as connection:
        seen = live_rules.look(connection, limits(**thresholds), None, database_time(connection))
        assert "report_undelivered" in seen.rules
        return [condition for condition in seen.conditions if condition.rule == "report_undelivered"]


def test_the_alarm_while_a_result_is_not_there_and_not_confirmed(site: Site) -> None:
    site.film()
    assert undelivered(site) == []
    site.later(hours=2)
    (late,) = undelivered(site)
    assert (late.subject, late.value, late.threshold) == (site.destinations[0].name, 120, 60)
    assert late.text.startswith("1 result not sent, the oldest of ")
    assert undelivered(site, result_minutes=121) == []
    with pacs(site.destinations[0].port, finds=True) as held:
        assert site.send(confirm=True) == [""]
        held.lost = set(held.uids)
        assert site.ask() == ""
        (late,) = undelivered(site)
        assert late.text.startswith("1 result sent and not confirmed")
        held.lost = set()
        site.later()
        assert site.ask() == ""
    assert undelivered(site) == [], "it clears by itself"


def test_the_alarm_for_what_was_given_up(site: Site) -> None:
    site.film()
    site.later(hours=169)
    assert site.send() == ["no_connection"]
    (lost,) = undelivered(site, result_minutes=100_000)
    assert lost.text.startswith("1 result given up")


def test_what_is_long_unconfirmed_is_seen(site: Site, database_url: str) -> None:
    site.film()
    with pacs(site.destinations[0].port, commits="never"):
        assert site.send(confirm=True) == [""]
        assert site.ask(report_seconds=0.1) == "no_report"
        assert found(site) == (), "a PACS may take its time"
        site.later(hours=2)
    (out,) = found(site)
    assert (out.waiting, out.unconfirmed, out.reason) == (0, 1, "no_report")
    looked = StatusReader(options(database_url, site.spool.root)).look()
    text = " ".join(" ".join(shown(looked, 100, 24)).split())
    assert f"results 1 result sent and not confirmed at {out.destination}: it took the request" in text
    assert looked.faults == (f"results are late at {out.destination}",)


def test_a_film_that_was_reported_is_accounted_for_as_a_scored_one(site: Site) -> None:
    site.film("one")
    site.film("two", state="ineligible")
    with pacs(site.destinations[0].port):
        assert site.send() == ["", ""]
    report = night_report(site.database, datetime.now(UTC).date(), NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT))
    (sender,) = report.senders
    assert (sender.scored, sender.difference, report.unaccounted) == (1, 0, ())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("status_0xA7FF", "it answered 0xA7FF: out of resources"),
        ("status_0xC123", "it answered 0xC123: it cannot understand the object"),
        ("status_0x0124", "it answered 0x0124: not authorised"),
        ("status_0x0211", "it answered 0x0211"),
        ("rejected_2_3_2", "it takes no more associations now"),
        ("rejected_1_1_1", "it rejects the association (1/1/1)"),
        ("aborted", WORDS["aborted"]),
        ("commitment_0x0213", "it answered 0x0213 to the request for storage commitment"),
        ("query_0xA700", "it answered 0xA700 to C-FIND"),
        ("refused_AR", "it answered AR, application reject"),
        (
            "refused_AE_204",
            "it answered AE, application error; 204, unknown key identifier, such as a patient or an order",
        ),
        ("refused_CE_999", "it answered CE, commit error; 999, a code of its own"),
        ("http_503", "the server answered 503"),
        ("certificate", "its certificate is not trusted here; SSL_CERT_FILE names an authority of your own"),
        ("KeyError", "KeyError"),
    ],
)
def test_every_code_in_words(code: str, words: str) -> None:
    assert in_words(code) == words


def test_only_an_answer_to_an_object_says_that_a_destination_is_back() -> None:
    """What failed before the PACS was asked says nothing of it: what waits for it is not woken."""
    answers = {"", "status_0xA700", "commitment_0x0213", "query_0xA700", "refused_AR", "http_503", "smtp_550"}
    refusals = {NOT_ACCEPTED, NO_ACKNOWLEDGEMENT, OTHER_MESSAGE, *ASKED}
    assert {code for code in (*answers, *WORDS) if is_there(code)} == answers | refusals
    assert not [code for code in WORDS if is_away(code) and is_there(code)]
