"""Errands of alarms: tried again, given up, in order, by several relays, by one that dies."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from tests.alarms import audited, change, condition, errand_keys
from tests.receivers import SECRET, hook, mailer, post, web
from tests.services import environment, free_port, process, wait_until
from worker.alarms import ledger, mail, webhook
from worker.alarms.change import Change
from worker.alarms.deliver import DeliveryOptions, deliver, deliver_due, not_configured
from worker.audit import trail
from worker.channels import signed_post
from worker.db import schema
from worker.db.session import make_engine, reading, time_of, writing
from worker.db.tables import errand
from worker.queue import errands
from worker.queue.errands import Kind

OPTIONS = DeliveryOptions(attempts=3, first_wait=0.01)


def raised(database: Engine, *channels: Kind) -> list[Change]:
    with writing(database) as connection:
        return ledger.settle(connection, ["backlog"], [condition()], channels)


def cleared(database: Engine, *channels: Kind) -> list[Change]:
    with writing(database) as connection:
        return ledger.settle(connection, ["backlog"], [], channels)


def until_none_waits(database: Engine, kind: Kind, send: Any, options: DeliveryOptions = OPTIONS) -> None:
    wait_until(lambda: deliver_due(database, kind, send, options) is not None and not errand_keys(database), 10)


def deliveries(database: Engine) -> list[tuple[str, dict[str, Any]]]:
    return [(action, detail) for action, detail in audited(database) if "delivered" in action]


def test_an_answer_500_is_tried_again(database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    (one,) = raised(database, Kind.WEBHOOK)
    with web(500, 200) as found:
        until_none_waits(database, Kind.WEBHOOK, partial(webhook.send, hook(found.url)))
    assert [json.loads(body)["alarm"] for _, body in found.requests] == [one.alarm] * 2
    assert len({headers["Webhook-Id"] for headers, _ in found.requests}) == 1
    detail = {"channel": "webhook", "alarm": one.alarm, "state": "raised"}
    assert deliveries(database) == [("alarm_delivered", detail)]
    assert [record.__dict__["reason"] for record in caplog.records if "try again" in record.message] == ["http_500"]


def test_both_channels_get_each_change(database: Engine) -> None:
    raised(database, Kind.MAIL, Kind.WEBHOOK)
    cleared(database, Kind.MAIL, Kind.WEBHOOK)
    with web() as found, post() as (kept, port):
        deliver_due(database, Kind.MAIL, partial(mail.send, mailer(port)), OPTIONS)
        deliver_due(database, Kind.WEBHOOK, partial(webhook.send, hook(found.url)), OPTIONS)
    assert [json.loads(body)["state"] for _, body in found.requests] == ["raised", "cleared"]
    assert [mail_["Subject"].split()[2] for _, mail_ in kept.mails] == ["raised:", "cleared:"]
    assert errand_keys(database) == []
    assert trail.verify(database).whole


def test_after_the_last_attempt_it_is_given_up_and_audited(database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    (one,) = raised(database, Kind.MAIL)
    send = partial(mail.send, mailer(free_port()))
    until_none_waits(database, Kind.MAIL, send)
    detail = {"channel": "mail", "alarm": one.alarm, "state": "raised", "attempts": 3}
    assert deliveries(database) == [("alarm_undelivered", detail | {"reason": "connection_refused"})]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]


def test_messages_of_a_channel_that_was_taken_away_do_not_wait_for_ever(database: Engine) -> None:
    raised(database, Kind.MAIL)
    until_none_waits(database, Kind.MAIL, not_configured)
    ((action, detail),) = deliveries(database)
    assert (action, detail["reason"]) == ("alarm_undelivered", "not_configured")


def test_a_message_of_another_release_is_sent_or_given_up(database: Engine, caplog: pytest.LogCaptureFixture) -> None:
    (newer,) = raised(database, Kind.WEBHOOK)
    (older,) = cleared(database, Kind.WEBHOOK)
    for message, payload in (
        (newer, newer.as_dict() | {"unit": "films"}),
        (older, {name: value for name, value in older.as_dict().items() if name != "text"}),
    ):
        with writing(database) as connection:
            connection.execute(update(errand).where(errand.c.key == message.key).values(payload=payload))
    sent: list[Change] = []
    deliver_due(database, Kind.WEBHOOK, lambda change: sent.append(change) or 0, OPTIONS)
    assert sent == [newer]
    detail = {"channel": "webhook", "alarm": newer.alarm}
    assert deliveries(database) == [
        ("alarm_delivered", detail | {"state": "raised"}),
        ("alarm_undelivered", detail | {"state": "cleared", "reason": "unreadable", "attempts": 1}),
    ]
    assert errand_keys(database) == []


@pytest.mark.parametrize("fault", [{"to": "a@b.c"}, {"alarm": "1"}, {"value": None}, {"at": 5}, {"gone": "no"}])
def test_a_change_with_a_field_of_another_type_is_not_read(fault: dict[str, Any]) -> None:
    good = change().as_dict()
    assert Change.read(json.loads(json.dumps(good | {"to": ["a@b.c"]}))) == change(to=("a@b.c",))
    with pytest.raises(ValueError, match=next(iter(fault))):
        Change.read(good | fault)


def test_the_end_does_not_arrive_before_the_beginning(database: Engine) -> None:
    raised(database, Kind.WEBHOOK)
    cleared(database, Kind.WEBHOOK)
    with writing(database) as connection:  # the first attempt failed, the next is an hour away
        later = datetime.now(UTC) + timedelta(hours=1)
        connection.execute(update(errand).where(errand.c.key.like("%raised")).values(next_attempt_at=later))
    with web() as found:
        send = partial(webhook.send, hook(found.url))
        patient = DeliveryOptions(attempts=12, first_wait=0.01)
        deliver_due(database, Kind.WEBHOOK, send, patient)
        assert found.requests == []
        with writing(database) as connection:
            connection.execute(update(errand).values(next_attempt_at=datetime.now(UTC)).where(errand.c.attempts == 0))
        until_none_waits(database, Kind.WEBHOOK, send, patient)
    assert [json.loads(body)["state"] for _, body in found.requests] == ["raised", "cleared"]


def test_refused_recipients_are_counted_in_the_trail(database: Engine) -> None:
    (one,) = raised(database, Kind.MAIL)
    with post() as (_, port):
        recipients = ("x@refused.test", "call@hospital.test")
        deliver_due(database, Kind.MAIL, partial(mail.send, mailer(port, recipients=recipients)), OPTIONS)
    detail = {"channel": "mail", "alarm": one.alarm, "state": "raised", "refused": 1}
    assert deliveries(database) == [("alarm_delivered", detail)]


def test_a_recipient_that_is_greylisted_gets_it_later_and_the_others_once(database: Engine) -> None:
    (one,) = raised(database, Kind.MAIL)
    recipients = ("x@greylisted.test", "y@refused.test", "call@hospital.test")
    with post() as (kept, port):
        send = partial(mail.send, mailer(port, recipients=recipients))
        first = errands.take(database, (Kind.MAIL,), now=time_of(database), lease_seconds=60)
        assert first
        deliver(database, first, send, OPTIONS)  # once: `deliver_due` goes on while something is due again
        assert deliveries(database) == []
        until_none_waits(database, Kind.MAIL, send)
    assert [to for to, _ in kept.mails] == [["call@hospital.test"], ["x@greylisted.test"]]
    assert len({mail_["Message-ID"] for _, mail_ in kept.mails}) == 1
    assert deliveries(database) == [("alarm_delivered", {"channel": "mail", "alarm": one.alarm, "state": "raised"})]


def test_a_server_that_drips_does_not_hold_up_its_channel(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    raised(database, Kind.WEBHOOK)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not over.wait(0.05):  # far below the timeout for one answer
                    connection.sendall(b"x")

        threading.Thread(target=drip, daemon=True).start()
        send = partial(webhook.send, hook(f"http://127.0.0.1:{server.getsockname()[1]}/hook"))
        monkeypatch.setattr(signed_post, "TOTAL", 0.5)
        assert deliver_due(database, Kind.WEBHOOK, send, DeliveryOptions(attempts=1)) == 1
        over.set()
    assert [(action, detail["reason"]) for action, detail in deliveries(database)] == [
        ("alarm_undelivered", "no_answer")
    ]


def test_two_relays_deliver_each_message_once(database_url: str, database: Engine) -> None:
    with writing(database) as connection:
        found = [condition(subject=f"CR{number}") for number in range(20)]
        ledger.settle(connection, ["backlog"], found, [Kind.WEBHOOK])
    relays = [make_engine(database_url) for _ in range(2)]
    start = threading.Barrier(2)
    with web() as hooked:

        def relay(engine: Engine) -> int:
            start.wait(timeout=20)
            return deliver_due(engine, Kind.WEBHOOK, partial(webhook.send, hook(hooked.url)), OPTIONS)

        with ThreadPoolExecutor(2) as threads:
            tried = sum(threads.map(relay, relays))
    keys = [headers["Webhook-Id"] for headers, _ in hooked.requests]
    assert (tried, len(keys), len(set(keys))) == (20, 20, 20)
    assert len(deliveries(database)) == 20
    for engine in relays:
        engine.dispose()


def test_a_relay_that_dies_after_sending_lets_it_be_sent_again_under_the_same_key(database: Engine) -> None:
    """At least once: nobody can know whether the answer was seen before the process died."""
    raised(database, Kind.WEBHOOK)
    now = datetime.now(UTC)
    with web() as found:
        send = partial(webhook.send, hook(found.url))
        taken = errands.take(database, (Kind.WEBHOOK,), now=now, lease_seconds=300)
        assert taken is not None
        send(Change.read(taken.payload))  # and here the process ends
        assert deliver_due(database, Kind.WEBHOOK, send, OPTIONS) == 0
        with writing(database) as connection:
            connection.execute(update(errand).values(lease_until=now))
        assert deliver_due(database, Kind.WEBHOOK, send, OPTIONS) == 1
    assert len({headers["Webhook-Id"] for headers, _ in found.requests}) == 1
    assert len(deliveries(database)) == 1


def test_what_another_relay_has_taken_over_is_not_recorded_by_us(database: Engine) -> None:
    raised(database, Kind.WEBHOOK)

    def slow(_change: Change) -> int:
        with writing(database) as connection:  # the lease passed meanwhile, and another took it
            connection.execute(update(errand).values(attempts=errand.c.attempts + 1))
        return 0

    deliver_due(database, Kind.WEBHOOK, slow, OPTIONS)
    assert deliveries(database) == []
    assert len(errand_keys(database)) == 1


def test_the_relay_looks_and_delivers(tmp_path: Path, redis_server: Any) -> None:
    """A real one: its spool has less room than the limit, so it raises that alarm and posts it."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    (tmp_path / "spool" / "incoming").mkdir(parents=True)  # as a gateway prepares it
    with web(503) as found:
        env = environment(
            home=str(tmp_path), redis_url=redis_server.url, alarm_spool_mib=str(1 << 40), webhook_url=found.url,
            webhook_secret=SECRET, log_format="json",
        )  # fmt: skip
        with process("relay", env, tmp_path / "relay.log"):
            wait_until(lambda: len(found.requests) >= 1, 30, "the webhook")
            wait_until(lambda: deliveries(database) or later(database), 30, "what became of it")
    assert {json.loads(body)["rule"] for _, body in found.requests} == {"spool_space"}
    lines = [json.loads(line) for line in (tmp_path / "relay.log").read_text().splitlines()]
    assert [line["subject"] for line in lines if line["message"] == "alarm raised"] == [socket.gethostname()]
    assert SECRET not in (tmp_path / "relay.log").read_text()
    database.dispose()


def later(database: Engine) -> bool:
    with reading(database) as connection:
        return connection.execute(select(errand.c.id).where(errand.c.attempts > 0)).first() is not None
