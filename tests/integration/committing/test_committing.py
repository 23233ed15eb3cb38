"""A modality asks whether we hold what it sent: looked up in ledger and spool, reported whatever dies in between."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from pydantic import ValidationError
from pydicom import uid
from sqlalchemy import Engine, select, update

from dicom_gateway.committing import CommitmentRequest
from dicom_gateway.encode import derived_uid
from dicom_gateway.errors import RequestRefusal, RequestTooLarge
from dicom_gateway.local import store_file
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import Spool
from tests.alarms import limits
from tests.certificates import Authority
from tests.modality import Modality
from tests.phantoms import chest_pixels, write_film
from tests.services import free_port, typed, wait_until
from worker.alarms import live_rules
from worker.audit import trail
from worker.committing import listing, requests
from worker.committing.holding import Holding
from worker.committing.report import Committing, ReportHere, ReportOptions
from worker.committing.reporters import Reporter, Reporters
from worker.db import session
from worker.db.session import reading, writing
from worker.db.tables import audit_event, commitment_request, errand
from worker.peers.leaving import admit_instance
from worker.processes import commitment_options
from worker.queue import errands
from worker.queue.errands import Kind
from worker.receiving import other_objects
from worker.receiving.ingest import ingest
from worker.reporting.destinations import StoreDestination, store_destinations
from worker.settings import Settings

PIXELS = chest_pixels(64, 48)
DX, DOSE = uid.DigitalXRayImageStorageForPresentation, uid.XRayRadiationDoseSRStorage
UNKNOWN = "2.25.4711"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A gateway that commits, and the address of the modality CR1."""

    database: Engine
    spool: Spool
    folder: Path
    address: StoreDestination
    committing: Committing

    def film(self, name: str = "one") -> tuple[str, Path]:
        """Its UID, and its file in the spool."""
        received = store_file(write_film(self.folder, name, pixels=PIXELS), self.spool, "CR1")
        ingest(self.database, self.spool, received)
        return received.header.sop_instance_uid, received.path

    def asked(self, *uids: str, transaction: str = "2.25.1") -> ReportHere:
        """Of CR1, as the gateway takes it: until somebody goes on, nothing more is done."""
        objects = dict.fromkeys(uids, str(DX))
        return self.committing.take(CommitmentRequest(transaction_uid=transaction, calling_ae="CR1", objects=objects))

    def dead(self) -> None:
        """The gateway that had the errands died some time ago."""
        with writing(self.database) as connection:
            past = session.database_time(connection) - timedelta(seconds=1)
            connection.execute(update(errand).values(lease_until=past, next_attempt_at=past))

    def reporter(self, **options: Any) -> Reporter:
        chosen = replace(self.committing, options=replace(self.committing.options, **options))
        return Reporter(chosen, self.address, Event())

    def listed(self) -> list[listing.ListedRequest]:
        with reading(self.database) as connection:
            return listing.listed(connection)

    def events(self) -> list[tuple[str, str, dict[str, Any]]]:
        with reading(self.database) as connection:
            query = select(audit_event.c.action, audit_event.c.actor, audit_event.c.detail)
            rows = connection.execute(query.where(audit_event.c.action.like("commitment%")).order_by(audit_event.c.id))
            return [tuple(row) for row in rows]

    def alarms(self, minutes: int) -> list[tuple[str, float]]:
        """Subject and value of those that are due so many minutes from now."""
        with reading(self.database) as connection:
            now = session.database_time(connection) + timedelta(minutes=minutes)
            seen = live_rules.look(connection, limits(), None, now)
        assert "commitment_unreported" in seen.rules
        return [(one.subject, one.value) for one in seen.conditions if one.rule == "commitment_unreported"]

    @contextmanager
    def gateway(self) -> Iterator[int]:
        """Its port."""
        options = GatewayOptions(host="127.0.0.1", port=0)
        server = Gateway(options, self.spool, lambda _: None, asked=self.committing.take)
        server.start()
        yield server.port
        server.stop(grace=0)


@pytest.fixture
def site(database: Engine, spool: Spool, tmp_path: Path) -> Site:
    return Site(
        database=database,
        spool=spool,
        folder=tmp_path,
        address=StoreDestination(called_ae="CR1", host="127.0.0.1", port=free_port()),
        committing=Committing(
            holding=Holding(database=database, spool=spool),
            options=ReportOptions(calling_ae="XRAYQ", hours=72, first_wait=60, answer_seconds=5, send_seconds=10),
        ),
    )


