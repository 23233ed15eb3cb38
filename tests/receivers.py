"""Where mails and posts go: a real web server and a real mail server of our own, and the options that lead to them."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.services import free_port
from worker.alarms import mail, webhook
from worker.channels.mail_server import MailServer
from worker.channels.signed_post import WebAddress

SECRET = "0123456789abcdef"


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
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


class Post:
    """Keeps mails; refuses recipients of the domain `refused`, and those of `greylisted` the first time."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address.endswith("@refused.test"):
            return f"550 {address} is unknown here"
        if address.endswith("@greylisted.test") and address not in self.seen:
            self.seen.add(address)
            return "451 try again later"
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
    try:
        yield kept, port
    finally:
        server.stop()


def mailer(port: int, **other: Any) -> mail.MailOptions:
    of_server = {name: other.pop(name) for name in ("security", "user", "password") if name in other}
    usual: dict[str, Any] = {"sender": "xrayq@hospital.test", "recipients": ("call@hospital.test",), "site": "North"}
    return mail.MailOptions(server=mail_server(port, **of_server), **usual | other)


def mail_server(port: int, **other: Any) -> MailServer:
    usual: dict[str, Any] = {"host": "127.0.0.1", "port": port, "security": "none", "user": "", "password": ""}
    return MailServer(**usual | other)


def web_address(url: str) -> WebAddress:
    return WebAddress(url=url, key=SECRET.encode())


def hook(url: str) -> webhook.WebhookOptions:
    return webhook.WebhookOptions(address=web_address(url), site="North")
