"""Results go out once, whatever happens in between: real associations with a Storage SCP of the test."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from sqlalchemy import event, select, update

from dicom_gateway.result import FilmResult
from tests.integration.reporting.site import OPTIONS, Site, names, objects
from tests.pacs import pacs
from tests.services import free_port
from worker.audit import trail
from worker.db.session import reading, time_of, writing
from worker.db.tables import errand, finding_score
from worker.errors import Undelivered
from worker.queue import errands
from worker.reporting import faults, waiting
from worker.reporting.adapters.adapter import Opened, Outgoing
from worker.reporting.adapters.store import MadeObject, SentObject, StoreAdapter
from worker.reporting.couriers import Couriers
from worker.reporting.destinations import routes_of
from worker.reporting.listing import listed
from worker.reporting.not_arrived import outages

SENT, REPORTED, UNDELIVERED = "result_sent", "reported", "result_undelivered"


def test_a_result_is_sent_once_and_the_film_is_reported(site: Site) -> None:
    film = site.film()
    (there,) = site.destinations
    assert site.waits() == [there.name]
    with pacs(there.port) as found:
        assert site.send() == [""]
        assert site.send() == []
    assert len(set(found.uids)) == len(found.uids) == 2
    assert found.callers == ["XRAYQ"]
    assert [kept.SeriesDescription for kept in found.kept] == ["pneumonia"] * 2
    rows = site.sent()
    assert [(row.destination, row.sop_instance_uid, row.status) for row in rows] == [
        (there.name, key, 0) for key in found.uids
    ]
    assert len({row.digest for row in rows}) == 2
    ((_, detail), (reported, _)) = site.events(SENT, REPORTED)
    assert (detail["objects"], detail["attempts"], reported) == (2, 1, REPORTED)
    assert detail["digests"] == [row.digest for row in rows]
    assert "Secret" not in str(detail)
    assert (site.state(film), site.waits()) == ("reported", [])
    assert trail.verify(site.database).whole


def test_a_film_that_was_not_analysed_stays_ineligible(site: Site) -> None:
    film = site.film(state="ineligible")
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""]
    assert [kept.SeriesDescription for kept in found.kept] == ["view"]
    assert site.state(film) == "ineligible"
    assert [action for action, _ in site.events(SENT, REPORTED)] == [SENT]


def test_no_result_of_what_was_not_analysed_where_none_is_wanted_nor_of_a_dead_letter(site: Site) -> None:
    film = site.film(end=False)
    site.end(film, "ineligible", not_analysed=False)
    site.film("two", state="failed")
    site.film("three", calling_ae="CR2")
    assert site.waits() == []


def test_a_pacs_that_is_away_gets_it_when_it_is_there(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    film = site.film()
    assert site.send() == ["no_connection"]
    assert site.send() == [], "it waits ten seconds"
    assert (site.state(film), len(site.waits())) == ("scored", 1)
    site.later()
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""]
    assert len(found.kept) == 2
    assert site.state(film) == "reported"
    ((_, detail),) = site.events(SENT)
    assert detail["attempts"] == 2
    assert [record.__dict__["reason"] for record in caplog.records if "try again" in record.message] == [
        "no_connection"
    ]


@pytest.mark.parametrize(
    ("status", "reason"), [(0xA700, "status_0xA700"), (0xC000, "status_0xC000"), (0x0124, "status_0x0124")]
)
def test_what_was_refused_is_tried_again(site: Site, status: int, reason: str) -> None:
    film = site.film()
    with pacs(site.destinations[0].port) as found:
        found.statuses = [0, status]
        assert site.send() == [reason]
        assert site.sent() == [], "all or nothing"
        site.later()
        assert site.send() == [""]
    assert found.uids[0] == found.uids[1], "the first object came twice, as the same one"
    assert len(site.sent()) == 2
    assert site.state(film) == "reported"


def test_a_warning_and_a_duplicate_are_success_with_a_note(site: Site) -> None:
    site.film()
    with pacs(site.destinations[0].port) as found:
        found.statuses = [0xB000, 0x0111]
        assert site.send() == [""]
    assert [row.status for row in site.sent()] == [0xB000, 0x0111]
    ((_, detail),) = site.events(SENT)
    assert detail["warnings"] == ["0xB000", "0x0111"]


def test_a_pacs_that_takes_implicit_vr_alone_gets_the_same_objects(site: Site) -> None:
    site.film()
    with pacs(site.destinations[0].port, implicit_only=True) as found:
        assert site.send() == [""]
    assert len(found.kept) == 2


def test_a_pacs_that_answers_to_another_title(site: Site) -> None:
    site.film()
    with pacs(site.destinations[0].port, title="OTHER"):
        assert site.send() == ["rejected_1_1_7"]


def test_killed_between_the_answer_and_the_commit_it_is_one_object(site: Site) -> None:
    film = site.film()

    class Killed(RuntimeError):
        pass

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO sent_object"):
            raise Killed

    with pacs(site.destinations[0].port) as found:
        event.listen(site.database, "before_cursor_execute", die)
        with pytest.raises(Killed):
            site.send()
        event.remove(site.database, "before_cursor_execute", die)
        assert (len(found.kept), site.sent(), site.events(SENT)) == (2, [], [])
        assert site.send() == [], "its lease has not passed"
        site.later()
        assert site.send() == [""]
    assert found.uids[:2] == found.uids[2:]
    assert len(set(found.uids)) == 2
    assert (len(site.sent()), len(site.events(SENT)), site.state(film)) == (2, 1, "reported")


@pytest.mark.parametrize(("lost_while", "sendings"), [("making", 1), ("sending", 2)])
def test_what_another_worker_has_taken_over_is_not_recorded_by_us(site: Site, lost_while: str, sendings: int) -> None:
    def taken_over() -> None:
        site.later()  # the lease passed, and another worker takes it
        assert site.send() == [""]

    class Slow(StoreAdapter):
        def make(self, outgoing: Outgoing) -> list[MadeObject]:
            if lost_while == "making":
                taken_over()
            return super().make(outgoing)

        def send(self, made: Sequence[MadeObject], opened: Opened) -> list[SentObject]:
            if lost_while == "sending":
                taken_over()
            return super().send(made, opened)

    site.film()
    (there,) = site.destinations
    slow = Slow(destination=there, objects=objects, options=OPTIONS)
    with pacs(there.port) as found:
        taken = errands.take(
            site.database,
            (waiting.WAITS,),
            waiting.goes_to(names(site.destinations)),
            now=time_of(site.database),
            lease_seconds=60,
        )
        assert taken is not None
        replace(site.delivery(), adapter_of=lambda _: slow).deliver(taken, there)
    assert len(found.kept) == 2 * sendings
    assert (len(site.sent()), len(site.events(SENT))) == (2, 1)


def test_of_two_destinations_one_is_down(site: Site) -> None:
    port, down = free_port(), free_port()
    both = replace(site, routes=(f"CR1:PACS@127.0.0.1:{port}", f"CR1:RIS@127.0.0.1:{down}"))
    up, away = both.destinations
    film = both.film()
    with pacs(port) as found:
        assert both.send(away) == ["no_connection"]
        assert both.send(up) == [""]
    assert len(found.kept) == 2
    assert (both.state(film), both.waits()) == ("scored", [away.name])
    both.later()
    with pacs(down, title="RIS") as other:
        assert both.send(away) == [""]
    assert other.uids == found.uids
    assert both.state(film) == "reported"
    assert [action for action, _ in both.events(SENT, REPORTED)] == [SENT, SENT, REPORTED]


def test_of_two_destinations_that_answer_at_the_same_time_the_second_makes_it_reported(site: Site) -> None:
    ports = free_port(), free_port()
    both = replace(site, routes=tuple(f"CR1:PACS@127.0.0.1:{port}" for port in ports))
    film = both.film()
    neither_committed = threading.Barrier(2)

    def wait(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM errand"):
            with suppress(threading.BrokenBarrierError):  # SQLite has one writer: the second cannot come
                neither_committed.wait(2)

    event.listen(both.database, "after_cursor_execute", wait)
    with pacs(ports[0]), pacs(ports[1]), ThreadPoolExecutor(2) as threads:
        assert list(threads.map(both.send, both.destinations)) == [[""], [""]]
    event.remove(both.database, "after_cursor_execute", wait)
    assert both.state(film) == "reported"
    assert [action for action, _ in both.events(SENT, REPORTED)] == [SENT, SENT, REPORTED]


def test_a_silent_device_sends_nothing_and_an_accepted_one_what_ends_later(site: Site) -> None:
    other = replace(site, routes=(f"*:PACS@127.0.0.1:{site.destinations[0].port}",))
    before = other.film(calling_ae="CR2")
    assert other.waits() == []
    other.accept("CR2")
    after = other.film("two", calling_ae="CR2")
    with pacs(site.destinations[0].port) as found:
        assert other.send() == [""]
    assert len(found.kept) == 2
    assert (other.state(before), other.state(after)) == ("scored", "reported")


def test_what_waits_of_a_device_that_is_silenced_does_not_go_out(site: Site) -> None:
    film = site.film()
    site.silence()
    with pacs(site.destinations[0].port) as found:
        assert site.send() == []
        site.accept()
        site.later()
        assert site.send() == [], "not by being accepted again"
    assert found.kept == []
    assert (site.waits(), site.lost(), site.state(film)) == ([], names(site.destinations), "scored")
    ((_, detail),) = site.events(UNDELIVERED)
    assert detail["reason"] == "silent"
    with reading(site.database) as connection:
        assert [(one.state, one.reason) for one in listed(connection)] == [("given_up", "silent")]
        assert outages(connection) == ()


def test_of_two_destinations_one_sent_before_the_device_was_silenced_the_film_is_not_reported(site: Site) -> None:
    both = replace(site, routes=(*site.routes, f"CR1:RIS@127.0.0.1:{free_port()}"))
    film = both.film()
    with pacs(both.destinations[0].port):
        assert both.send() == [""]
    both.silence()
    both.accept()
    assert (both.state(film), both.lost()) == ("scored", [both.destinations[1].name])


def test_what_a_courier_has_when_the_device_is_silenced_is_given_up_at_its_next_try(site: Site) -> None:
    film = site.film()
    site.take(film)
    site.silence()
    assert len(site.waits()) == 1
    site.later()
    assert site.send() == ["silent"]
    assert (site.lost(), site.state(film)) == (names(site.destinations), "scored")


def test_a_score_that_was_altered_is_not_sent(site: Site) -> None:
    site.film()
    with writing(site.database) as connection:
        connection.execute(update(finding_score).values(probability=0.2, flag=False))
    with pacs(site.destinations[0].port) as found:
        assert site.send() == ["score_altered"]
    assert found.kept == []


def test_after_a_week_it_is_given_up_and_kept_for_a_person(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    film = site.film()
    site.later(hours=167)
    assert site.send() == ["no_connection"]
    assert len(site.waits()) == 1
    site.later(hours=2)
    assert site.send() == ["no_connection"]
    assert (site.waits(), site.lost()) == ([], names(site.destinations))
    assert site.state(film) == "scored"
    ((_, detail),) = site.events(UNDELIVERED)
    assert (detail["reason"], detail["attempts"]) == ("no_connection", 2)
    assert caplog.records[-1].levelname == "ERROR"


def test_given_up_at_one_destination_and_sent_to_the_other_it_is_not_reported(site: Site) -> None:
    port, down = free_port(), free_port()
    both = replace(site, routes=(f"CR1:PACS@127.0.0.1:{port}", f"CR1:RIS@127.0.0.1:{down}"))
    film = both.film()
    both.later(hours=169)
    assert both.send(both.destinations[1]) == ["no_connection"]
    with pacs(port):
        assert both.send() == [""]
    assert both.state(film) == "scored"


def test_errands_of_a_removed_destination_wait_and_are_given_up_in_the_end(site: Site) -> None:
    port, gone = free_port(), free_port()
    both = replace(site, routes=(f"CR1:PACS@127.0.0.1:{port}", f"CR1:OLD@127.0.0.1:{gone}"))
    film = both.film()
    with pacs(port):
        assert both.send() == [""]
    couriers = Couriers(both.delivery(), routes_of(both.routes[:1]).every)
    assert couriers.sweep() == 0
    assert both.waits() == [f"OLD@127.0.0.1:{gone}"], "another worker may have newer settings"
    assert both.send(both.destinations[1]) == ["no_connection"], "and its courier is not kept from it"
    both.later(hours=169)
    assert couriers.sweep() == 1
    assert (both.waits(), both.lost(), both.state(film)) == ([], [], "reported")
    ((_, detail),) = both.events(UNDELIVERED)
    assert detail["reason"] == "not_configured"
    assert Couriers(both.delivery(), ()).sweep() == 0


@pytest.mark.parametrize("fault", [faults.NO_PICTURE, faults.NO_BUNDLE])
def test_a_picture_that_cannot_be_had_keeps_the_report_back_for_a_while(site: Site, fault: str) -> None:
    def without(result: FilmResult, film: Path, *, picture: bool) -> list[Dataset]:
        if picture:
            raise Undelivered(fault)
        return objects(result, film, picture=False)

    film = site.film()
    (there,) = site.destinations
    ends = []
    with pacs(there.port) as found:
        while not ends or ends[-1]:
            site.later()
            taken = errands.take(site.database, (waiting.WAITS,), now=time_of(site.database), lease_seconds=60)
            assert taken is not None
            ends.append(site.delivery(without).deliver(taken, there))
    assert ends == [fault] * 3 + [""]
    assert [kept.SOPClassUID for kept in found.kept] == [uid.Comprehensive3DSRStorage]
    ((_, detail),) = site.events(SENT)
    assert (detail["warnings"], site.state(film)) == ([fault], "reported")


def test_the_result_of_a_corrected_film_names_the_one_before(site: Site) -> None:
    first = site.film()
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""]
        second = site.film(PatientID="PID-CORRECTED")
        assert first != second
        assert site.send() == [""]
    before, after = found.kept[0], found.kept[2]
    assert [item.ReferencedSOPInstanceUID for item in after.PredecessorDocumentsSequence] == [before.SOPInstanceUID]
    assert not before.PredecessorDocumentsSequence
    assert (site.state(first), site.state(second)) == ("reported", "reported")


def test_an_outdated_result_is_not_sent_once_the_corrected_film_has_one(site: Site) -> None:
    """A PACS shows what came last, and the first one may bear another patient's name."""
    first, second = site.film(end=False), site.film(PatientID="PID-CORRECTED")
    with pacs(site.destinations[0].port) as found:
        assert site.send() == [""]
        site.end(first)  # it was retried, or requeued
        assert site.send() == ["replaced"]
    assert len(found.kept) == 2
    assert (site.state(first), site.state(second), site.waits(), site.lost()) == ("scored", "reported", [], [])
    ((_, detail),) = site.events(UNDELIVERED)
    assert detail["reason"] == "replaced"