def other_object(site: Site) -> str:
    """A dose report, answered with success and not kept."""
    named = derived_uid("dose")
    arrived = OtherObject(
        sop_class_uid=DOSE,
        sop_instance_uid=named,
        transfer_syntax_uid=uid.ExplicitVRLittleEndian,
        study_instance_uid="2.25.2",
        series_instance_uid="2.25.3",
        modality="SR",
        digest="0" * 64,
        size=10,
        path=None,
        calling_ae="CR1",
        called_ae="XRAYQ",
        fresh=True,
    )
    other_objects.record(site.database, arrived)
    return named


def test_each_object_is_answered_on_the_same_association(site: Site) -> None:
    (held, _), (altered, damaged), (gone, missing), (other, _) = map(site.film, ("one", "two", "three", "four"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    missing.unlink()
    dose = other_object(site)
    modality = Modality()
    asked = dict.fromkeys((held, altered, gone, UNKNOWN), DX) | {other: uid.CTImageStorage, dose: DOSE}
    with site.gateway() as port:
        association = modality.asks(port)
        assert modality.request(association, asked)[0] == 0
        (report,) = wait_until(lambda: modality.reports, 20, "the report")
        assert modality.request(association, {held: DX})[0] == 0
        wait_until(lambda: len(modality.reports) == 2, 20, "the second report")
        assert (modality.reports[1].event_type, modality.reports[1].held) == (1, {held: DX})
        wait_until(lambda: [one.state for one in site.listed()] == ["reported"] * 2, 10, "our commit")
        association.release()
    assert (report.event_type, report.held, report.same_association) == (2, {held: DX}, True)
    assert report.failed == {altered: 0x0110, gone: 0x0112, UNKNOWN: 0x0112, dose: 0x0112, other: 0x0119}
    assert site.listed()[1].failed == {"0x0110": 1, "0x0112": 3, "0x0119": 1}
    first, second, *_ = site.events()
    assert first == ("commitment_asked", "CR1", {"request": 1, "objects": 6})
    failed = {"0x0110": 1, "0x0112": 3, "0x0119": 1}
    about = {"request": 1, "calling_ae": "CR1", "held": 1, "failed": failed, "association": "same", "attempts": 1}
    assert second == ("commitment_reported", "gateway", about)
    assert trail.verify(site.database).whole
    with reading(site.database) as connection:
        assert connection.execute(select(errand).where(errand.c.kind == "commitment")).all() == []


def test_a_report_that_waited_for_longer_than_its_lease_is_made_all_the_same(site: Site) -> None:
    """Behind another, or while the peer sent films: nobody else could report to this peer."""
    held, _ = site.film()
    here = site.asked(held)
    site.dead()
    other = errands.take(
        site.database, (Kind.COMMITMENT,), now=datetime.now(UTC) + timedelta(hours=1), lease_seconds=60
    )
    assert other
    assert list(here.steps()) == [], "another has it"
    errands.postpone(site.database, other, now=datetime.now(UTC), first_wait=3600)
    answers = [answer for answer in here.steps() if answer]
    assert [dict(answer.objects) for answer in answers] == [{held: str(DX)}]
    here.reported(0)
    assert [one.state for one in site.listed()] == ["reported"]


def test_what_an_unknown_peer_sent_is_not_held(site: Site) -> None:
    received = store_file(write_film(site.folder, "strange", pixels=PIXELS), site.spool, "XRAYQ")
    assert isinstance(received, Received)
    received = replace(received, calling_ae="CR9")
    _, key = ingest(site.database, site.spool, received, unknown=Connected(calling_ae="CR9", address="10.0.0.9"))
    (answer,) = [answer for answer in site.asked(received.header.sop_instance_uid).steps() if answer]
    assert list(answer.failed.values()) == [0x0112]
    admit_instance(site.database, key, actor="operator:test")
    (answer,) = [answer for answer in site.asked(received.header.sop_instance_uid).steps() if answer]
    assert list(answer.objects) == [received.header.sop_instance_uid]


def test_a_new_association_whose_first_try_fails(site: Site) -> None:
    """It left before the report. Of two who ask the same transaction each has its own report."""
    held, _ = site.film()
    modality = Modality()
    with site.gateway() as port:
        for _ in range(2):
            association = modality.asks(port)
            _, transaction = modality.request(association, {held: DX}, "2.25.99")
            association.release()
        reporter = site.reporter(first_wait=0.01)
        wait_until(reporter.report_due, 10, "a try")
        assert [one.reason for one in site.listed()].count("no_connection") == 1
        with modality.listens(site.address.port):
            wait_until(lambda: reporter.report_due() and len(modality.reports) == 2, 20, "the reports")
    assert {report.transaction_uid for report in modality.reports} == {transaction}
    assert [report.same_association for report in modality.reports] == [False, False]
    assert [one.state for one in site.listed()] == ["reported"] * 2
    assert sorted(detail["attempts"] for action, _, detail in site.events() if action == "commitment_reported")[-1] == 3


@pytest.mark.parametrize("step", ["kept", "checked", "sent"])
def test_who_dies_between_the_answer_and_the_report_leaves_it_to_the_next(site: Site, step: str) -> None:
    """A report that was sent, and whose answer nobody kept, is sent again: at least once."""
    held, _ = site.film()
    here = site.asked(held, UNKNOWN)
    if step != "kept":
        assert list(here.steps())[-1] is not None
    reporter, modality = site.reporter(), Modality()
    with modality.listens(site.address.port):
        assert reporter.report_due() == 0, "it has it as long as it may live"
        site.dead()
        assert reporter.report_due() == 1
    if step == "sent":
        here.reported(0)  # it lives after all, and is too late
        here.leave()
    (report,) = modality.reports
    assert (report.transaction_uid, list(report.held), report.failed) == ("2.25.1", [held], {UNKNOWN: 0x0112})
    (only,) = site.listed()
    assert (only.state, only.attempts) == ("reported", 2)
    assert site.reporter().report_due() == 0


def test_what_the_peer_refuses_is_tried_until_it_is_too_old(site: Site) -> None:
    held, _ = site.film()
    site.asked(held)
    site.dead()
    modality = Modality(answers=[0x0110] * 9)
    with modality.listens(site.address.port):
        assert site.reporter().report_due() == 1
        (only,) = site.listed()
        assert (only.state, only.reason, only.why) == ("waits", "status_0x0110", "it answered 0x0110")
        site.dead()
        assert site.reporter(hours=0).report_due() == 1
    (only,) = site.listed()
    assert (only.state, only.attempts) == ("given_up", 3)
    assert [site.alarms(hours * 60) for hours in (23, 25)] == [[("CR1", 1380)], []]
    assert site.events()[-1][0] == "commitment_unreported"
    with reading(site.database) as connection:
        assert connection.execute(select(errand).where(errand.c.kind == "commitment")).all() == []
        now = session.database_time(connection)
    requests.forget(site.database, now + timedelta(days=requests.KEPT_DAYS - 1))
    assert len(site.listed()) == 1
    requests.forget(site.database, now + timedelta(days=requests.KEPT_DAYS, hours=1))
    assert site.listed() == []


@pytest.mark.parametrize(
    ("roles", "reason"), [({"scu": None, "scp": None}, ""), ({"scu": True, "scp": False}, "not_accepted")]
)
def test_what_the_peer_says_of_our_role(site: Site, roles: dict[str, bool | None], reason: str) -> None:
    """One that says nothing gets the report (PS3.7 D.3.3.4 would have us be SCU), one that says no does not."""
    site.asked(site.film()[0])
    site.dead()
    modality = Modality()
    with modality.listens(site.address.port, **roles):
        assert site.reporter().report_due() == 1
    assert ([one.reason for one in site.listed()], len(modality.reports)) == ([reason], 0 if reason else 1)


def test_a_report_goes_over_tls_and_not_without(site: Site, tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    shown, route = authority.issue("cr1"), f"tls:CR1@127.0.0.1:{site.address.port}"
    settings = Settings(commitment_to=(route,), tls_authorities=authority.file)
    committing = commitment_options.committing(settings, site.database, site.spool)
    (peer,) = store_destinations(settings.commitment_to).values()
    site.asked(site.film()[0])
    site.dead()
    modality, context = Modality(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    with modality.listens(peer.port):
        assert Reporter(committing, peer, Event()).report_due() == 1
    assert ([one.reason for one in site.listed()], modality.reports) == (["no_tls"], [])
    site.dead()
    with modality.listens(peer.port, tls=context):
        assert Reporter(committing, peer, Event()).report_due() == 1
        assert len(modality.reports) == 1
    with pytest.raises(ValidationError, match="XRAYQ_TLS_AUTHORITIES"):
        Settings(commitment_to=(route,))


def test_an_ae_without_an_address_waits_for_one(site: Site) -> None:
    held, _ = site.film()
    here = site.asked(held)
    here.leave()
    nowhere = Reporters(site.committing, {}, Event())
    assert nowhere.put_off_the_others() == 1
    (only,) = site.listed()
    assert (only.reason, "XRAYQ_COMMITMENT_TO" in only.why) == ("no_route", True)
    with reading(site.database) as connection:
        assert listing.without_address(connection) == {"CR1"}
    assert [site.alarms(minutes) for minutes in (59, 61)] == [[], [("CR1", 61)]]
    modality = Modality()
    with modality.listens(site.address.port):
        assert site.reporter().report_due() == 1
        assert len(modality.reports) == 1
    assert site.alarms(61) == []


def test_a_transaction_uid_for_other_objects(site: Site) -> None:
    """PS3.3 C.14.1.1: the UID is in use. The first request keeps it."""
    (one, _), (two, _) = site.film("one"), site.film("two")
    for uids in ((one,), (two, UNKNOWN), (one,)):
        site.asked(*uids)
    site.dead()
    modality = Modality()
    with modality.listens(site.address.port):
        assert site.reporter().report_due() == 3
    assert [report.failed for report in modality.reports] == [{}, {two: 0x0131, UNKNOWN: 0x0131}, {}]


def test_the_newest_revision_counts_and_bytes_are_read_once_a_day(site: Site) -> None:
    held, first = site.film("one")
    received = store_file(write_film(site.folder, "one", pixels=PIXELS[::-1]), site.spool, "CR1")
    ingest(site.database, site.spool, received)
    assert received.path != first
    first.unlink()
    site.asked(held)
    site.dead()
    assert site.reporter().report_due() == 1, "nobody listens there"
    whole = received.path.read_bytes()
    received.path.write_bytes(whole[:-1] + b"\1")
    site.dead()
    modality = Modality(answers=[0x0110])
    with modality.listens(site.address.port):
        assert site.reporter().report_due() == 1
        with writing(site.database) as connection:
            connection.execute(update(commitment_request).values(checked_at=commitment_request.c.asked_at))
            old = session.database_time(connection) - timedelta(days=2)
            connection.execute(update(commitment_request).values(checked_at=old))
        site.dead()
        assert site.reporter().report_due() == 1
    assert [report.failed for report in modality.reports] == [{}, {held: 0x0110}]


def test_a_spool_that_is_away_is_no_answer(site: Site, tmp_path: Path) -> None:
    held, _ = site.film()
    site.spool.root.rename(tmp_path / "unmounted")
    site.asked(held)
    site.dead()
    modality = Modality()
    with modality.listens(site.address.port):
        assert site.reporter().report_due() == 1
        assert [one.reason for one in site.listed()] == ["spool_away"]
        (tmp_path / "unmounted").rename(site.spool.root)
        site.dead()
        assert site.reporter().report_due() == 1
    assert [report.failed for report in modality.reports] == [{}]


def test_what_cannot_be_kept_is_not_promised(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_WAITING", 2)
    site.asked(UNKNOWN)
    site.asked(UNKNOWN)
    with pytest.raises(RequestTooLarge):
        site.asked(UNKNOWN)
    assert len(site.listed()) == 2
    away = session.make_engine("postgresql://nobody@127.0.0.1:1/xrayq", seconds=2)
    elsewhere = Committing(holding=Holding(database=away, spool=site.spool), options=site.committing.options)
    with pytest.raises(RequestRefusal):
        replace(site, committing=elsewhere).asked(UNKNOWN)


def test_a_database_that_goes_away_leaves_the_association_alone(site: Site) -> None:
    """The lease passes, and another reports."""
    held, _ = site.film()
    here = site.asked(held)
    away = session.make_engine("postgresql://nobody@127.0.0.1:1/xrayq", seconds=2)
    gone = Committing(holding=Holding(database=away, spool=site.spool), options=site.committing.options)
    blind = ReportHere(gone, here._taken)
    assert list(blind.steps()) == []
    blind.leave()
    assert [one.state for one in site.listed()] == ["waits"]


def test_commands_show_it(site: Site, database_url: str) -> None:
    held, _ = site.film()
    here = site.asked(held, UNKNOWN)
    list(here.steps())
    listed = typed("commitment", "list", database_url=database_url)
    assert listed.returncode == 0, listed.stderr
    assert "CR1" in listed.stdout
    assert "1 0x0112" in listed.stdout
    shown = typed("commitment", "show", "1", database_url=database_url)
    assert f"{UNKNOWN}: not held" in shown.stdout
    assert f"{held}:" not in shown.stdout
    assert typed("commitment", "show", "9", database_url=database_url).returncode == 3
