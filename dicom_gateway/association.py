"""One association as acceptor (PS3.8), in blocking style: read a PDU, do what it says, answer.

pynetdicom's own acceptor wakes a thread a thousand times a second for each peer and copies every fragment several
times. Here a resting peer is one thread asleep in `recv`, and the fragments of a data set go from the socket's buffer
straight into the spool.
"""

import logging
import math
from collections.abc import Callable

from pynetdicom.pdu import A_RELEASE_RP

from dicom_gateway import negotiation
from dicom_gateway.commitment import CommitmentReport
from dicom_gateway.committing import Keep
from dicom_gateway.dimse import values
from dicom_gateway.errors import Abort, AbortReason, HandshakeFailed, PeerGone, PeerSilent
from dicom_gateway.few_lines import FewLines
from dicom_gateway.messages import Messages
from dicom_gateway.negotiation import Reject
from dicom_gateway.observer import NO_REQUEST, NO_TLS, UNKNOWN, Observer, tell
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected, Entry, Standing
from dicom_gateway.refused_contexts import RefusedContexts
from dicom_gateway.spool import Spool
from dicom_gateway.storing import Storing
from dicom_gateway.wire import Wire

log = logging.getLogger("xrayq.gateway")

ASSOCIATE_RQ, P_DATA, RELEASE_RQ, ABORT = 0x01, 0x04, 0x05, 0x07
PDU_TYPES = range(0x01, 0x08)
MAX_ASSOCIATE_PDU = 160 << 10
"""128 presentation contexts with every transfer syntax that is not retired are 155 KiB; most requests are under 8."""


