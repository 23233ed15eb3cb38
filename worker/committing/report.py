"""One request for our storage commitment to its end: checked, reported, put off or given up.

The errand is leased to the gateway that took the request, which reports on the open association. When that ends
before, or the gateway dies, the errand is due for whoever opens an association to the asking AE. A report is sent at
least once: who dies between the peer's answer and our commit leaves the errand to the next, which sends the same again.
"""

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from ssl import SSLContext

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.asking import asking
from dicom_gateway.commitment import DUPLICATE_TRANSACTION
from dicom_gateway.committing import CommitmentAnswer, CommitmentRequest, report, was_taken
from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.errors import PeerUnavailable, RequestRefusal, in_hexadecimal
from dicom_gateway.tls import Followed
from worker.committing import requests
from worker.committing.holding import Holding
from worker.committing.requests import KeptRequest
from worker.db.causes import cause
from worker.db.session import time_of
from worker.errors import Undelivered
from worker.queue import errands
from worker.queue.errands import Errand
from worker.reporting import faults
from worker.reporting.destinations import StoreDestination

log = logging.getLogger("xrayq.commitment")

READ_AGAIN = timedelta(days=1)
"""After which the bytes of what we hold are read again for a report that did not arrive."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How reports are sent; from the settings."""

    calling_ae: str
    """Ours."""
    hours: float
    """From the request; then it is given up."""
    tls: Followed | None = None
    first_wait: float = 5.0
    """Seconds before the second attempt, doubled with each, an hour at most."""
    lease_seconds: float = 60.0
    """For which nobody else takes a request whose taker says nothing. Longer than reading one film."""
    answer_seconds: float = 30.0
    """For a connection, for each write, and for the answer to the report."""
    send_seconds: float = 50.0
    """For all of an association. Below the lease, or the report would be sent twice."""

    def tls_for(self, peer: StoreDestination) -> SSLContext | None:
        """None: without."""
        if not peer.tls:
            return None
        assert self.tls
        return self.tls.context()


@dataclass(frozen=True, kw_only=True)
class Committing:
    """What takes requests and reports on them, made once for each gateway. Any thread may call it."""

    holding: Holding
    options: ReportOptions

    @property
    def database(self) -> Engine:
        return self.holding.database

    def take(self, request: CommitmentRequest) -> "ReportHere":
        """Commit it, and owe the report. Raises RequestRefusal."""
        try:
            taken = requests.keep(self.database, request, lease_seconds=self.options.lease_seconds)
        except SQLAlchemyError as error:
            log.warning("request for storage commitment not kept", extra={"reason": cause(error)})
            raise RequestRefusal from None
        extra = {"calling_ae": request.calling_ae, "count": len(request.objects)}
        log.info("asked for storage commitment", extra=extra)
        return ReportHere(self, taken)

    def report_to(self, taken: Errand, peer: StoreDestination) -> str:
        """Report on a new association. Returns why that did not arrive, or "". Raises SQLAlchemyError."""
        request = requests.read(self.database, taken)
        try:
            answer = _last(self.work(request))
            if answer is None:
                return ""  # another has it
            status = self._send(answer, peer)
            if not was_taken(status):
                raise Undelivered(_refused(status))
        except (Undelivered, PeerUnavailable) as failure:
            self.failed(request, str(failure))
            return str(failure)
        self.arrived(request, answer, same_association=False)
        return ""

    def work(self, request: KeptRequest) -> Iterator[CommitmentAnswer | None]:
        """None after each part, the answer at the end, when the errand is ours for another lease. It ends without one
        where another has the errand. Raises SQLAlchemyError, Undelivered."""
        if request.duplicate:
            failed = dict.fromkeys(request.objects, DUPLICATE_TRANSACTION)
        else:
            fresh = request.checked_at and time_of(self.database) - request.checked_at < READ_AGAIN
            unread = request.failed.keys() if fresh else None
            look, renewed = self.holding.missing(request.objects, unread), time.monotonic()
            while True:
                try:
                    next(look)
                except StopIteration as end:
                    failed = end.value
                    break
                if time.monotonic() - renewed > self.options.lease_seconds / 3:
                    if not self._renewed(request):
                        return
                    renewed = time.monotonic()
                yield None
            if not fresh:
                requests.checked(self.database, request.taken, failed)
        if self._renewed(request):
            yield CommitmentAnswer(transaction_uid=request.transaction_uid, objects=request.objects, failed=failed)

    def arrived(self, request: KeptRequest, answer: CommitmentAnswer, *, same_association: bool) -> None:
        if requests.reported(self.database, request, answer, same_association=same_association):
            held = len(answer.objects) - len(answer.failed)
            extra = {"calling_ae": request.calling_ae, "count": held, "failed": len(answer.failed)}
            log.info("storage commitment reported", extra=extra)

    def failed(self, request: KeptRequest, reason: str) -> None:
        """Put it off, or give it up where it is too old."""
        extra = {"calling_ae": request.calling_ae, "reason": reason, "attempt": request.taken.attempt}
        if time_of(self.database) - request.asked_at < timedelta(hours=self.options.hours):
            requests.put_off(self.database, request.taken, reason, first_wait=self.options.first_wait)
            log.warning("storage commitment not reported, will try again", extra=extra)
        elif requests.give_up(self.database, request, reason):
            log.error("storage commitment not reported, given up", extra=extra)

    def _send(self, answer: CommitmentAnswer, peer: StoreDestination) -> int | None:
        """Raises PeerUnavailable, Undelivered."""
        options = self.options
        with asking(
            peer.host,
            peer.port,
            (STORAGE_COMMITMENT,),
            called_ae=peer.called_ae,
            calling_ae=options.calling_ae,
            timeout=options.answer_seconds,
            total=options.send_seconds,
            tls=options.tls_for(peer),
            as_scp=True,
        ) as association:
            takes = association.takes(STORAGE_COMMITMENT)
            status = report(association, answer, seconds=options.answer_seconds) if takes else None
        if not takes:
            raise Undelivered(faults.NOT_ACCEPTED)
        return status

    def take_back(self, taken: Errand) -> Errand | None:
        now, seconds = time_of(self.database), self.options.lease_seconds
        return errands.take_back(self.database, taken, now=now, lease_seconds=seconds)

    def _renewed(self, request: KeptRequest) -> bool:
        now, seconds = time_of(self.database), self.options.lease_seconds
        return errands.extend(self.database, request.taken, now=now, lease_seconds=seconds)


