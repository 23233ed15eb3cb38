"""A film is reported when its PACS says that it holds the result: by storage commitment, or found by C-FIND."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import event, select, update
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.commitment import CommitmentReport
from dicom_gateway.errors import ReportRefusal
from dicom_gateway.options import GatewayOptions
from dicom_gateway.scp import Gateway
from tests.integration.reporting.site import OPTIONS, Site
from tests.pacs import Pacs, pacs
from tests.services import wait_until
from worker.audit import trail
from worker.audit.actions import Actor
from worker.db import schema
from worker.db.session import reading, time_of, writing
from worker.db.tables import commitment, errand
from worker.reporting.couriers import Confirmer, Couriers
from worker.reporting.held import record_report
from worker.reporting.listing import ListedResult, of_instance
from worker.reporting.listing import listed as list_results

SENT, CONFIRMED, UNCONFIRMED, RESENT, REPORTED = (
    "result_sent",
    "result_confirmed",
    "result_unconfirmed",
    "result_resent",
    "reported",
)


@contextmanager
def sent(site: Site, *names: str, **options: Any) -> Iterator[tuple[Pacs, list[int]]]:
    """Films whose results the PACS took."""
    with pacs(site.destinations[0].port, **options) as found:
        films = [site.film(name) for name in names or ("one",)]
        assert site.send(confirm=True) == [""] * len(films)
        assert [site.state(film) for film in films] == ["scored"] * len(films)
        yield found, films


@contextmanager
def gateway(site: Site) -> Iterator[int]:
    """Its port: there a PACS reports."""
    server = Gateway(
        GatewayOptions(host="127.0.0.1", port=0),
        site.spool,
        lambda _: None,
        committed=lambda report, ae: record_report(site.database, report, ae, Actor.GATEWAY),
    )
    server.start()
    yield server.port
    server.stop(grace=0)


def all_held(found: Pacs, asked: Dataset) -> CommitmentReport:
    """What the PACS says of a transaction in which it holds everything."""
    classes = {str(kept.SOPInstanceUID): str(kept.SOPClassUID) for kept in found.kept}
    return CommitmentReport(
        transaction_uid=asked.TransactionUID, held=frozenset(classes), failed={}, sop_classes=classes
    )


def reported(site: Site, report: CommitmentReport, reporter: str = "PACS") -> None:
    record_report(site.database, report, reporter, Actor.GATEWAY)


def listed(site: Site, film: int) -> ListedResult:
    with reading(site.database) as connection:
        (only,) = of_instance(connection, film)
        return only


def transactions(site: Site) -> list[tuple[list[str], bool]]:
    """What each asked about, and whether a report came."""
    with reading(site.database) as connection:
        rows = connection.execute(select(commitment).order_by(commitment.c.asked_at)).all()
        return [(row.asked, row.answered_at is not None) for row in rows]


def committed(site: Site) -> list[bool]:
    return [row.committed_at is not None for row in site.sent()]


def found_there(site: Site) -> list[bool]:
    return [row.found_at is not None for row in site.sent()]


def test_committed_and_found_over_one_association_for_all(site: Site) -> None:
    names = [f"film {number}" for number in range(12)]
    with sent(site, *names, commits="same", finds=True) as (found, films):
        before = len(found.callers)
        assert site.ask() == ""
        assert site.ask() is None, "nothing is left to ask about"
        assert len(found.callers) - before == 1
        assert len(found.asked_to_commit) == 1
    assert committed(site) == found_there(site) == [True] * 24
    assert {site.state(film) for film in films} == {"reported"}
    assert [len(asked) for asked, answered in transactions(site) if answered] == [24]
    assert len(site.events(CONFIRMED)) == 12
    assert site.events(CONFIRMED)[0][1]["by"] == {"commitment": 2}
    assert (listed(site, films[0]).state, listed(site, films[0]).reason) == ("confirmed", "")
    assert trail.verify(site.database).whole


def test_a_pacs_that_takes_neither_question_is_taken_at_its_word(site: Site) -> None:
    with sent(site) as (_, (film,)):
        assert site.ask() == ""
    assert site.state(film) == "reported"
    ((_, detail),) = site.events(CONFIRMED)
    assert detail["by"] == {"status": 2}
    result = listed(site, film)
    assert result.state == "sent", "nobody said that it is there"
    assert all(kept.status_counts_at for kept in result.objects)


def test_found_alone_will_do(site: Site) -> None:
    with sent(site, finds=True) as (_, (film,)):
        assert site.ask() == ""
    assert (site.state(film), committed(site)) == ("reported", [False, False])
    assert listed(site, film).state == "confirmed"


def test_a_report_on_an_association_of_the_pacs(site: Site) -> None:
    """The worker is gone when it comes: killed after the N-ACTION, say."""
    with sent(site, commits="never") as (found, (film,)), gateway(site) as port:
        assert site.ask(report_seconds=0.1) == "no_report"
        assert (site.state(film), listed(site, film).reason) == ("scored", "no_report")
        found.reports_to = port
        found.report(found.asked_to_commit[0])
        assert found.reports == [0]
        assert (site.state(film), committed(site)) == ("reported", [True, True])
        found.report(found.asked_to_commit[0])  # twice, as a PACS does that lost our answer
        assert found.reports == [0, 0]
    assert site.ask() is None
    assert [action for action, _ in site.events(CONFIRMED, REPORTED)] == [CONFIRMED, REPORTED]


def test_a_worker_killed_before_it_recorded_what_was_found(site: Site) -> None:
    class Killed(RuntimeError):
        pass

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "found_at=" in statement:
            raise Killed

    with sent(site, finds=True) as (_, (film,)):
        event.listen(site.database, "before_cursor_execute", die)
        with pytest.raises(Killed):
            site.ask()
        event.remove(site.database, "before_cursor_execute", die)
        assert site.ask() is None, "its lease has not passed"
        site.later()
        assert site.ask() == ""
    assert site.state(film) == "reported"
    assert len(site.events(CONFIRMED)) == 1


def test_a_report_while_the_courier_reads_back(site: Site) -> None:
    """Both say that it is there: it is confirmed once, and both times are kept."""
    with sent(site, commits="never", finds=True) as (found, (film,)), gateway(site) as port:
        found.reports_to = port
        find, answered = found.find, threading.Event()

        def report_first(asked: Any) -> Iterator[tuple[int, Dataset | None]]:
            if not answered.is_set():
                answered.set()
                found.report(found.asked_to_commit[0])
            return find(asked)

        found.find = report_first  # type: ignore[method-assign]
        assert site.ask(report_seconds=0.1) in ("", "no_report")
    assert (committed(site), found_there(site)) == ([True, True], [True, True])
    assert site.state(film) == "reported"
    assert [action for action, _ in site.events(CONFIRMED, REPORTED)] == [CONFIRMED, REPORTED]


def test_a_report_on_what_was_never_asked_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with sent(site, commits="never") as (found, (film,)):
        assert site.ask(report_seconds=0.1) == "no_report"
        (asked,) = found.asked_to_commit
        report = all_held(found, asked)
        reported(site, replace(report, transaction_uid="2.25.5"))
        reported(site, replace(report, held=frozenset({"1.2.3"}), failed={"1.2.4": 1}))
    assert (site.state(film), committed(site)) == ("scored", [False, False])
    assert any("not ours" in record.message for record in caplog.records)


def test_a_report_of_another_ae_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A device that has read the transaction off the network, say. The PACS itself is believed after it."""
    with sent(site, commits="never") as (found, (film,)), gateway(site) as port:
        assert site.ask(report_seconds=0.1) == "no_report"
        found.reports_to, found.title = port, "LIAR"
        found.report(found.asked_to_commit[0])
        assert (site.state(film), committed(site), transactions(site)[0][1]) == ("scored", [False, False], False)
        assert any("not asked" in record.message and record.calling_ae == "LIAR" for record in caplog.records)  # type: ignore[attr-defined]
        found.title = "PACS"
        found.report(found.asked_to_commit[0])
    assert found.reports == [0, 0]
    assert site.state(film) == "reported"


