"""A mail server that takes our mails (SMTP, RFC 5321)."""

import smtplib
import socket
import ssl
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage

from worker.channels.deadline import TIMEOUT, TOTAL, Connections, in_time
from worker.channels.faults import code_of
from worker.errors import Undelivered

QUIT_SECONDS = 1.0
"""For the answer to QUIT. The server has the mail by then, whatever it says."""


Refused = dict[str, tuple[int, bytes]]
"""Recipient -> the server's reply code and text."""


@dataclass(frozen=True, kw_only=True)
class MailServer:
    host: str
    port: int
    security: str
    """starttls, tls or none. A certificate is checked against the system's authorities, or SSL_CERT_FILE."""
    user: str
    """"" for no log-in."""
    password: str = field(repr=False)


def hand_over(
    server: MailServer,
    message: EmailMessage,
    sender: str,
    recipients: Sequence[str],
    *,
    seconds: float | None = None,
) -> int:
    """Give the server one mail for all recipients. Returns how many it refused for good while it took others.

    Args:
        seconds: for all of it; None: TOTAL.

    Raises Undelivered: no connection, certificate, log-in, every recipient refused, or some for now (a 4xx reply, as
    greylisting gives: RFC 6647); no answer in time, and then it may arrive all the same.
    """

    def ask(connections: Connections) -> Refused:
        with closing(_connect(server, connections)) as connection:
            if server.user:
                connection.login(server.user, server.password)
            refused = connection.send_message(message, sender, recipients) if recipients else {}
            _quit(connection)
            return refused

    try:
        refused = in_time(TOTAL if seconds is None else seconds, ask)
    except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: a header with a line break
        raise Undelivered(code_of(error)) from None
    for_now = {address: code for address, (code, _) in refused.items() if 400 <= code < 500}
    if for_now:
        raise Undelivered(f"smtp_{next(iter(for_now.values()))}", to=tuple(for_now))
    return len(refused)


def _connect(server: MailServer, connections: Connections) -> smtplib.SMTP:
    if server.security == "tls":
        return _KeptTls(server, connections)
    connection = _Kept(server, connections)
    if server.security == "starttls":
        try:
            connection.starttls(context=ssl.create_default_context())  # one without it is an error, not plain text
        except BaseException:
            connection.close()
            raise
    return connection


class _Kept(smtplib.SMTP):
    """Keeps its connection as soon as there is one: a greeting may drip, too."""

    def __init__(self, server: MailServer, connections: Connections) -> None:
        self._connections = connections
        super().__init__(server.host, server.port, timeout=TIMEOUT)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        self._connections.keep(connection)
        return connection


class _KeptTls(smtplib.SMTP_SSL, _Kept):
    """`SMTP_SSL._get_socket` begins with that of the next class, `_Kept`."""

    def __init__(self, server: MailServer, connections: Connections) -> None:
        self._connections = connections
        context = ssl.create_default_context()
        smtplib.SMTP_SSL.__init__(self, server.host, server.port, timeout=TIMEOUT, context=context)


def _quit(connection: smtplib.SMTP) -> None:
    with suppress(OSError, smtplib.SMTPException):
        assert connection.sock
        connection.sock.settimeout(QUIT_SECONDS)
        connection.quit()