class ReportHere:
    """The report on a request, while the association of the question is open (`dicom_gateway.committing.OwedReport`).

    Whatever fails here, the errand stays, and the report goes another way.
    """

    def __init__(self, committing: Committing, taken: Errand) -> None:
        self._committing = committing
        self._taken = taken
        self._request: KeptRequest | None = None
        self._answer: CommitmentAnswer | None = None

    def steps(self) -> Generator[CommitmentAnswer | None, None, None]:
        try:
            # It may have waited for longer than its lease, behind another or while the peer sent films.
            taken = self._committing.take_back(self._taken)
            if taken is None:
                return
            self._taken = taken
            self._request = requests.read(self._committing.database, self._taken)
            for answer in self._committing.work(self._request):
                self._answer = answer
                yield answer
        except Undelivered as failure:
            self._failed(str(failure))
        except SQLAlchemyError as error:
            _cannot(error)

    def reported(self, status: int | None) -> None:
        if self._request is None or self._answer is None:
            return
        try:
            if was_taken(status):
                self._committing.arrived(self._request, self._answer, same_association=True)
            else:
                self._failed(_refused(status))
        except SQLAlchemyError as error:
            _cannot(error)

    def leave(self) -> None:
        try:
            requests.hand_over(self._committing.database, self._taken)
        except SQLAlchemyError as error:
            _cannot(error)

    def _failed(self, reason: str) -> None:
        if self._request:
            try:
                self._committing.failed(self._request, reason)
            except SQLAlchemyError as error:
                _cannot(error)


def _refused(status: int | None) -> str:
    """The code of an answer with which the peer does not have the report."""
    return faults.NO_ANSWER if status is None else f"{faults.STATUS}{in_hexadecimal(status)}"


def _last(steps: Iterator[CommitmentAnswer | None]) -> CommitmentAnswer | None:
    last = None
    for step in steps:
        last = step
    return last


def _cannot(error: SQLAlchemyError) -> None:
    """The lease passes, and another takes the errand."""
    log.warning("storage commitment not reported, will try again", extra={"reason": cause(error)})
