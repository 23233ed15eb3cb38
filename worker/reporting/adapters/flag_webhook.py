"""Flagged films posted to a URL, `https://...`: JSON, signed."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.channels.signed_post import WebAddress, post
from worker.reporting.adapters.adapter import Opened, Outgoing
from worker.reporting.adapters.flag_message import FlagOptions, flag_message
from worker.reporting.destinations import WebhookDestination
from worker.reporting.sent_message import MadeMessage, SentMessage, identity_of

IDENTITY_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class FlagWebhookAdapter:
    destination: WebhookDestination
    address: WebAddress
    flags: FlagOptions

    def make(self, outgoing: Outgoing) -> list[MadeMessage]:
        identity = identity_of(outgoing.result, self.destination.name)[:IDENTITY_DIGITS]
        return [MadeMessage(identity=identity, content=flag_message(outgoing, self.flags).as_json().encode())]

    def send(self, made: Sequence[MadeMessage], opened: Opened) -> list[SentMessage]:
        del opened  # a post has half a minute
        return [self._sent(message) for message in made]

    def _sent(self, message: MadeMessage) -> SentMessage:
        status = post(self.address, message.identity, message.content.decode())
        return SentMessage(kind="webhook", identity=message.identity, digest=message.digest, answer=str(status))
