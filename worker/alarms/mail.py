"""Alarms by mail, to all recipients in one message."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import localtime

from model.notice import NOTICE
from worker.alarms.change import AlarmState, Change
from worker.channels.faults import code_of
from worker.channels.mail_server import MailServer, hand_over
from worker.errors import Undelivered


@dataclass(frozen=True, kw_only=True)
class MailOptions:
    server: MailServer
    sender: str
    recipients: tuple[str, ...]
    site: str


def send(options: MailOptions, change: Change) -> int:
    """Hand the message to the server. Returns and raises as `hand_over`."""
    recipients = [address for address in options.recipients if not change.to or address in change.to]
    try:
        message = compose(options, change)
    except ValueError as error:  # a header with a line break
        raise Undelivered(code_of(error)) from None
    return hand_over(options.server, message, options.sender, recipients)


def compose(options: MailOptions, change: Change) -> EmailMessage:
    """The mail about a change, plain text, to all recipients. Raises ValueError where a header has a line break."""
    message = EmailMessage()
    message["Subject"] = subject(options.site, change)
    message["From"] = options.sender
    message["To"] = ", ".join(options.recipients)
    message["Date"] = localtime()  # of this attempt (RFC 5322, 3.6.1): the alarm's own time stands in the text
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
