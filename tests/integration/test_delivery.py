"""Alarms on their way: a real mail server, a real web server, both also broken; several relays; a relay that dies."""

import hashlib
import hmac
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from sqlalchemy import Engine, select, update

from tests.alarms import audited, change, condition, errand_keys
from tests.services import environment, free_port, process, tool, typed_in, wait_until
from worker import errands, trail
from worker.alarms import ledger, mail, webhook
from worker.alarms.change import Change, State, Undelivered
from worker.alarms.deliver import DeliveryOptions, deliver_due, not_configured
from worker.db import schema
from worker.db.session import make_engine, reading, writing
from worker.db.tables import errand
from worker.errands import Kind
from worker.errors import Unhealthy

SECRET = "0123456789abcdef"
OPTIONS = DeliveryOptions(attempts=3, first_wait=0.01)


class Web:
    """A web server that answers as told and keeps what it was sent."""

    def __init__(self, *answers: int, context: ssl.SSLContext | None = None, location: str = "") -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.gets = 0
        waiting = list(answers)
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.requests.append((dict(self.headers.items()), body))
                status = waiting.pop(0) if waiting else 200
                if not status:
                    return  # the connection closes without an answer
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                web.gets += 1
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_port}/hook"


@contextmanager
def web(*answers: int, **options: Any) -> Iterator[Web]:
    made = Web(*answers, **options)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


