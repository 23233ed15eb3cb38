"""Results as messages: to a RIS, a webhook and a mailbox, each once, whatever happens in between."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hl7
import pytest
from sqlalchemy import event
from standardwebhooks import Webhook

from tests.integration.reporting.site import Site, names
from tests.mllp import DRIPPING, LOST, OTHERS, Ris, control_id, ris
from tests.pacs import pacs
from tests.receivers import SECRET, Post, Web, post, web
from tests.services import free_port
from worker import instances
from worker.bundles.roles import placed_bundle
from worker.db.session import database_time, reading, time_of
from worker.processes.result_options import routes as routes_of
from worker.queue import errands
from worker.reporting import listing, waiting
from worker.reporting.adapters.flag_webhook import FlagWebhookAdapter
from worker.reporting.couriers import Courier, Couriers
from worker.reporting.not_arrived import late, outages
from worker.reporting.taken_out import TakeBack

SENT, REPORTED = "result_sent", "reported"


def send(site: Site, nth: int = 0) -> list[str]:
    """What is due for the destination of this number."""
    return site.send(site.every[nth], answer_seconds=0.5)


@pytest.fixture
def to_ris(site: Site) -> Site:
    """Results go to a RIS alone, at a port at which nothing listens yet."""
    return replace(site, routes=(f"CR1:mllp://127.0.0.1:{free_port()}",))


@contextmanager
def listening(site: Site, *answers: str) -> Iterator[Ris]:
    with ris(int(site.routes[0].rpartition(":")[2]), *answers) as found:
        yield found


def test_a_result_is_one_message_and_the_film_is_reported(to_ris: Site) -> None:
    film = to_ris.film(PatientName="Doe^Jane", AccessionNumber="A1")
    with listening(to_ris) as found:
        assert send(to_ris) == [""]
        assert send(to_ris) == []
    (message,) = found.came
    parsed = hl7.parse(message.decode())
    assert (str(parsed.segment("PID")[5]), str(parsed.segment("OBR")[18])) == ("Doe^Jane^^^^^L", "A1")
    (row,) = to_ris.messages()
    assert (row.instance_id, row.kind, row.answer) == (film, "hl7", "AA")
    assert (row.destination, row.message_id) == (to_ris.every[0].name, control_id(message))
    ((_, detail),) = to_ris.events(SENT)
    assert detail["digests"] == [row.digest]
    assert to_ris.state(film) == REPORTED
    with reading(to_ris.database) as connection:
        (listed,) = listing.listed(connection)
    assert [(one.kind, one.answer) for one in listed.messages] == [("hl7", "AA")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(LOST, "hung_up"), ("AE 204", "refused_AE_204"), ("AR", "refused_AR"), ("CR", "refused_CR")],
)
def test_what_was_not_accepted_is_sent_again_as_the_same_message(to_ris: Site, answer: str, reason: str) -> None:
    film = to_ris.film()
    with listening(to_ris, answer, DRIPPING) as found:
        assert send(to_ris) == [reason]
        assert (to_ris.messages(), to_ris.state(film)) == ([], "scored")
        to_ris.later()
        assert send(to_ris) == [""]
    assert found.came[0] == found.came[1], "byte for byte"
    assert len(found.kept) == 1, "a receiver that goes by the control ID has one"
    assert len(to_ris.messages()) == 1


def test_a_ris_that_is_down_for_a_while_gets_one_message_of_each_film(to_ris: Site) -> None:
    films = [to_ris.film(f"film {number}") for number in range(5)]
    courier = Couriers(to_ris.delivery(), to_ris.every)._each[0]
    assert courier.send_due() == 1, "the others are left until it answers"
    with reading(to_ris.database) as connection:
        (outage,) = outages(connection)
    assert (outage.reason, outage.destination) == ("no_connection", to_ris.every[0].name)
    courier._not_before = 0.0
    with listening(to_ris, OTHERS) as found:
        while to_ris.waits():
            to_ris.later()
            courier.send_due()
    assert (len(found.came), len(found.kept)) == (5, 5)
    assert {to_ris.state(film) for film in films} == {REPORTED}


def test_killed_between_acknowledgement_and_commit_it_is_one_message(to_ris: Site) -> None:
    film = to_ris.film()
    with listening(to_ris) as found:
        with killed_at(to_ris, "INSERT INTO sent_message"):
            send(to_ris)
        to_ris.later()
        assert send(to_ris) == [""]
    assert (len(found.came), len(found.kept)) == (2, 1)
    assert (len(to_ris.messages()), to_ris.state(film)) == (1, REPORTED)


def test_a_corrected_film_corrects_the_message_before_it(to_ris: Site) -> None:
    with listening(to_ris) as found:
        first = to_ris.film()
        assert send(to_ris) == [""]
        second = to_ris.film(PatientID="PID-CORRECTED")
        assert send(to_ris) == [""]
    messages = [hl7.parse(message.decode()) for message in found.came]
    assert [str(message.segment("OBR")[25]) for message in messages] == ["P", "C"]
    assert len({str(message.segment("OBX")[4]) for message in messages}) == 1
    assert [row.instance_id for row in to_ris.messages()] == [first, second]


def test_a_correction_takes_back_what_is_not_said_any_more(to_ris: Site) -> None:
    """By the message before it alone: what was deleted once is not deleted again."""
    with listening(to_ris) as found:
        for state, patient in (("scored", "1"), ("ineligible", "2"), ("ineligible", "3"), ("scored", "4")):
            to_ris.film(state=state, PatientID=patient)
            assert send(to_ris) == [""]
    said = [
        {str(segment[3][0][0]): str(segment[11]) for segment in hl7.parse(message.decode()).segments("OBX")[3:]}
        for message in found.came
    ]
    assert said == [
        {"P_PNEUMONIA": "P"},
        {"NOT_ANALYSED": "C", "P_PNEUMONIA": "D"},
        {"NOT_ANALYSED": "C"},
        {"P_PNEUMONIA": "C", "NOT_ANALYSED": "D"},
    ]


def test_one_whose_earlier_message_never_arrived_corrects_nothing(to_ris: Site) -> None:
    to_ris.film()
    to_ris.film(PatientID="PID-CORRECTED")
    with listening(to_ris) as found:
        to_ris.later()
        assert sorted(send(to_ris)) in ([""], ["", "replaced"])
    (message,) = found.came
    assert str(hl7.parse(message.decode()).segment("OBR")[25]) == "P"


def test_a_film_that_was_not_analysed_is_told_too(to_ris: Site) -> None:
    film = to_ris.film(state="ineligible", ViewPosition="LL")
    with listening(to_ris) as found:
        assert send(to_ris) == [""]
    assert b"NOT_ANALYSED" in found.came[0]
    assert b"not one that is scored: LATERAL (view)" in found.came[0]
    assert to_ris.state(film) == "ineligible"


def test_reported_is_what_pacs_and_ris_both_have(site: Site) -> None:
    both = replace(site, routes=(*site.routes, f"CR1:mllp://127.0.0.1:{free_port()}"))
    film = both.film()
    with ris(int(both.routes[1].rpartition(":")[2])):
        assert send(both, 1) == [""]
    assert both.state(film) == "scored"
    with pacs(both.destinations[0].port):
        assert send(both) == [""]
    assert both.state(film) == REPORTED
    with reading(both.database) as connection:
        listed = listing.listed(connection)
        assert listing.listed(connection, limit=1) == listed[:1]
    assert [(len(one.objects), len(one.messages)) for one in listed] == [(2, 0), (0, 1)]


def test_a_silent_device_tells_nobody(site: Site) -> None:
    told = flag_site(site, "https://hook.test/x", 25, sender="CR9")
    assert told.film(calling_ae="CR9")
    assert told.waits() == []
    told.accept("CR9")
    told.film("two", calling_ae="CR9")
    told.silence("CR9")
    assert [send(told, number) for number in range(3)] == [[]] * 3
    assert sorted(told.lost()) == sorted(destination.name for destination in told.every)


def flag_site(site: Site, url: str, mail_port: int, *, sender: str = "CR1", **settings: Any) -> Site:
    """Webhook, mailbox and RIS."""
    routes = (f"{sender}:{url}", f"{sender}:mailto:chest@hospital.test", f"{sender}:mllp://127.0.0.1:{free_port()}")
    usual = {"webhook_secret": SECRET, "smtp_host": "127.0.0.1", "smtp_port": mail_port, "smtp_security": "none"}
    usual |= {"mail_from": "xrayq@hospital.test", "site": "North"}
    return replace(site, routes=routes, settings=usual | settings)


@contextmanager
def told_of(site: Site, *answers: int, **settings: Any) -> Iterator[tuple[Site, Web, Post]]:
    with web(*answers) as hook, post() as (kept, port):
        yield flag_site(site, hook.url, port, **settings), hook, kept


def test_a_flagged_film_is_told_without_a_word_of_the_patient(site: Site) -> None:
    with told_of(site, link="https://reading.test/xrayq/{instance}", urgent="pneumonia") as (told, hook, kept):
        film = told.film(PatientName="Secret^Person", PatientID="P-4711", AccessionNumber="ACC-0815")
        told.film("without", flag=False)
        told.film("not analysed", "ineligible")
        assert sorted(told.waits()).count("mailto:chest@hospital.test") == 1
        assert [send(told, 0), send(told, 1)] == [[""], [""]]
    ((headers, body),) = hook.requests
    said = Webhook(SECRET.encode()).verify(body, {name.lower(): value for name, value in headers.items()})
    about = {"type": "flagged_film", "site": "North", "instance": film, "flags": ["pneumonia"], "urgent": True}
    assert said == said | about | {"link": f"https://reading.test/xrayq/{film}", "unsure": False, "corrected": False}
    ((recipients, mail),) = kept.mails
    assert (recipients, mail["Importance"]) == (["chest@hospital.test"], "high")
    assert mail["Subject"] == f"[xrayq North] urgent: flag raised: pneumonia, instance {film}"
    text = mail.get_content()
    assert f"https://reading.test/xrayq/{film}" in text
    assert "Not for diagnosis" in text
    everything = f"{body.decode()} {mail.as_string()}"
    with reading(told.database) as connection:
        uids = [str(value) for value in next(iter(connection.exec_driver_sql(
            "SELECT study_instance_uid, sop_instance_uid FROM instance ORDER BY id LIMIT 1"
        )))]  # fmt: skip
    for secret in ("Secret", "Person", "4711", "0815", *uids):
        assert secret not in everything
    rows = told.messages()
    assert [(row.kind, row.answer) for row in rows] == [("webhook", "200"), ("mail", "250")]
    assert mail["Message-ID"] == f"<{rows[1].message_id}@hospital.test>"
    assert abs(datetime.now(UTC) - mail["Date"].datetime) < timedelta(minutes=5), "when it was sent"
    assert headers["Webhook-Id"] == rows[0].message_id


def test_the_name_of_a_webhook_holds_no_secret(site: Site) -> None:
    url = "https://hooks.test:8443/services/T000/secret-token?key=x"
    told = flag_site(site, url, 25)
    told.film()
    (name,) = [name for name in told.waits() if name.startswith("https")]
    assert name.startswith("https://hooks.test:8443#")
    assert "secret" not in name
    assert len({routed.name for routed in flag_site(site, f"{url}y", 25).every} & {name}) == 0


def test_a_webhook_that_fails_gets_the_same_message_again(site: Site) -> None:
    with told_of(site, 503, 0) as (told, hook, _):
        told.film()
        ends = []
        while told.waits()[0].startswith("http"):
            ends += send(told)
            told.later()
    assert ends == ["http_503", "RemoteDisconnected", ""]
    assert len({body for _, body in hook.requests}) == len({headers["Webhook-Id"] for headers, _ in hook.requests}) == 1


def hours_around(now: datetime, before: float, after: float) -> str:
    begin, end = (now + timedelta(hours=hours) for hours in (-before, after))
    return f"{begin:%H:%M}-{end:%H:%M}"


def test_in_the_quiet_hours_only_what_is_urgent_is_told(site: Site) -> None:
    now = datetime.now(UTC)
    quiet = {"quiet_hours": hours_around(now, 2, 3)}
    with told_of(site, **quiet) as (told, hook, _):
        told.film()
        assert send(told) == [], "it is not due"
        with reading(told.database) as connection:
            waits = [one for one in listing.listed(connection) if one.destination.startswith("http")]
            assert [(one.reason, one.attempts) for one in waits] == [("quiet_hours", 0)]
            assert outages(connection) == ()
            assert abs(waits[0].at - now) < timedelta(minutes=5), "it waits since its film ended"
        assert waits[0].next_at is not None
        assert timedelta(hours=2.9) < waits[0].next_at - now < timedelta(hours=3.1)
        with ris(int(told.routes[2].rpartition(":")[2])):
            assert send(told, 2) == [""], "a RIS is told at any hour"
        urgent = replace(told, settings=told.settings | {"urgent": "pneumonia"})
        urgent.film("urgent")
        assert send(urgent) == [""]
    assert len(hook.requests) == 1


def test_quiet_hours_that_are_switched_off_or_end_earlier_keep_nothing_back(site: Site) -> None:
    now = datetime.now(UTC)
    with told_of(site, quiet_hours=hours_around(now, 2, 3)) as (told, hook, _):
        told.film()
        shorter = replace(told, settings=told.settings | {"quiet_hours": hours_around(now, 2, 1)})
        assert courier(shorter).send_due() == 0
        with reading(told.database) as connection:
            (waits,) = [one for one in listing.listed(connection) if one.destination.startswith("http")]
        assert waits.next_at is not None
        assert timedelta(minutes=58) < waits.next_at - now < timedelta(hours=1)
        off = replace(told, settings=told.settings | {"quiet_hours": ""})
        assert courier(off).send_due() == 1
    assert len(hook.requests) == 1


def courier(told: Site) -> Courier:
    """Of the webhook, in a worker that starts."""
    return Courier(told.delivery(), told.every[0], threading.Event())


def test_what_failed_before_the_quiet_hours_waits_until_they_end(site: Site) -> None:
    with told_of(site, 503) as (told, hook, _):
        told.film()
        assert send(told) == ["http_503"]
        night = replace(told, settings=told.settings | {"quiet_hours": hours_around(datetime.now(UTC), 2, 3)})
        night.later()
        assert send(night) == ["quiet_hours"]
        assert send(night) == []
        with reading(night.database) as connection:
            in_the_morning = database_time(connection) + timedelta(hours=4)
            assert night.every[0].name not in {outage.destination for outage in outages(connection)}
            late_then = {found.destination for found in late(connection, in_the_morning)}
        assert late_then == {destination.name for destination in night.every}, "from their end on it is missed"
        night.later(hours=3)  # they are over
        assert send(told) == [""]
    assert len(hook.requests) == 2


def test_quiet_hours_take_nothing_from_the_time_that_a_result_is_tried(site: Site) -> None:
    """The film ended 4 hours ago, the quiet hours just now; it is tried for one."""
    with told_of(site, 503) as (told, _, _):
        night = replace(told, settings=told.settings | {"quiet_hours": hours_around(datetime.now(UTC), 1, 4)})
        night.film()
        night.later(hours=4)
        assert told.send(told.every[0], answer_seconds=0.5, hours=1) == ["http_503"]
        assert told.every[0].name in told.waits()
        told.later(hours=1)
        assert told.send(told.every[0], answer_seconds=0.5, hours=1) == [""]


def test_flags_that_are_told_no_more_end_at_once(site: Site) -> None:
    with told_of(site) as (told, hook, _):
        told.film()
        narrow = replace(told, settings=told.settings | {"told_flags": ("covid19",)})
        assert send(narrow) == ["not_told"]
        assert hook.requests == []
        assert told.every[0].name not in (*told.waits(), *told.lost())


def test_flags_that_the_site_does_not_name_are_not_told(site: Site) -> None:
    with told_of(site, told_flags="covid19") as (told, _, _):
        told.film()
        assert told.waits() == [told.every[2].name]


def test_a_film_whose_corrected_one_has_no_flag_is_told_no_more(site: Site) -> None:
    with told_of(site) as (told, hook, _):
        told.film()
        told.film(flag=False, PatientID="PID-CORRECTED")
        assert send(told) == ["replaced", "not_told"]
    assert hook.requests == []


@pytest.mark.parametrize("state", ["scored", "ineligible"])
def test_a_flag_that_a_correction_takes_away_is_withdrawn_once(site: Site, state: str) -> None:
    """Where it was told: the webhook got the flag, the mailbox not yet. Not again by the next correction."""
    with told_of(site, urgent="pneumonia", link="https://reading.test/{instance}") as (told, hook, kept):
        told.film()
        assert send(told) == [""]
        second = told.film(end=False, PatientID="PID-CORRECTED")
        told.end(second, state, flag=False, not_analysed=False)
        assert [send(told, 1), send(told), send(told)] == [["replaced", "not_told"], [""], []]
        told.film(flag=False, PatientID="PID-AGAIN")
        assert [send(told), send(told, 1)] == [[], []]
    flagged, withdrawn = (json.loads(body) for _, body in hook.requests)
    assert (flagged["type"], flagged["withdrawn"]) == ("flagged_film", False)
    about = {"type": "withdrawn_flag", "withdrawn": True, "flags": ["pneumonia"], "urgent": True, "corrected": True}
    assert withdrawn == withdrawn | about | {"instance": second, "link": f"https://reading.test/{second}"}
    assert len({headers["Webhook-Id"] for headers, _ in hook.requests}) == 2
    assert kept.mails == []


def test_a_flag_whose_mail_is_on_its_way_while_the_film_is_corrected_is_withdrawn_behind_it(site: Site) -> None:
    with told_of(site) as (told, _, kept):
        take = kept.handle_DATA

        async def correct(*about: Any) -> str:
            if not kept.mails:
                told.film(flag=False, PatientID="PID-CORRECTED")
            return await take(*about)

        kept.handle_DATA = correct  # type: ignore[method-assign]
        first = told.film()
        assert [send(told, 1), send(told, 1)] == [[""], [""]]
    subjects = [mail["Subject"] for _, mail in kept.mails]
    assert subjects == [
        f"[xrayq North] flag raised: pneumonia, instance {first}",
        f"[xrayq North] flag withdrawn: pneumonia, instance {first + 1}",
    ]
    assert "on the corrected film it is not raised" in kept.mails[1][1].get_content()


class Killed(RuntimeError):
    pass


@contextmanager
def killed_at(site: Site, beginning: str) -> Iterator[None]:
    """The process dies before a statement that begins so."""

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(beginning):
            raise Killed

    event.listen(site.database, "before_cursor_execute", die)
    try:
        with pytest.raises(Killed):
            yield
    finally:
        event.remove(site.database, "before_cursor_execute", die)


@pytest.mark.parametrize(("statement", "delivered"), [("INSERT INTO perhaps_sent", 0), ("INSERT INTO sent_message", 1)])
def test_what_was_delivered_and_never_recorded_is_taken_back(site: Site, statement: str, delivered: int) -> None:
    """A worker is killed before it sends, and between the answer and its commit; then the film is corrected."""
    with told_of(site) as (told, hook, kept), ris(int(told.routes[2].rpartition(":")[2])) as found:
        told.film()
        for nth in range(3):
            with killed_at(told, statement):
                send(told, nth)
        assert [len(hook.requests), len(kept.mails), len(found.came)] == [delivered] * 3
        assert told.messages() == []
        told.later()
        told.film(flag=False, PatientID="PID-CORRECTED")
        for nth, told_anew in enumerate((delivered, delivered, 1)):
            assert send(told, nth) == ["replaced", "" if told_anew else "not_told"]
        told.film(flag=False, PatientID="PID-AGAIN")
        assert [send(told, 0), send(told, 1)] == [[], []], "once"
    status = str(hl7.parse(found.came[-1].decode()).segment("OBR")[25])
    assert status == ("C" if delivered else "P")
    types = [json.loads(body)["type"] for _, body in hook.requests]
    assert types == ["flagged_film", "withdrawn_flag"][: 2 * delivered]
    assert ["flag withdrawn" in mail["Subject"] for _, mail in kept.mails] == [False, True][: 2 * delivered]


@pytest.mark.parametrize("killed", [True, False])
def test_a_withdrawal_that_may_not_have_arrived_is_made_again_by_the_next_correction(
    site: Site, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is killed before it sends it; or it still waits."""

    def dies(*_: Any) -> None:
        raise Killed

    with told_of(site) as (told, hook, _):
        told.film()
        assert send(told) == [""]
        told.film(flag=False, PatientID="PID-CORRECTED")
        if killed:
            monkeypatch.setattr(FlagWebhookAdapter, "send", dies)
            with pytest.raises(Killed):
                send(told)
            monkeypatch.undo()
            told.later()
        told.film(flag=False, PatientID="PID-AGAIN")
        assert sorted(send(told)) == ["", "replaced"]
    assert [json.loads(body)["type"] for _, body in hook.requests] == ["flagged_film", "withdrawn_flag"]


