"""Alarms by mail (SMTP, RFC 5321), to all recipients in one message."""

import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from model.notice import NOTICE
from worker.alarms.change import AlarmState, Change
from worker.alarms.faults import code_of
from worker.errors import Undelivered

TIMEOUT = 10.0
"""Seconds for each answer of the server."""


@dataclass(frozen=True, kw_only=True)
class MailOptions:
    host: str
    port: int
    security: str
    """starttls, tls or none. A certificate is checked against the system's authorities, or SSL_CERT_FILE."""
    user: str
    """"" for no log-in."""
    password: str = field(repr=False)
    sender: str
    recipients: tuple[str, ...]
    site: str


def send(options: MailOptions, change: Change) -> int:
    """Hand the message to the server. Returns how many recipients it refused for good while it took others.

    Raises Undelivered: no connection, certificate, log-in, every recipient refused, or some for now (a 4xx reply, as
    greylisting gives: RFC 6647).
    """
    recipients = [address for address in options.recipients if not change.to or address in change.to]
    try:
        with _connect(options) as server:
            if options.user:
                server.login(options.user, options.password)
            refused = server.send_message(compose(options, change), options.sender, recipients) if recipients else {}
    except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: a header with a line break
        raise Undelivered(code_of(error)) from None
    for_now = {address: code for address, (code, _) in refused.items() if 400 <= code < 500}
    if for_now:
        raise Undelivered(f"smtp_{next(iter(for_now.values()))}", to=tuple(for_now))
    return len(refused)


def compose(options: MailOptions, change: Change) -> EmailMessage:
    """The mail about a change, plain text, to all recipients. Raises ValueError where a header has a line break."""
    message = EmailMessage()
    message["Subject"] = subject(options.site, change)
    message["From"] = options.sender
    message["To"] = ", ".join(options.recipients)
    message["Date"] = format_datetime(datetime.fromisoformat(change.at))
    message["Message-ID"] = f"<{change.identity(options.site)}@{options.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence notice answers it
    text = "\n".join(_lines(options.site, change))
    message.set_content(text, cte="quoted-printable")  # any server takes it, whatever the site is called
    return message


def _lines(site: str, change: Change) -> Iterator[str]:
    name, moment = f"{change.rule} {change.subject}".rstrip(), datetime.fromisoformat(change.at).astimezone(UTC)
    at = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    if change.state == AlarmState.CLEARED:
        first, second = ("No longer looked for", "") if change.gone else ("It is over", "It was: ")
        yield from (f"{first}: {name}.", f"{second}{change.text}", "", f"Cleared at {at}.")
        yield f"Last value {change.value:g}, threshold {change.threshold:g}."
    elif change.state == AlarmState.RAISED:
        yield from (change.text, "", f"{name}, raised at {at}.")
        yield f"Value {change.value:g}, threshold {change.threshold:g}."
        yield f"First: {change.advice}"
    else:
        yield from (change.text, "", f"Sent at {at}.")
    if change.alarm:
        yield f"Alarm {change.alarm}" + (f" of {site}" if site else "")
    yield from ("", f"Sent by xrayq. {NOTICE}", "")


def subject(site: str, change: Change) -> str:
    return f"[{'xrayq ' + site if site else 'xrayq'}] {change.state}: {change.rule} {change.subject}".rstrip()


def _connect(options: MailOptions) -> smtplib.SMTP:
    if options.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(options.host, options.port, timeout=TIMEOUT, context=context)
    server = smtplib.SMTP(options.host, options.port, timeout=TIMEOUT)
    if options.security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())  # a server without it is an error, not plain text
        except BaseException:
            server.close()
            raise
    return server