class Post:
    """Keeps mails; refuses recipients of the domain `refused`."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address.endswith("@refused.test"):
            return f"550 {address} is unknown here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"right", handled=False)


@contextmanager
def post(**options: Any) -> Iterator[tuple[Post, int]]:
    kept, port = Post(), free_port()
    server = Controller(kept, hostname="127.0.0.1", port=port, authenticator=kept.authenticate, **options)
    server.start()
    yield kept, port
    server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that no authority signed, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, made, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", made], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + made.read_bytes())
    return both


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def mailer(port: int, **other: Any) -> mail.MailOptions:
    usual: dict[str, Any] = {"host": "127.0.0.1", "port": port, "security": "none", "user": "", "password": ""}
    usual |= {"sender": "xrayq@hospital.test", "recipients": ("call@hospital.test",), "site": "North"}
    return mail.MailOptions(**usual | other)


def hook(url: str) -> webhook.WebhookOptions:
    return webhook.WebhookOptions(url=url, secret=SECRET, site="North")


def undelivered(send: Any, options: Any) -> str:
    with pytest.raises(Undelivered) as failure:
        send(options, change())
    return str(failure.value)


# mail


def test_a_mail_says_what_is_wrong_where_and_what_to_do() -> None:
    with post() as (kept, port):
        assert mail.send(mailer(port, recipients=("a@hospital.test", "b@hospital.test")), change()) == 0
    ((recipients, message),) = kept.mails
    assert recipients == ["a@hospital.test", "b@hospital.test"]
    assert message["Subject"] == "[xrayq North] raised: sender_silent CR1"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{change().identity('North')}@hospital.test>"
    text = " ".join(message.get_content().split())
    assert text == (
        "CR1 sent no new film since noon sender_silent CR1 raised at 2026-11-20T12:00:00.000000+00:00 "
        "value 12, threshold 10 First: ask whether the device or its queue stands still Alarm 7 of North "
        "Sent by xrayq. Research software, not a medical device."
    )


def test_any_site_name_arrives() -> None:
    with post() as (kept, port):
        mail.send(mailer(port, site="Köln, Haus 2"), change(State.CLEARED, subject=""))
    assert kept.mails[0][1]["Subject"] == "[xrayq Köln, Haus 2] cleared: sender_silent"


def test_a_site_name_cannot_add_a_header() -> None:
    with post() as (kept, port):
        assert undelivered(mail.send, mailer(port, site="X\r\nBcc: thief@elsewhere.test")) == "ValueError"
    assert kept.mails == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_signed_is_refused(
    context: ssl.SSLContext, certificate: Path, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypted = {"tls_context": context, "require_starttls": True}
    if security == "tls":
        encrypted = {"ssl_context": context, "auth_require_tls": False}  # aiosmtpd does not count TLS from the start
    with post(**encrypted) as (kept, port):
        assert undelivered(mail.send, mailer(port, security=security)) == "certificate"
        assert kept.mails == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        mail.send(mailer(port, security=security, user="xrayq", password="right"), change())
        assert undelivered(mail.send, mailer(port, security=security, user="x", password="wrong")) == "smtp_535"
    assert len(kept.mails) == 1
    assert set(kept.logins) == {(b"xrayq", b"right"), (b"x", b"wrong")}


def test_a_server_without_starttls_gets_no_plain_text() -> None:
    with post() as (kept, port):
        assert undelivered(mail.send, mailer(port, security="starttls")) == "SMTPNotSupportedError"
    assert kept.mails == []


def test_recipients_that_are_refused() -> None:
    both = ("x@refused.test", "call@hospital.test")
    with post() as (kept, port):
        assert mail.send(mailer(port, recipients=both), change()) == 1
        assert undelivered(mail.send, mailer(port, recipients=both[:1])) == "smtp_550"
    assert [recipients for recipients, _ in kept.mails] == [["call@hospital.test"]]


def test_no_mail_server() -> None:
    assert undelivered(mail.send, mailer(free_port())) == "ConnectionRefusedError"


# webhook


def test_the_receiver_can_check_who_sent_it_and_when() -> None:
    with web() as found:
        webhook.send(hook(found.url), change())
    ((headers, body),) = found.requests
    stamp, digest = (part.partition("=")[2] for part in headers["X-Xrayq-Signature"].split(","))
    assert abs(time.time() - int(stamp)) < 60
    wanted = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, wanted)
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == change().identity("North")
    assert json.loads(body) == {
        "site": "North",
        "alarm": 7,
        "rule": "sender_silent",
        "subject": "CR1",
        "state": "raised",
        "value": 12,
        "threshold": 10,
        "text": "CR1 sent no new film since noon",
        "at": "2026-11-20T12:00:00.000000+00:00",
        "advice": "ask whether the device or its queue stands still",
    }


def test_another_secret_another_second_or_another_body_is_another_signature() -> None:
    signed = webhook.sign(SECRET, b"body", 1)
    assert signed == "t=1,v1=" + hmac.new(SECRET.encode(), b"1.body", hashlib.sha256).hexdigest()
    others = [webhook.sign("other", b"body", 1), webhook.sign(SECRET, b"body", 2), webhook.sign(SECRET, b"bodx", 1)]
    assert len({signed.partition("v1=")[2], *(other.partition("v1=")[2] for other in others)}) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with web() as other, web(status, location=other.url) as found:
        assert undelivered(webhook.send, hook(found.url)) == f"http_{status}"
    assert (len(found.requests), other.requests, other.gets) == (1, [], 0)


@pytest.mark.parametrize(("status", "fine"), [(200, True), (202, True), (204, True), (400, False), (503, False)])
def test_only_2xx_is_success(status: int, fine: bool) -> None:
    with web(status) as found:
        if fine:
            assert webhook.send(hook(found.url), change()) == 0
        else:
            assert undelivered(webhook.send, hook(found.url)) == f"http_{status}"


def test_a_server_that_is_killed_in_the_middle() -> None:
    with web(0) as found:
        assert undelivered(webhook.send, hook(found.url)) == "RemoteDisconnected"
    assert undelivered(webhook.send, hook(found.url)) == "ConnectionRefusedError"


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", 0.2)
    with socket_that_listens() as port:
        assert undelivered(webhook.send, hook(f"http://127.0.0.1:{port}/")) == "TimeoutError"


@contextmanager
def socket_that_listens() -> Iterator[int]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_https_needs_a_certificate_that_somebody_signed(
    context: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web(context=context) as found:
        assert undelivered(webhook.send, hook(found.url)) == "certificate"
        assert found.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        webhook.send(hook(found.url), change())
        assert len(found.requests) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "no url"])
def test_nothing_but_http_is_opened(url: str, tmp_path: Path) -> None:
    assert undelivered(webhook.send, hook(url)) in ("str", "ValueError")


# errands


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
    assert len({headers["Idempotency-Key"] for headers, _ in found.requests}) == 1
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
    assert deliveries(database) == [("alarm_undelivered", detail | {"reason": "ConnectionRefusedError"})]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]


def test_messages_of_a_channel_that_was_taken_away_do_not_wait_for_ever(database: Engine) -> None:
    raised(database, Kind.MAIL)
    until_none_waits(database, Kind.MAIL, not_configured)
    ((action, detail),) = deliveries(database)
    assert (action, detail["reason"]) == ("alarm_undelivered", "not_configured")


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
    keys = [headers["Idempotency-Key"] for headers, _ in hooked.requests]
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
        send(Change(**taken.payload))  # and here the process ends
        assert deliver_due(database, Kind.WEBHOOK, send, OPTIONS) == 0
        with writing(database) as connection:
            connection.execute(update(errand).values(lease_until=now))
        assert deliver_due(database, Kind.WEBHOOK, send, OPTIONS) == 1
    assert len({headers["Idempotency-Key"] for headers, _ in found.requests}) == 1
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


# the relay and the command


def test_the_relay_looks_and_delivers(tmp_path: Path, redis_server: Any) -> None:
    """A real one: its spool has less room than the limit, so it raises that alarm and posts it."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    (tmp_path / "spool").mkdir()
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
    assert [line["subject"] for line in lines if line["message"] == "alarm raised"] == [""]
    assert SECRET not in (tmp_path / "relay.log").read_text()
    database.dispose()


def later(database: Engine) -> bool:
    with reading(database) as connection:
        return connection.execute(select(errand.c.id).where(errand.c.attempts > 0)).first() is not None


def test_alarm_test_says_what_happened_on_each_channel(tmp_path: Path) -> None:
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        code, _, err = xrayq("alarm", "test")
        assert code == Unhealthy.exit_code
        assert "XRAYQ_SMTP_HOST" in err
    with post() as (kept, port), web(200, 404) as found:
        both = {"smtp_host": "127.0.0.1", "smtp_port": str(port), "smtp_security": "none", "site": "North"}
        both |= {"mail_from": "xrayq@hospital.test", "mail_to": "call@hospital.test"}
        both |= {"webhook_url": found.url, "webhook_secret": SECRET}
        with typed_in(tmp_path, home=str(tmp_path), **both) as xrayq:
            assert xrayq("alarm", "test")[:2] == (0, "mail     delivered\nwebhook  delivered\n")
            code, out, _ = xrayq("alarm", "test", "--json")
    assert code == Unhealthy.exit_code
    assert [one["outcome"] for one in json.loads(out)] == ["delivered", "http_404"]
    assert [message["Subject"] for _, message in kept.mails] == ["[xrayq North] test: test"] * 2
    assert json.loads(found.requests[0][1])["state"] == "test"