def test_a_mail_whose_server_answers_after_the_deadline_is_taken_back(site: Site) -> None:
    with told_of(site) as (told, _, kept):
        take, late = kept.handle_DATA, threading.Event()

        async def slowly(*about: Any) -> str:
            answer = await take(*about)
            await asyncio.to_thread(late.wait, 30)
            return answer

        kept.handle_DATA = slowly  # type: ignore[method-assign]
        told.film()
        assert told.send(told.every[1], send_seconds=0.3) == ["no_answer"]
        late.set()
        told.film(flag=False, PatientID="PID-CORRECTED")
        assert send(told, 1) == [""]
    assert ["flag withdrawn" in mail["Subject"] for _, mail in kept.mails] == [False, True]


@pytest.mark.parametrize(
    ("status", "reason", "told_of_it"),
    [(404, "http_404", False), (500, "http_500", True), (0, "RemoteDisconnected", True)],
)
def test_what_was_refused_was_not_told(site: Site, status: int, reason: str, told_of_it: bool) -> None:
    with told_of(site, status) as (told, hook, _):
        told.film()
        assert send(told) == [reason]
        told.film(flag=False, PatientID="PID-CORRECTED")
        assert send(told) == ["" if told_of_it else "not_told"]
    assert len(hook.requests) == 1 + told_of_it


