"""What an adapter is: one way in which results leave, to one destination.

`worker.reporting.send` does what is the same for all of them: which result is due, whether it may leave, what becomes
of one that did not arrive. An adapter makes what it sends, sends it, and says what the destination took.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from ssl import SSLContext
from typing import Any, Protocol

from sqlalchemy import Connection

from dicom_gateway.result import FilmResult
from dicom_gateway.tls import Followed
from worker.reporting.destinations import Hl7Destination, StoreDestination
from worker.reporting.perhaps import Made
from worker.reporting.waiting import WaitingResult

Opened = Callable[[Callable[[], None]], None]
"""Is handed what closes the connection at once, from any thread: a worker that stops waits for no destination."""


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """How results are sent, whatever the way; from the settings."""

    calling_ae: str
    """Ours."""
    hours: float
    """From when the film ended; then a result is given up."""
    first_wait: float = 10.0
    """Seconds before the second attempt, doubled with each, an hour at most."""
    answer_seconds: float = 30.0
    """For a connection, and for each write to the network."""
    send_seconds: float = 120.0
    """For all that is sent of a result."""
    confirm: bool = True
    """Whether a destination that can be asked is asked, before its result counts as being there."""
    tls: Followed | None = None
    """For what goes out over TLS; None: nothing does."""
    zone: tzinfo = UTC
    """The site's, for times of a result whose film names none."""
    queries_on_record: bool = False
    """Whether a C-FIND is an audit event: the site's audit repository is told of it."""

    def tls_for(self, destination: StoreDestination | Hl7Destination) -> SSLContext | None:
        """None: without."""
        if not destination.tls:
            return None
        assert self.tls
        return self.tls.context()

    @property
    def lease_seconds(self) -> float:
        """Longer than sending a result can take, or it would be sent twice."""
        return 60 + 2 * self.send_seconds


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A result that may leave now."""

    waits: WaitingResult
    result: FilmResult
    film: Path
    """As it was received."""
    attempt: int
    """1 for the first; `waits.reason` says why the one before failed."""
    corrects: bool = False
    """The destination has the result of an earlier revision of the film."""
    told: tuple[str, ...] = ()
    """Flags of that revision, where the destination is told of flags alone."""


class Sent(Protocol):
    """One thing that the destination has now: an object, a message."""

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known of it, codes: the destination said more than yes, or something is missing."""

    def keep(self, connection: Connection, waits: WaitingResult, now: datetime) -> None:
        """Write the row for it. Where it was sent before, that row says when it was sent last."""


class Adapter(Protocol):
    """One for each destination. One thread at a time calls it."""

    def make(self, outgoing: Outgoing) -> Sequence[Made]:
        """What will be sent; the same arguments give the same bytes. Raises Undelivered; any other error is logged
        without its text, for that may hold a patient's name."""

    def send(self, made: Sequence[Any], opened: Opened) -> Sequence[Sent]:
        """Send what `make` gave, all of it. Raises Undelivered where the destination did not take each."""
