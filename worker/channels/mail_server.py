"""A mail server that takes our mails (SMTP, RFC 5321)."""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage

from worker.channels.faults import code_of
from worker.errors import Undelivered

TIMEOUT = 10.0
"""Seconds for each answer of the server."""


@dataclass(frozen=True, kw_only=True)
class MailServer:
    host: str
    port: int
    security: str
    """starttls, tls or none. A certificate is checked against the system's authorities, or SSL_CERT_FILE."""
    user: str
    """"" for no log-in."""
    password: str = field(repr=False)


def hand_over(server: MailServer, message: EmailMessage, sender: str, recipients: Sequence[str]) -> int:
    """Give the server one mail for all recipients. Returns how many it refused for good while it took others.

    Raises Undelivered: no connection, certificate, log-in, every recipient refused, or some for now (a 4xx reply, as
    greylisting gives: RFC 6647).
    """
    try:
        with _connect(server) as connection:
            if server.user:
                connection.login(server.user, server.password)
            refused = connection.send_message(message, sender, recipients) if recipients else {}
    except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: a header with a line break
        raise Undelivered(code_of(error)) from None
    for_now = {address: code for address, (code, _) in refused.items() if 400 <= code < 500}
    if for_now:
        raise Undelivered(f"smtp_{next(iter(for_now.values()))}", to=tuple(for_now))
    return len(refused)


def _connect(server: MailServer) -> smtplib.SMTP:
    if server.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=context)
    connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)
    if server.security == "starttls":
        try:
            connection.starttls(context=ssl.create_default_context())  # one without it is an error, not plain text
        except BaseException:
            connection.close()
            raise
    return connection
