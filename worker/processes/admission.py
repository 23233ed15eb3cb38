"""Who may come, in the gateway process: the table of peers in memory, and what becomes of what is sent.

The table, and how much is in quarantine, is read every few seconds, and no association asks the database. While that is
away, what was read last counts.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Event, Lock

from sqlalchemy import Engine

from dicom_gateway.errors import QuarantineFull, TooFast
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.pace import Pace
from dicom_gateway.peers import Connected, Entry, Peer, Policy, Right, Standing, is_loopback, standing
from worker.db.session import reading
from worker.health.probes import DOCTOR_TITLE
from worker.peers import quarantine, table
from worker.queue.periodic import Periodic
from worker.receiving.arrivals import let_go

log = logging.getLogger("xrayq.gateway")

SECONDS = 2.0
"""From one reading of the table to the next: `xrayq peer add` counts after so long."""

STRANGERS = "(unknown peers)"
"""In the place of an AE title, of which this is none: it is too long."""


@dataclass(frozen=True, kw_only=True)
class Strangers:
    """What unknown peers may do whose films go into quarantine, all of them together."""

    per_minute: int
    """Objects; over it they are slowed as a peer over its own rate."""
    objects: int
    """In quarantine. Several gateways count each for itself between two readings, and may take a few more."""
    size: int
    """Of these in the spool, bytes."""


class Admission:
    """Safe to use from several threads: the table is replaced as a whole."""

    def __init__(
        self,
        database: Engine,
        policy: Policy | None,
        *,
        strangers: Strangers,
        own_title: str,
        stop: Event,
        slowed: Callable[[str, float], None],
    ) -> None:
        """Reads the table; raises SQLAlchemyError.

        Args:
            policy: see `dicom_gateway.peers.standing`.
            strangers: what unknown peers may do.
            own_title: of our own C-ECHO, which is always let in.
            stop: ends every wait.
            slowed: told of an AE whose answer waits, and for how many seconds.
        """
        self._database = database
        self._policy = policy
        self._own, self._doctor = (
            Peer(calling_ae=title, networks=(), rights=frozenset({Right.ECHO})) for title in (own_title, DOCTOR_TITLE)
        )
        self._stop = stop
        self._slowed = slowed
        self._pace = Pace()
        self._peers: dict[str, Peer] = {}
        self._strangers = strangers
        self._objects = self._size = 0
        """In quarantine when the database was read last, and taken since."""
        self._readings = 0
        """How often the database was read."""
        self._lock = Lock()
        self.read()

    @property
    def following(self) -> Periodic:
        return Periodic(name="peers", seconds=SECONDS, run=self.read)

    def read(self) -> None:
        """Raises SQLAlchemyError, and then what was read last stays."""
        with reading(self._database) as connection:
            found = table.read(connection)
            amount = quarantine.amount(connection)
        with self._lock:
            self._objects, self._size = amount
            self._readings += 1
        if found != self._peers:
            self._peers = found
            self._pace.forget({*found, STRANGERS})
            log.info("peers read", extra={"count": len(found)})

    def __call__(self, connected: Connected) -> Standing:
        """How a peer stands with us."""
        if connected.calling_ae == self._own.calling_ae:
            return Standing(entry=Entry.KNOWN, peer=self._own)
        if connected.calling_ae == DOCTOR_TITLE and is_loopback(connected.address):
            return Standing(entry=Entry.KNOWN, peer=self._doctor)
        if connected.proven:
            return Standing(entry=Entry.KNOWN, peer=self._peers.get(connected.calling_ae))
        return standing(self._peers, self._policy, connected)

    @contextmanager
    def taking(self, arrived: Received | OtherObject) -> Iterator[Connected | None]:
        """The block commits the object; its answer is sent when this is left, and over the peer's rate that is later.

        What a peer may do was settled when it connected. What it sends is looked up each time: an association may be
        open for hours, and its peer be admitted or removed meanwhile.

        Yields:
            who sent it, where that is unknown and is for the quarantine; else None.

        Raises:
            TooFast, QuarantineFull: nothing is committed, and its file leaves the spool.
        """
        sent_by = arrived.sent_by
        found = self(sent_by) if sent_by else Standing(entry=Entry.KNOWN)
        strange = found.entry in (Entry.QUARANTINED, Entry.REJECTED)
        try:
            wait = self._wait(found, strange)  # before the room: what is refused for want of it takes its time too
            with self._room(arrived.size if arrived.path else 0) if strange else nullcontext():
                yield sent_by if strange else None
        except TooFast:
            self._let_go(arrived)
            raise
        except QuarantineFull:
            self._let_go(arrived)
            self._sleep(arrived.calling_ae, wait)
            raise
        self._sleep(arrived.calling_ae, wait)

    def _let_go(self, arrived: Received | OtherObject) -> None:
        if arrived.fresh:
            let_go(self._database, arrived)

    def _wait(self, found: Standing, strange: bool) -> float:
        """Seconds until the answer. Raises TooFast."""
        if strange:
            return self._pace.take(STRANGERS, self._strangers.per_minute)
        if found.peer and found.peer.stores_a_minute:
            return self._pace.take(found.peer.calling_ae, found.peer.stores_a_minute)
        return 0.0

    def _sleep(self, calling_ae: str, seconds: float) -> None:
        if seconds:
            self._slowed(calling_ae, seconds)
            self._stop.wait(seconds)

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """For a stranger's object of so many bytes, which the block commits. Raises QuarantineFull."""
        with self._lock:
            if self._objects >= self._strangers.objects or self._size + size > self._strangers.size:
                raise QuarantineFull
            self._objects += 1
            self._size += size
            readings = self._readings
        try:
            yield
        except BaseException:
            with self._lock:
                if readings == self._readings:  # a reading since then never saw it
                    self._objects -= 1
                    self._size -= size
            raise
