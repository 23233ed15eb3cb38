"""Messages that do not arrive are seen where no mail is needed: in `xrayq status` and in the report."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from dicom_gateway.spool import Spool
from tests import days
from tests.alarms import condition
from tests.integration.status.test_snapshot import options, shown
from tests.receivers import hook, mailer, post, web
from tests.services import free_port, typed_in
from worker.alarms import ledger, mail, webhook
from worker.alarms.deliver import DeliveryOptions, deliver_due, not_configured
from worker.alarms.undelivered import SHOWN_FOR, Outage, given_up, outages
from worker.db import schema
from worker.db.session import make_engine, reading, writing
from worker.db.span import Span
from worker.db.tables import audit_event
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import judge
from worker.nightly.page.page import render
from worker.queue import errands
from worker.queue.errands import Kind
from worker.status.snapshot import StatusReader

ONCE = DeliveryOptions(attempts=1)
PATIENT = DeliveryOptions(attempts=12, first_wait=600)
Send = Callable[..., int]


@pytest.fixture
def nobody() -> Send:
    """A mail server that is not there."""
    return partial(mail.send, mailer(free_port()))


def raise_(database: Engine, subject: str, *channels: Kind) -> None:
    with writing(database) as connection:
        ledger.settle(connection, (), [condition("sender_silent", subject)], channels)


def found(database: Engine, later: timedelta = timedelta()) -> tuple[Outage, ...]:
    with reading(database) as connection:
        return outages(connection, datetime.now(UTC) + later)


def test_what_fails_and_is_tried_again(database: Engine, nobody: Send) -> None:
    raise_(database, "CR1", *(Kind.MAIL, Kind.WEBHOOK))
    assert found(database) == ()
    assert deliver_due(database, Kind.MAIL, nobody, PATIENT) == 1
    (one,) = found(database)
    assert (one.channel, one.failing, one.attempts, one.given_up) == ("mail", 1, 1, 0)
    assert one.next_at is not None
    assert 500 < (one.next_at - datetime.now(UTC)).total_seconds() <= 600


def test_the_try_that_is_on_its_way_has_not_failed(database: Engine) -> None:
    raise_(database, "CR1", Kind.MAIL)
    errands.take(database, (Kind.MAIL,), now=datetime.now(UTC), lease_seconds=300)
    assert found(database) == ()


def test_what_was_given_up_is_told_until_a_message_arrives(database: Engine, nobody: Send) -> None:
    for subject in ("CR1", "CR2"):
        raise_(database, subject, Kind.MAIL, Kind.WEBHOOK)
    deliver_due(database, Kind.MAIL, nobody, ONCE)
    with web() as hooked:
        deliver_due(database, Kind.WEBHOOK, partial(webhook.send, hook(hooked.url)), ONCE)
    (one,) = found(database)
    assert (one.channel, one.failing, one.given_up, one.why) == ("mail", 0, 2, "nothing listens there")
    assert found(database, SHOWN_FOR + timedelta(minutes=1)) == ()
    raise_(database, "CR3", Kind.MAIL)
    with post() as (_, port):
        deliver_due(database, Kind.MAIL, partial(mail.send, mailer(port)), ONCE)
    assert found(database) == ()


def test_a_channel_that_was_taken_out_of_the_settings_is_no_outage(database: Engine) -> None:
    raise_(database, "CR1", Kind.MAIL)
    deliver_due(database, Kind.MAIL, not_configured, ONCE)
    assert found(database) == ()


@pytest.mark.parametrize("width", [80, 120])
def test_status_says_so(database: Engine, database_url: str, spool: Spool, nobody: Send, width: int) -> None:
    watched = StatusReader(options(database_url, spool.root))
    raise_(database, "CR1", Kind.MAIL)
    deliver_due(database, Kind.MAIL, nobody, ONCE)
    raise_(database, "CR2", Kind.MAIL)
    deliver_due(database, Kind.MAIL, nobody, PATIENT)
    looked = watched.look()
    assert looked.faults == ("2 open alarms", "alarms do not arrive by mail")
    (one,) = looked.as_dict()["stored"]["outages"]
    assert (one["failing"], one["given_up"], one["reason"]) == (1, 1, "connection_refused")
    lines = shown(looked, width, 24)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "mail 1 message did not arrive, tried once, next try " in text
    assert "; 1 message given up, the last " in text
    assert ": nothing listens there. First: xrayq alarm test" in text


def test_the_report_says_so(database: Engine, nobody: Send) -> None:
    night_options = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT)
    raise_(database, "CR1", Kind.MAIL)
    deliver_due(database, Kind.MAIL, nobody, ONCE)
    raise_(database, "CR2", Kind.MAIL)
    deliver_due(database, Kind.MAIL, nobody, PATIENT)
    report = night_report(database, datetime.now(UTC).date(), night_options)
    (one,) = report.as_dict()["undelivered"]
    assert {name: one[name] for name in one if name != "at"} == {
        "channel": "mail",
        "rule": "sender_silent",
        "subject": "CR1",
        "state": "raised",
        "reason": "connection_refused",
    }
    remarks = judge(report).remarks
    assert "1 message about alarms did not arrive by mail: nothing listens there." in remarks
    assert "1 message about alarms did not arrive by mail yet: 'xrayq alarm test' says why." in remarks
    assert "Messages about alarms that did not arrive" in render(report).html


def test_what_was_given_up_on_another_day_is_in_that_days_report(database: Engine, nobody: Send) -> None:
    raise_(database, "CR1", Kind.MAIL)
    deliver_due(database, Kind.MAIL, nobody, ONCE)
    now = datetime.now(UTC)
    with reading(database) as connection:
        assert len(given_up(connection, Span(start=now - timedelta(hours=1), end=now))) == 1
        assert given_up(connection, Span(start=now, end=now + timedelta(hours=1))) == ()


def test_a_test_that_arrives_ends_the_outage(tmp_path: Path, nobody: Send) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    raise_(database, "CR1", Kind.MAIL)
    deliver_due(database, Kind.MAIL, nobody, ONCE)
    settings = {"smtp_host": "127.0.0.1", "smtp_security": "none", "mail_from": "x@a.test", "mail_to": "y@a.test"}
    settings |= {f"{role}_http_port": "0" for role in ("gateway", "relay", "worker")} | {"spool_reserve_mib": "1"}
    with post() as (kept, port), typed_in(tmp_path, home=str(tmp_path), smtp_port=str(port), **settings) as xrayq:
        assert "alarms do not arrive by mail" in xrayq("status", "--once")[2]
        assert xrayq("alarm", "test")[:2] == (0, "mail     delivered\n")
        assert "alarms do not arrive" not in xrayq("status", "--once")[2]
    assert len(kept.mails) == 1
    with reading(database) as connection:
        newest = connection.execute(audit_event.select().order_by(audit_event.c.id.desc()).limit(1)).one()
    assert newest.actor.startswith("operator")
    assert newest.detail == {"channel": "mail", "alarm": 0, "state": "test"}
    database.dispose()
