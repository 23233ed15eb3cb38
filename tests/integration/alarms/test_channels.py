"""Mail and webhook: real servers, also such that refuse, redirect, hang, die, or have a certificate of their own."""

import json
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.alarms import change
from tests.receivers import SECRET, hook, mailer, post, web
from tests.services import free_port, tool, typed_in
from worker.alarms import mail, webhook
from worker.alarms.change import AlarmState
from worker.alarms.faults import WORDS, in_words
from worker.channels import mail_server, signed_post
from worker.channels.signed_post import signed
from worker.errors import Undelivered, Unhealthy
from worker.setting_values import webhook_key


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
        "CR1 sent no new film since noon sender_silent CR1, raised at 2026-11-20 12:00:00 UTC. "
        "Value 12, threshold 10. First: ask whether the device or its queue stands still Alarm 7 of North "
        "Sent by xrayq. Research software, not a medical device."
    )


def test_the_mail_of_an_alarm_that_is_over_does_not_read_as_if_it_were_on() -> None:
    with post() as (kept, port):
        mail.send(mailer(port), change(AlarmState.CLEARED))
    text = "\n".join(kept.mails[0][1].get_content().splitlines())
    assert text.startswith("It is over: sender_silent CR1.\nIt was: CR1 sent no new film since noon\n")
    assert "Cleared at 2026-11-20 12:00:00 UTC.\nLast value 12, threshold 10.\n" in text
    assert "First:" not in text
    assert "advice" not in change(AlarmState.CLEARED).message("North")
    text = str(
        mail.compose(mailer(port), change(AlarmState.CLEARED, text="CR1 is still silent", gone=True)).get_content()
    )
    assert text.startswith("No longer looked for: sender_silent CR1.\nCR1 is still silent\n")


@pytest.mark.parametrize("code", ["smtp_550", "http_503", *WORDS])
def test_a_code_has_words(code: str) -> None:
    assert len(in_words(code)) > len(code)


def test_any_site_name_arrives() -> None:
    with post() as (kept, port):
        mail.send(mailer(port, site="Köln, Haus 2"), change(AlarmState.CLEARED, subject=""))
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
        assert undelivered(mail.send, mailer(port, security="starttls")) == "not_offered"
    assert kept.mails == []


def test_recipients_that_are_refused() -> None:
    both = ("x@refused.test", "call@hospital.test")
    with post() as (kept, port):
        assert mail.send(mailer(port, recipients=both), change()) == 1
        assert undelivered(mail.send, mailer(port, recipients=both[:1])) == "smtp_550"
    assert [recipients for recipients, _ in kept.mails] == [["call@hospital.test"]]


def test_no_mail_server() -> None:
    assert undelivered(mail.send, mailer(free_port())) == "connection_refused"


# webhook


def test_the_receiver_can_check_who_sent_it_and_when() -> None:
    with web() as found:
        webhook.send(hook(found.url), change())
    ((headers, body),) = found.requests
    assert headers["Content-Type"] == "application/json"
    assert headers["Webhook-Id"] == change().identity("North")
    assert Webhook(f"whsec_{b64encode(SECRET.encode()).decode()}").verify(body, dict(headers)) == {
        "site": "North",
        "alarm": 7,
        "rule": "sender_silent",
        "subject": "CR1",
        "state": "raised",
        "value": 12,
        "threshold": 10,
        "text": "CR1 sent no new film since noon",
        "gone": False,
        "at": "2026-11-20T12:00:00.000000+00:00",
        "advice": "ask whether the device or its queue stands still",
    }


KEY = SECRET.encode()


def test_the_signature_is_that_of_the_specification() -> None:
    """The example that the specification's own libraries are tested with."""
    key = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    assert signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', at) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("key", "changes", "body"),
    [
        (b"another key of some length", {}, "{}"),
        (KEY, {"webhook-id": "b"}, "{}"),
        (KEY, {"webhook-timestamp": str(int(time.time()) - 1)}, "{}"),
        (KEY, {}, "[]"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(key: bytes, changes: dict[str, str], body: str) -> None:
    headers = signed(KEY, "a", "{}", datetime.now(UTC))
    assert Webhook(KEY).verify("{}", headers) == {}
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(key).verify(body, headers | changes)


def test_a_message_that_is_sent_again_by_a_third_party_is_too_old() -> None:
    headers = signed(KEY, "a", "{}", datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(KEY).verify("{}", headers)


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
    assert undelivered(webhook.send, hook(found.url)) == "connection_refused"


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_post, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert undelivered(webhook.send, hook(f"http://127.0.0.1:{port}/")) == "no_answer"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_drips_is_left_after_the_whole_time(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, so that none is late. Its connection is closed, or the thread would stay with it."""
    monkeypatch.setattr(signed_post, "TOTAL", 0.5)
    dripping = b"HTTP/1.1 200 OK\r\nX-Slow: " if scheme == "http" else b"\x16\x03\x03\x40\x00"
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        gone = pool.submit(drip, server, dripping)
        begun = time.monotonic()
        assert undelivered(webhook.send, hook(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/")) == "no_answer"
        assert time.monotonic() - begun < 5
        assert gone.result(10)


@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_mail_server_that_drips_is_left_after_the_whole_time(security: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_server, "TOTAL", 0.5)
    dripping = b"220 " if security == "none" else b"\x16\x03\x03\x40\x00"
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        gone = pool.submit(drip, server, dripping)
        begun = time.monotonic()
        assert undelivered(mail.send, mailer(server.getsockname()[1], security=security)) == "no_answer"
        assert time.monotonic() - begun < 5
        assert gone.result(10), "nothing goes on behind the deadline"


def test_a_mail_that_was_taken_is_delivered_whatever_the_server_says_to_quit() -> None:
    with post() as (kept, port):

        async def no(*_: object) -> str:
            return "421 too busy to say goodbye"

        kept.handle_QUIT = no  # type: ignore[attr-defined]
        assert mail.send(mailer(port), change()) == 0
    assert len(kept.mails) == 1


def drip(server: socket.socket, begin: bytes) -> bool:
    """Answer one connection with these bytes and then one at a time. Whether it was closed."""
    connection, _ = server.accept()
    with connection:
        connection.settimeout(0.05)
        connection.sendall(begin)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                connection.sendall(b"a")
                if not connection.recv(1 << 16):
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
    return False


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


# the command


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
            beside = "delivered, not recorded: no database answers"
            assert xrayq("alarm", "test")[:2] == (0, f"mail     {beside}\nwebhook  {beside}\n")
            code, out, _ = xrayq("alarm", "test", "--json")
    assert code == Unhealthy.exit_code
    assert [one["outcome"] for one in json.loads(out)] == ["delivered", "the server answered 404"]
    assert [message["Subject"] for _, message in kept.mails] == ["[xrayq North] test: test"] * 2
    assert json.loads(found.requests[0][1])["state"] == "test"