def test_an_object_under_another_class_than_was_sent_is_not_held(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with sent(site, commits="never") as (found, (film,)):
        assert site.ask(report_seconds=0.1) == "no_report"
        report = all_held(found, found.asked_to_commit[0])
        one, other = found.uids
        for said in ("", report.sop_classes[other]):
            reported(site, replace(report, sop_classes=report.sop_classes | {one: said}))
            assert (site.state(film), sorted(committed(site))) == ("scored", [False, True])
        assert sum("not counted" in record.message for record in caplog.records) == 2
        reported(site, report)
    assert site.state(film) == "reported"


def test_a_database_that_is_away_makes_the_pacs_report_again(site: Site) -> None:
    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE sent_object"):
            raise SQLAlchemyError("away")

    with sent(site, commits="never") as (found, (film,)):
        assert site.ask(report_seconds=0.1) == "no_report"
        report = all_held(found, found.asked_to_commit[0])
        event.listen(site.database, "before_cursor_execute", fail)
        with pytest.raises(ReportRefusal):
            reported(site, report)
        event.remove(site.database, "before_cursor_execute", fail)
        assert transactions(site)[0][1] is False
        reported(site, report)
    assert site.state(film) == "reported"


@pytest.mark.parametrize(
    ("peer", "reason"),
    [({"commits": "same"}, "not_held"), ({"finds": True}, "not_found")],
    ids=["it reports a failure", "it does not find it"],
)
def test_what_a_pacs_took_and_does_not_hold_is_sent_again(site: Site, peer: dict[str, Any], reason: str) -> None:
    with sent(site, **peer) as (found, (film,)):
        found.lost = {found.uids[1]}
        site.ask(missing_seconds=0, resend_seconds=0)
        ((_, detail),) = site.events(RESENT)
        assert (detail["reason"], detail["resends"]) == (reason, 1)
        assert (site.state(film), site.waits()) == ("scored", [site.destinations[0].name])
        found.lost = set()
        site.later()
        assert site.send(confirm=True) == [""]
        assert site.ask() == ""
    assert found.uids[:2] == found.uids[2:], "the same objects"
    assert site.state(film) == "reported"
    assert len(site.events(SENT)) == 2


def test_it_is_sent_again_three_times_and_unconfirmed_in_the_end(site: Site) -> None:
    with sent(site, finds=True) as (found, (film,)):
        found.lost = set(found.uids)
        for _ in range(3):
            site.ask(missing_seconds=0, resend_seconds=0)
            site.later()
            assert site.send(confirm=True) == [""]
        site.ask(missing_seconds=0)
        assert site.send(confirm=True) == [], "no fourth time"
        site.later(hours=169)
        site.ask(missing_seconds=0)
        assert (site.lost(), site.state(film)) == ([site.destinations[0].name], "scored")
        ((_, detail),) = site.events(UNCONFIRMED)
        assert detail["reason"] == "not_found"
        result = listed(site, film)
        assert (result.state, result.reason, len(result.objects)) == ("unconfirmed", "not_found", 2)
    assert len(site.events(RESENT)) == 3


def test_a_report_after_it_was_given_up_is_not_too_late(site: Site) -> None:
    with sent(site, commits="never") as (found, (film,)):
        site.later(hours=169)
        assert site.ask(report_seconds=0.1) == "no_report"
        assert len(site.lost()) == 1
        reported(site, all_held(found, found.asked_to_commit[0]))
    assert (site.lost(), site.state(film)) == ([], "reported")


def test_a_report_on_what_was_sent_again_since_does_not_count(site: Site) -> None:
    with sent(site, commits="never", finds=True) as (found, (film,)):
        found.lost = set(found.uids)
        site.ask(report_seconds=0.1, missing_seconds=0, resend_seconds=0)
        (old,) = found.asked_to_commit
        site.later()
        assert site.send(confirm=True) == [""]
        reported(site, all_held(found, old))
    assert (site.state(film), committed(site)) == ("scored", [False, False])


def test_a_commitment_that_is_promised_is_not_asked_for_again_at_once(site: Site) -> None:
    with sent(site, commits="never") as (found, _):
        for _ in range(2):
            assert site.ask(report_seconds=0.1) == "no_report"
            site.later()
        assert len(found.asked_to_commit) == 1
        assert site.ask(report_seconds=0.1, ask_again_seconds=0) == "no_report"
        assert len(found.asked_to_commit) == 2


def test_a_failure_that_sending_again_does_not_mend_is_asked_about_again(site: Site) -> None:
    with sent(site, commits="same") as (found, (film,)):
        found.lost, found.failure_reason = set(found.uids), 0x0110
        assert site.ask() == ""
        assert (listed(site, film).reason, site.waits()) == ("not_committed", [])
        assert [kept.failure_reason for kept in listed(site, film).objects] == [0x0110] * 2
        found.lost = set()
        site.later()
        assert site.ask() == ""
    assert site.state(film) == "reported"
    assert [kept.failure_reason for kept in listed(site, film).objects] == [None] * 2


def test_a_pacs_that_falls_silent_while_it_is_asked(site: Site) -> None:
    with sent(site, "one", "two", finds=True) as (found, films):
        silent = threading.Event()
        find = found.find

        def one_answer(asked: Any) -> Iterator[tuple[int, Dataset | None]]:
            if len(found.asked_to_find) >= 2:
                silent.wait(30)
            return find(asked)

        found.find = one_answer  # type: ignore[method-assign]
        confirmation = site.confirmation()
        hasty = replace(confirmation, send=replace(confirmation.send, answer_seconds=1))
        assert hasty.ask_due(site.destinations[0]) == "no_answer"
        silent.set()
        assert sorted(site.state(film) for film in films) == ["reported", "scored"], "what was answered counts"


@pytest.mark.parametrize(
    ("peer", "status", "reason"),
    [({"commits": "same"}, "action_status", "commitment_0x0213"), ({"finds": True}, "find_status", "query_0x0213")],
)
def test_a_status_instead_of_an_answer(site: Site, peer: dict[str, Any], status: str, reason: str) -> None:
    with sent(site, **peer) as (found, (film,)):
        setattr(found, status, 0x0213)
        assert site.ask() == reason
    assert (site.state(film), listed(site, film).reason) == ("scored", reason)


def test_two_workers_ask_once(site: Site) -> None:
    with sent(site, "one", "two", finds=True) as (found, films):
        both = [threading.Thread(target=site.ask) for _ in range(2)]
        for worker in both:
            worker.start()
        for worker in both:
            worker.join(30)
        assert len(found.asked_to_find) == 4
    assert {site.state(film) for film in films} == {"reported"}
    assert len(site.events(CONFIRMED)) == 2


def test_a_worker_whose_lease_passed_records_nothing_twice(site: Site) -> None:
    with sent(site, finds=True) as (found, (film,)):
        find, once = found.find, threading.Event()

        def slow(asked: Any) -> Iterator[tuple[int, Dataset | None]]:
            if not once.is_set():
                once.set()
                site.later()
                assert site.ask() == ""
            return find(asked)

        found.find = slow  # type: ignore[method-assign]
        assert site.ask() == ""
    assert site.state(film) == "reported"
    assert [action for action, _ in site.events(CONFIRMED, REPORTED)] == [CONFIRMED, REPORTED]


def test_a_pacs_that_is_away_is_left_alone_and_asked_when_it_is_back(site: Site) -> None:
    with sent(site, "one", "two", finds=True) as (found, films):
        kept = found.kept
    confirmer = Confirmer(site.confirmation(), site.destinations[0], threading.Event())
    confirmer._options = replace(confirmer._options, first_wait=0.05)
    assert confirmer.ask_due() == 1
    assert listed(site, films[0]).reason == "no_connection"
    site.later()
    with pacs(site.destinations[0].port, finds=True) as found:
        found.kept = kept
        wait_until(lambda: confirmer.ask_due() == 1, 10)
    assert {site.state(film) for film in films} == {"reported"}


def test_results_sent_while_asking_was_on_are_reported_when_it_is_off(site: Site) -> None:
    with sent(site, commits="never") as (_, (film,)):
        off = site.confirmation()
        replace(off, send=replace(off.send, confirm=False)).ask_due(site.destinations[0])
    assert site.state(film) == "reported"
    assert site.events(CONFIRMED)[0][1]["by"] == {"status": 2}


def test_a_destination_that_is_no_longer_set_is_not_waited_for_in_the_end(site: Site) -> None:
    with sent(site, commits="never") as (_, (film,)):
        couriers = Couriers(site.delivery(), ())
        assert couriers.sweep() == 0
        assert site.state(film) == "scored"
        site.later(hours=169)
        assert couriers.sweep() == 1
    assert (site.state(film), site.lost()) == ("reported", [])
    ((_, detail),) = site.events(UNCONFIRMED)
    assert detail["reason"] == "not_configured"


def test_both_threads_of_a_worker(site: Site) -> None:
    film = site.film()
    delivery = site.delivery()
    delivery = replace(delivery, options=replace(delivery.options, confirm=True))
    with pacs(site.destinations[0].port, commits="same", finds=True):
        couriers = Couriers(delivery, site.destinations)
        couriers.start()
        wait_until(lambda: site.state(film) == "reported", 20, "sent, asked and confirmed")
        couriers.stop()


def test_no_word_of_a_patient(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), sent(site, commits="same", finds=True):
        site.ask()
    assert "Secret" not in caplog.text
    assert "Secret" not in str(site.events(CONFIRMED, REPORTED, SENT))


def test_what_a_slow_query_leaves_no_time_for_is_asked_next_and_nobody_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question has its whole time, so the association ends by a release. Each answer moves our clock on."""
    clock = [0.0]
    monkeypatch.setattr("worker.reporting.confirm.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with sent(site, "one", "two", "three", finds=True) as (found, films):
        answer = found.find

        def slow(event: Any) -> Iterator[Any]:
            clock[0] += 0.4
            yield from answer(event)

        found.find = slow  # type: ignore[method-assign]
        patient = replace(site.confirmation(), send=replace(OPTIONS, confirm=True, answer_seconds=5, send_seconds=6))
        reasons = []
        while (reason := patient.ask_due(site.destinations[0])) is not None:
            reasons.append(reason)
    assert len(reasons) == 2, "three questions fit into one second, and six are to be asked"
    assert set(reasons) == {""}
    assert {site.state(film) for film in films} == {"reported"}


def test_at_a_destination_that_is_no_longer_set_the_status_counts_though_it_says_that_it_lost_the_objects(
    site: Site,
) -> None:
    with sent(site, commits="same") as (found, (film,)):
        found.lost = set(found.uids)
        found.failure_reason = 0x0213
        site.ask()
        site.later(hours=169)
        assert Couriers(site.delivery(), ()).sweep() == 1
    assert (site.state(film), site.waits(), site.lost()) == ("reported", [], [])


def test_beyond_what_is_listed_a_result_that_is_not_confirmed_is_still_a_sent_one(site: Site) -> None:
    with sent(site, "old", commits="never") as (_, (old,)):
        site.film("new")
        assert site.send() == [""]
    with reading(site.database) as connection:
        states = {one.instance: one.state for one in list_results(connection, limit=1)}
    assert states[old] == "sent"


@pytest.mark.parametrize(
    ("column", "hours", "left"),
    [("asked_at", 169, 0), ("asked_at", 167, 1), ("answered_at", 25, 0), ("answered_at", 23, 1)],
)
def test_transactions_that_nobody_reports_on_any_more_are_forgotten(
    site: Site, column: str, hours: int, left: int
) -> None:
    with sent(site, commits="never"):
        site.ask(report_seconds=0.1)
    with writing(site.database) as connection:
        connection.execute(update(commitment).values({column: time_of(site.database) - timedelta(hours=hours)}))
    Couriers(site.delivery(), site.destinations).sweep()
    assert len(transactions(site)) == left


def test_back_to_a_release_that_asks_no_pacs_what_was_sent_is_reported(site: Site) -> None:
    with pacs(site.destinations[0].port):
        sent, waits = site.film("sent"), site.film("waits")
        assert site.send_one(confirm=True) == ""
    assert [site.state(sent), site.state(waits)] == ["scored", "scored"]
    schema.downgrade(site.database, "0012")
    schema.upgrade(site.database)
    assert [site.state(sent), site.state(waits)] == ["reported", "scored"]
    with reading(site.database) as connection:
        (left,) = connection.execute(select(errand)).all()
    assert (left.instance_id, left.destination) == (waits, site.destinations[0].name)