def test_what_waits_for_an_earlier_revision_is_given_up_for_the_corrected_one(site: Site) -> None:
    """Whatever keeps the first one, the second does not wait for it."""
    first, second = site.film(), site.film(PatientID="PID-CORRECTED")
    with pacs(site.destinations[0].port) as found:
        site.take(first)
        assert site.send() == ["earlier_waits"], "it is on its way"
        site.later()
        site.take(second)
        assert site.send() == ["replaced"]
        site.later()
        assert site.send() == [""]
    assert {str(kept.PatientName) for kept in found.kept} == {"Secret^Person"}
    assert (site.state(first), site.state(second), site.waits()) == ("scored", "reported", [])


def test_a_film_that_was_put_back_has_a_result_of_its_own(site: Site) -> None:
    with pacs(site.destinations[0].port) as found:
        keys = []
        for patient in ("PID-SECRET", "PID-WRONG", "PID-SECRET"):
            keys.append(site.film(PatientID=patient))
            assert site.send() == [""]
    assert len(set(keys)) == 3
    assert len(set(found.uids)) == 6, "the third film is the first one's bytes again"
    assert {site.state(key) for key in keys} == {"reported"}


def test_times_are_those_of_the_site(site: Site) -> None:
    site.film()
    with pacs(site.destinations[0].port) as found:
        assert site.send(zone=timezone(timedelta(hours=-4))) == [""]
    assert {kept.TimezoneOffsetFromUTC for kept in found.kept} == {"-0400"}


