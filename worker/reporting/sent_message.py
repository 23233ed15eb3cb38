"""A message that a destination took: its row, and what makes it one message however often it is sent."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from dicom_gateway.result import FilmResult
from worker.db.tables import sent_message
from worker.reporting.waiting import WaitingResult


@dataclass(frozen=True, kw_only=True)
class MadeMessage:
    """A message that can be sent."""

    identity: str
    """Message control ID, webhook-id or Message-ID: 64 characters at most, the same for every attempt."""
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def object_name(self) -> None:
        """It is no DICOM object."""


@dataclass(frozen=True, kw_only=True)
class SentMessage:
    kind: str
    """hl7, webhook or mail."""
    identity: str
    digest: str
    answer: str
    """What the destination said to it: AA, 204, 250."""
    warnings: tuple[str, ...] = ()

    def keep(self, connection: Connection, waits: WaitingResult, now: datetime) -> None:
        key = {
            "instance_id": waits.instance,
            "bundle_digest": waits.bundle.digest,
            "destination": waits.destination,
            "message_id": self.identity,
        }
        values = {"kind": self.kind, "digest": self.digest, "sent_at": now, "answer": self.answer}
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        new = dialect.insert(sent_message).values(key | values)
        connection.execute(new.on_conflict_do_update(index_elements=list(key), set_=values))


def identity_of(result: FilmResult, destination: str) -> str:
    """64 hex digits: the same for every attempt, another for every other result and destination."""
    return hashlib.sha256("\n".join((*result.identity, destination)).encode()).hexdigest()