class Association:
    """Serves one connected socket until the peer is done. `serve` never raises."""

    def __init__(
        self,
        wire: Wire,
        *,
        address: str,
        options: GatewayOptions,
        spool: Spool,
        accept: Callable[[Received | OtherObject], None],
        asked: Keep | None,
        committed: Callable[[CommitmentReport, str], None] | None,
        standing: Callable[[Connected], Standing],
        admit: Callable[[Connected, Standing], str],
        stopping: Callable[[], bool],
        observer: Observer,
        few_lines: FewLines,
    ) -> None:
        """
        Args:
            address: the peer's, for the log.
            accept: called with each durable film, and with each other object; success is answered only when it returns.
            asked, committed: as of `Gateway`.
            standing: how a peer stands with us.
            admit: why no further association is allowed, for the log; "" where it is.
            stopping: True when the gateway is going down; looked at between messages.
            few_lines: log of what a stranger may cause in any number, shared by all associations.
        """
        self._wire = wire
        self._options = options
        self._spool = spool
        self._accept = accept
        self._asked = asked
        self._standing = standing
        self._committed = committed
        self._admit = admit
        self._stopping = stopping
        self._observer = observer
        self._orderly = True
        self._address = address
        self._buffer = memoryview(bytearray(0))
        self._few = few_lines
        self._refused = RefusedContexts(few_lines, observer)
        self._messages: Messages | None = None
        """None until it is accepted."""
        self.calling_ae = self.called_ae = ""

    @property
    def in_message(self) -> bool:
        return self._messages is not None and self._messages.under_way

    def serve(self) -> None:
        try:
            messages = self._messages = self._establish()
            while True:
                self._next_pdu(messages)
        except PeerGone as gone:
            if not self._orderly:
                log.info("peer left without a release", extra=self._peer() | {"reason": str(gone)})
        except Abort as abort:
            log.warning("association aborted", extra=self._peer() | {"reason": str(abort)})
            self._wire.abort(abort.reason)
        except OSError as error:
            log.info("connection lost", extra=self._peer() | {"reason": _why_lost(error)})
            self._wire.abort(AbortReason.NOT_SPECIFIED)  # the lost connection may be the database's
        except Exception as error:  # noqa: BLE001 - the thread's edge: one peer must not end the gateway
            log.error("association failed", extra=self._peer() | {"reason": type(error).__name__})
            self._wire.abort(AbortReason.NOT_SPECIFIED)
        finally:
            if self._messages:
                self._messages.discard()
            if not self._orderly:
                tell(self._observer.aborted, self.calling_ae)
            self._wire.close()
            self._messages = None
            del self._admit  # it and the messages hold us: 130 KB, 290 with TLS, would wait for the garbage collector

    def _establish(self) -> Messages:
        self._wire.expect_all_within(self._options.association_timeout)
        self._secure()
        request = self._read_request()
        if rejection := negotiation.fault_of(request, self._options):
            raise self._reject(rejection, rejection.name)
        connected = Connected(calling_ae=self.calling_ae, address=self._address, certificate=self._wire.certificate())
        standing = self._look_up(connected)
        if self._stopping():
            raise self._reject(Reject.LOCAL_LIMIT, Reject.LOCAL_LIMIT.name)
        if full := self._admit(connected, standing):
            raise self._reject(Reject.LOCAL_LIMIT, full)
        accepted = negotiation.accept(
            request,
            self._options,
            commits=self._asked is not None,
            reports=self._committed is not None and standing.entry is not Entry.QUARANTINED,
            rights=standing.rights,
        )
        self._wire.expect_all_within(math.inf)
        tell(self._observer.accepted, self.calling_ae)  # before the answer: what a peer knows has been counted
        self._refused.tell(accepted, self.calling_ae, self._peer())
        self._wire.send(accepted.pdu)
        self._buffer = memoryview(bytearray(self._options.max_pdu + 64))
        return Messages(
            self._wire,
            contexts=accepted.contexts,
            max_pdu=request.max_pdu,
            storing=Storing(
                spool=self._spool,
                accept=self._accept,
                observer=self._observer,
                keep_other_objects=self._options.keep_other_objects,
                sent_by=connected,
                called_ae=self.called_ae,
            ),
            asked=self._asked if accepted.asks else None,
            committed=self._committed if accepted.reports else None,
            refused=self._refused,
        )

    def _look_up(self, connected: Connected) -> Standing:
        """How the peer stands with us. Raises PeerGone where it is rejected."""
        standing = self._standing(connected)
        if standing.unknown and standing.entry is not Entry.ALLOWED:
            tell(self._observer.unknown, self.calling_ae, standing.unknown.name, standing.entry)
            self._few.warning("unknown peer", self._peer() | {"reason": standing.unknown, "state": standing.entry})
            if standing.entry is Entry.REJECTED:
                raise self._reject(Reject.CALLING_AE, f"{UNKNOWN}{standing.unknown.name}")
        return standing

    def _reject(self, rejection: Reject, reason: str) -> PeerGone:
        """Answers with an A-ASSOCIATE-RJ. Returns what to raise."""
        log.warning("association rejected", extra=self._peer() | {"reason": reason})
        tell(self._observer.rejected, self.calling_ae, reason, self._address)
        self._orderly = True
        self._wire.send(negotiation.reject_pdu(rejection))
        return PeerGone()

    def _secure(self) -> None:
        try:
            self._wire.secure()
        except HandshakeFailed as failed:
            log.warning("TLS handshake failed", extra={"peer": self._address, "reason": str(failed)})
            tell(self._observer.rejected, "", NO_TLS, self._address)
            raise

    def _read_request(self) -> negotiation.Request:
        """The peer's first PDU. Raises Abort, PeerGone."""
        try:
            kind, length = self._wire.read_pdu_header(self._options.association_timeout)
            self._orderly = False
            if kind != ASSOCIATE_RQ:
                raise Abort(AbortReason.UNEXPECTED_PDU, "first PDU is not A-ASSOCIATE-RQ")
            fixed = self._read_titles(length)
            return negotiation.decode_request(fixed + self._wire.read_exactly(length - len(fixed)))
        except Abort:
            self._orderly = True
            tell(self._observer.rejected, self.calling_ae, NO_REQUEST, self._address)
            raise

    def _read_titles(self, length: int) -> bytes:
        """The part of an A-ASSOCIATE-RQ that every one has: whatever follows, the log has the AE titles."""
        too_long = Abort(AbortReason.INVALID_PARAMETER, "A-ASSOCIATE-RQ is too long")
        try:
            fixed = self._wire.read_exactly(min(length, negotiation.FIXED_BYTES))
        except Abort as silent:
            raise too_long if length > MAX_ASSOCIATE_PDU else silent from None
        if len(fixed) == negotiation.FIXED_BYTES:
            self.calling_ae, self.called_ae = negotiation.titles(fixed)
        if length > MAX_ASSOCIATE_PDU:
            raise too_long
        return fixed

    def _next_pdu(self, messages: Messages) -> None:
        resting, patience = not messages.under_way, messages.patience
        try:
            kind, length = self._wire.read_pdu_header(
                patience or (self._options.idle_timeout if resting else self._options.network_timeout)
            )
        except PeerSilent:
            if patience:
                messages.go_on()
                return
            if resting:
                raise
            raise Abort(AbortReason.NOT_SPECIFIED, "peer went silent inside a message") from None
        if kind == P_DATA:
            if length > len(self._buffer):
                raise Abort(AbortReason.INVALID_PARAMETER, "P-DATA-TF is longer than announced")
            self._wire.fill(self._buffer[:length])
            for context_id, control, fragment in values(self._buffer[:length]):
                messages.fragment(context_id, control, fragment)
        elif kind == RELEASE_RQ:
            self._wire.read_exactly(min(length, 4))
            self._orderly = True
            self._wire.send(A_RELEASE_RP().encode())
            raise PeerGone
        elif kind == ABORT:
            source, why = self._wire.read_exactly(4)[2:] if length == 4 else (0, 0)
            raise PeerGone(f"A-ABORT {source}/{why}")
        else:
            reason = AbortReason.UNEXPECTED_PDU if kind in PDU_TYPES else AbortReason.UNRECOGNISED_PDU
            raise Abort(reason, f"PDU type {kind:#x}")

    def _peer(self) -> dict[str, object]:
        """For a log line: an address is all that is known of some."""
        return {"calling_ae": self.calling_ae, "called_ae": self.called_ae, "peer": self._address}


def _why_lost(error: OSError) -> str:
    """In the words of the operating system, such as "Connection reset by peer"."""
    return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