def test_an_errand_of_a_later_release_is_left_to_it(site: Site) -> None:
    site.film()
    with writing(site.database) as connection:
        payload = connection.execute(select(errand.c.payload)).scalar_one()
        connection.execute(update(errand).values(payload=payload | {"bundle": {"new": 1}}))
    assert site.send() == ["unreadable"]
    with reading(site.database) as connection:
        assert connection.execute(select(errand.c.payload)).scalar_one()["bundle"] == {"new": 1}
        assert listed(connection) == []
    assert site.events(UNDELIVERED) == []


@pytest.mark.parametrize(("change", "reason"), [("gone", "film_missing"), ("altered", "film_altered")])
def test_a_film_that_is_not_in_the_spool_any_more(site: Site, change: str, reason: str) -> None:
    site.film()
    (film,) = (path for path in site.spool.root.rglob("*.dcm"))
    if change == "gone":
        film.unlink()
    else:
        film.write_bytes(film.read_bytes()[:-2])
    assert site.send() == [reason]


def test_an_object_that_cannot_be_made_says_nothing_of_the_patient(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("Secret^Person")

    site.film()
    couriers = Couriers(site.delivery(broken), site.destinations)
    assert couriers._each[0].send_due() == 1
    assert [record.__dict__["reason"] for record in caplog.records] == ["KeyError", "not_made"]
    assert "Secret" not in caplog.text


def test_a_key_has_no_more_than_64_characters() -> None:
    assert len(waiting.key_of(2**63 - 1, "f" * 64, "PACS@host:104")) <= 64
