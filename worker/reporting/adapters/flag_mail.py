"""Flagged films by mail, `mailto:address`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import localtime

from dicom_gateway.report_words import NOTICE
from dicom_gateway.result import spoken
from worker.channels.deadline import TOTAL
from worker.channels.mail_server import MailServer, hand_over
from worker.reporting.adapters.adapter import Opened, Outgoing, SendOptions
from worker.reporting.adapters.flag_message import FlagMessage, FlagOptions, flag_message
from worker.reporting.destinations import MailDestination
from worker.reporting.sent_message import MadeMessage, SentMessage, identity_of

IDENTITY_DIGITS = 32
ACCEPTED = "250"
"""RFC 5321, 4.2.3: the server has taken the mail."""


@dataclass(frozen=True, kw_only=True)
class FlagMailAdapter:
    destination: MailDestination
    server: MailServer
    sender: str
    flags: FlagOptions
    options: SendOptions

    def make(self, outgoing: Outgoing) -> list[MadeMessage]:
        told = flag_message(outgoing, self.flags)
        identity = identity_of(outgoing.result, self.destination.name)[:IDENTITY_DIGITS]
        mail = EmailMessage(policy=policy.SMTP)
        mail["Subject"] = _subject(told)
        mail["From"], mail["To"] = self.sender, self.destination.address
        mail["Message-ID"] = f"<{identity}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence notice answers it
        if told.urgent:
            mail["Importance"] = "high"  # RFC 2156, 5.3.4
        mail.set_content("\n".join(_lines(told)), cte="quoted-printable")
        return [MadeMessage(identity=identity, content=mail.as_bytes())]

    def send(self, made: Sequence[MadeMessage], opened: Opened) -> list[SentMessage]:
        del opened  # a mail has half a minute
        return [self._sent(message) for message in made]

    def _sent(self, message: MadeMessage) -> SentMessage:
        mail = message_from_bytes(message.content, policy=policy.SMTP)
        assert isinstance(mail, EmailMessage)
        mail["Date"] = localtime()  # of this attempt (RFC 5322, 3.6.1): the result's own time stands in the text
        seconds = min(TOTAL, self.options.send_seconds)
        hand_over(self.server, mail, self.sender, [self.destination.address], seconds=seconds)
        return SentMessage(kind="mail", identity=message.identity, digest=message.digest, answer=ACCEPTED)


def _subject(told: FlagMessage) -> str:
    begin = f"[{'xrayq ' + told.site if told.site else 'xrayq'}] {'urgent: ' if told.urgent else ''}"
    return f"{begin}{_what(told)}: {', '.join(map(spoken, told.flags))}, instance {told.instance}"


def _what(told: FlagMessage) -> str:
    return "flag withdrawn" if told.withdrawn else "flag raised"


def _lines(told: FlagMessage) -> Iterator[str]:
    yield f"{_what(told).capitalize()}: {', '.join(map(spoken, told.flags))}."
    if told.withdrawn:
        yield "An earlier message told of this flag, or may have. The film was corrected since, and"
        yield "on the corrected film it is not raised. That does not exclude a finding."
    elif told.unsure:
        yield "Unsure: the prediction set is not one finding."
    if told.corrected and not told.withdrawn:
        yield "The film was corrected: this replaces an earlier message."
    yield from ("", f"Instance {told.instance}, scored at {told.scored_at}.")
    yield told.link or f"xrayq instance show {told.instance}"
    yield from ("", f"Sent by xrayq. {NOTICE}", "")