@pytest.mark.parametrize("state", ["received", "failed"])
def test_a_correction_that_a_person_takes_out_takes_back_what_was_told(site: Site, state: str) -> None:
    with told_of(site) as (told, hook, _), ris(int(told.routes[2].rpartition(":")[2])) as found:
        told.film()
        assert [send(told, 0), send(told, 2)] == [[""], [""]]
        second = told.film(end=False, PatientID="PID-CORRECTED")
        if state == "failed":
            told.end(second, "failed")
        bundle = placed_bundle(told.bundle)
        take_back = TakeBack(routes_of(told.configured), not_analysed=True, default=bundle)
        rejected = instances.reject(told.database, second, "operator:test", take_back)
        assert rejected == instances.Rejected(
            reason="operator", back=instances.TakenBack(told=tuple(names(told.every)))
        )
        assert [send(told, nth) for nth in range(3)] == [[""], ["replaced", "not_told"], [""]]
        first = told.film("first of its kind", end=False)
        assert instances.reject(told.database, first, "operator:test", take_back).back == instances.TakenBack()
    assert [json.loads(body)["type"] for _, body in hook.requests] == ["flagged_film", "withdrawn_flag"]
    correction = hl7.parse(found.came[1].decode())
    said = {str(segment[3][0][0]): str(segment[11]) for segment in correction.segments("OBX")[3:]}
    assert said == {"NOT_ANALYSED": "C", "P_PNEUMONIA": "D"}
    assert "A person took the film out." in str(correction)


def test_a_corrected_film_with_a_flag_says_so(site: Site) -> None:
    with told_of(site) as (told, hook, _):
        told.film()
        assert send(told) == [""]
        told.film(PatientID="PID-CORRECTED")
        assert send(told) == [""]
    assert [json.loads(body)["corrected"] for _, body in hook.requests] == [False, True]
    assert len({headers["Webhook-Id"] for headers, _ in hook.requests}) == 2


def test_one_destination_that_is_away_keeps_no_other_waiting(site: Site) -> None:
    """Each has a courier of its own."""
    with told_of(site) as (told, _, _):
        told.film()
        couriers = Couriers(told.delivery(), told.every)
        assert [courier.send_due() for courier in couriers._each] == [1, 1, 1]
    assert [row.kind for row in told.messages()] == ["webhook", "mail"]
    assert told.waits() == [told.every[2].name]
    taken = errands.take(
        told.database, (waiting.WAITS,), now=time_of(told.database) + timedelta(minutes=1), lease_seconds=1
    )
    assert taken is not None
    assert waiting.read(taken).reason == "no_connection"
