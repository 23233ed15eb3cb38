"""HL7 v2 to a RIS, `mllp://host:port`, with or without `tls:` before it: ORU^R01, acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from worker.bounded import within
from worker.errors import Undelivered
from worker.reporting import faults
from worker.reporting.adapters.adapter import Opened, Outgoing, SendOptions
from worker.reporting.destinations import Hl7Destination
from worker.reporting.hl7 import mllp
from worker.reporting.hl7.message import MessageOptions, control_id, oru
from worker.reporting.sent_message import MadeMessage, SentMessage


@dataclass(frozen=True, kw_only=True)
class Hl7Adapter:
    """One message of each result, over a connection of its own."""

    destination: Hl7Destination
    message: MessageOptions
    options: SendOptions

    def make(self, outgoing: Outgoing) -> list[MadeMessage]:
        result, name = outgoing.result, self.destination.name
        content = oru(result, self.message, destination=name, corrects=outgoing.corrects)
        return [MadeMessage(identity=control_id(content), content=content)]

    def send(self, made: Sequence[MadeMessage], opened: Opened) -> list[SentMessage]:
        return [self._sent(message, opened) for message in made]

    def _sent(self, message: MadeMessage, opened: Opened) -> SentMessage:
        send = partial(
            mllp.send,
            self.destination.host,
            self.destination.port,
            message.content,
            message.identity,
            answer_seconds=self.options.answer_seconds,
            total_seconds=self.options.send_seconds,
            opened=opened,
            tls=self.options.tls_for(self.destination),
        )
        try:
            answer = within(2 * self.options.send_seconds, send)
        except TimeoutError:
            raise Undelivered(faults.NO_ANSWER) from None
        return SentMessage(kind="hl7", identity=message.identity, digest=message.digest, answer=answer.code)
