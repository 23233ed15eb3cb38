"""One association as acceptor (PS3.8), in blocking style: read a PDU, do what it says, answer.

pynetdicom's own acceptor wakes a thread a thousand times a second for each peer and copies every fragment several
times. Here a resting peer is one thread asleep in `recv`, and the fragments of a data set go from the socket's buffer
straight into the spool.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset
from pynetdicom.pdu import A_RELEASE_RP

from dicom_gateway import negotiation
from dicom_gateway.commitment import ArrivingReport, CommitmentReport
from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.dimse import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    N_EVENT_REPORT_RQ,
    NO_DATA_SET,
    Response,
    decode_command,
    encode_response,
    values,
)
from dicom_gateway.errors import (
    SUCCESS,
    UNRECOGNISED_OPERATION,
    Abort,
    AbortReason,
    HandshakeFailed,
    PeerGone,
    PeerSilent,
    Refusal,
    in_hexadecimal,
)
from dicom_gateway.few_lines import FewLines
from dicom_gateway.negotiation import Reject
from dicom_gateway.observer import NO_REQUEST, NO_TLS, UNKNOWN, Observer, tell
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import Connected, Entry, Standing
from dicom_gateway.refused_contexts import RefusedContexts
from dicom_gateway.spool import Spool
from dicom_gateway.store import Store
from dicom_gateway.wire import Wire

log = logging.getLogger("xrayq.gateway")

ASSOCIATE_RQ, P_DATA, RELEASE_RQ, ABORT = 0x01, 0x04, 0x05, 0x07
PDU_TYPES = range(0x01, 0x08)
MAX_ASSOCIATE_PDU = 160 << 10
"""128 presentation contexts with every transfer syntax that is not retired are 155 KiB; most requests are under 8."""
MAX_COMMAND_SET = 64 << 10


@dataclass(kw_only=True)
class Message:
    """One DIMSE request as its fragments arrive."""

    context_id: int
    command_set: bytearray
    command: Dataset | None = None
    store: Store | None = None
    """The state of a C-STORE under way; None between them."""
    report: ArrivingReport | None = None
    """The state of an N-EVENT-REPORT under way."""


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
        committed: Callable[[CommitmentReport], None] | None,
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
            committed: as of `Gateway`.
            standing: how a peer stands with us.
            admit: why no further association is allowed, for the log; "" where it is.
            stopping: True when the gateway is going down; looked at between messages.
            few_lines: log of what a stranger may cause in any number, shared by all associations.
        """
        self._wire = wire
        self._options = options
        self._spool = spool
        self._given = accept
        self._standing = standing
        self._committed = committed
        self._admit = admit
        self._stopping = stopping
        self._observer = observer
        self._orderly = True
        self._address = address
        self._buffer = memoryview(bytearray(0))
        self._contexts: dict[int, tuple[str, str]] = {}
        self._connected: Connected | None = None
        self._few = few_lines
        self._refused = RefusedContexts(few_lines, observer)
        self._peer_max_pdu = negotiation.DEFAULT_MAX_PDU
        self._message: Message | None = None
        self.calling_ae = self.called_ae = ""

    @property
    def in_message(self) -> bool:
        return self._message is not None

    def serve(self) -> None:
        try:
            self._establish()
            while True:
                self._next_pdu()
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
            if self._message and self._message.store:
                self._message.store.discard()
            if not self._orderly:
                tell(self._observer.aborted, self.calling_ae)
            self._wire.close()

    def _establish(self) -> None:
        self._wire.expect_all_within(self._options.association_timeout)
        self._secure()
        request = self._read_request()
        if rejection := negotiation.fault_of(request, self._options):
            raise self._reject(rejection, rejection.name)
        self._connected = Connected(
            calling_ae=self.calling_ae, address=self._address, certificate=self._wire.certificate()
        )
        standing = self._look_up(self._connected)
        if self._stopping():
            raise self._reject(Reject.LOCAL_LIMIT, Reject.LOCAL_LIMIT.name)
        if full := self._admit(self._connected, standing):
            raise self._reject(Reject.LOCAL_LIMIT, full)
        accepted = negotiation.accept(
            request, self._options, reports=self._committed is not None, rights=standing.rights
        )
        self._wire.expect_all_within(math.inf)
        self._contexts, self._peer_max_pdu = accepted.contexts, request.max_pdu
        tell(self._observer.accepted, self.calling_ae)  # before the answer: what a peer knows has been counted
        self._refused.tell(accepted, self.calling_ae, self._peer())
        self._wire.send(accepted.pdu)
        self._buffer = memoryview(bytearray(self._options.max_pdu + 64))

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
        tell(self._observer.rejected, self.calling_ae, reason)
        self._orderly = True
        self._wire.send(negotiation.reject_pdu(rejection))
        return PeerGone()

    def _accept(self, arrived: Received | OtherObject) -> None:
        self._given(replace(arrived, sent_by=self._connected))

    def _secure(self) -> None:
        try:
            self._wire.secure()
        except HandshakeFailed as failed:
            log.warning("TLS handshake failed", extra={"peer": self._address, "reason": str(failed)})
            tell(self._observer.rejected, "", NO_TLS)
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
            tell(self._observer.rejected, self.calling_ae, NO_REQUEST)
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

    def _next_pdu(self) -> None:
        resting = self._message is None
        try:
            kind, length = self._wire.read_pdu_header(
                self._options.idle_timeout if resting else self._options.network_timeout
            )
        except PeerSilent:
            if resting:
                raise
            raise Abort(AbortReason.NOT_SPECIFIED, "peer went silent inside a message") from None
        if kind == P_DATA:
            if length > len(self._buffer):
                raise Abort(AbortReason.INVALID_PARAMETER, "P-DATA-TF is longer than announced")
            self._wire.fill(self._buffer[:length])
            for context_id, control, fragment in values(self._buffer[:length]):
                self._fragment(context_id, control, fragment)
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

    def _fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        """One fragment of a message (PS3.8 Annex E): bit 0 of `control` is set in commands, bit 1 in the last one."""
        is_command, last = bool(control & 1), bool(control & 2)
        if context_id not in self._contexts:
            raise self._refused.used(context_id, self.calling_ae)
        if self._message is None:
            self._message = Message(context_id=context_id, command_set=bytearray())
        message = self._message
        if message.context_id != context_id or is_command == (message.command is not None):
            raise Abort(AbortReason.UNEXPECTED_PDU, "fragments of two messages are mixed")
        if is_command:
            message.command_set += fragment
            if len(message.command_set) > MAX_COMMAND_SET:
                raise Abort(AbortReason.INVALID_PARAMETER, "command set is too long")
            if last:
                self._command_complete(message)
            return
        if message.store:
            message.store.write(fragment)
        elif message.report:
            message.report.write(fragment)
        if last:
            self._data_complete(message)

    def _command_complete(self, message: Message) -> None:
        command = message.command = decode_command(bytes(message.command_set))
        field = command.get("CommandField")
        has_data = command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET
        if field == C_STORE_RQ:
            message.store = Store(
                command,
                self._contexts[message.context_id],
                self._spool,
                keep_other_objects=self._options.keep_other_objects,
            )
            message.store.begin(has_data=has_data)
            if not has_data:
                self._data_complete(message)
        elif field == C_ECHO_RQ:
            self._respond(message, SUCCESS)
        elif field == N_EVENT_REPORT_RQ and self._contexts[message.context_id][0] == STORAGE_COMMITMENT:
            message.report = ArrivingReport(command, self._contexts[message.context_id][1])
            if not has_data:
                self._data_complete(message)
        elif field == C_CANCEL_RQ:
            self._message = None
        elif not has_data:
            self._respond(message, UNRECOGNISED_OPERATION)

    def _peer(self) -> dict[str, object]:
        """For a log line: an address is all that is known of some."""
        return {"calling_ae": self.calling_ae, "called_ae": self.called_ae, "peer": self._address}

    def _data_complete(self, message: Message) -> None:
        store = message.store
        if message.report and self._committed:
            self._respond(message, *message.report.take(self._committed))
            return
        if store is None:
            self._respond(message, UNRECOGNISED_OPERATION)
            return
        started = time.monotonic()
        try:
            received = store.keep(calling_ae=self.calling_ae, called_ae=self.called_ae)
            self._accept(received)
        except Refusal as refusal:
            store.discard()
            self._respond_refusal(message, store, refusal, started)
            return
        if isinstance(received, Received):
            tell(self._observer.kept, self.calling_ae)
        self._respond_store(message, store, started, SUCCESS)
        log.debug(  # the line of the film is written by whoever took it, and knows its id
            "stored",
            extra={
                "calling_ae": self.calling_ae,
                "digest": received.digest[:12],
                "commit_ms": round((time.monotonic() - started) * 1e3, 1),
            },
        )

    def _respond_refusal(self, message: Message, store: Store, refusal: Refusal, started: float) -> None:
        log.warning(
            "C-STORE refused",
            extra=self._peer()
            | {
                "sop_class": negotiation.class_name(self._contexts[message.context_id][0]),
                "status": in_hexadecimal(refusal.status),
                "reason": refusal.comment,  # as the peer gets it; never a word of the data set
            },
        )
        self._respond_store(message, store, started, refusal.status, refusal.comment)

    def _respond_store(self, message: Message, store: Store, started: float, status: int, comment: str = "") -> None:
        """`started`: when the last byte was here. Told also when the peer does not take the answer: it stands."""
        tell(self._observer.stored, self.calling_ae, status, store.size, time.monotonic() - started)
        self._respond(message, status, comment)

    def _respond(self, message: Message, status: int, comment: str = "") -> None:
        self._message = None
        response = Response.to(message.command or Dataset(), status=status, comment=comment)
        self._wire.send(encode_response(response, message.context_id, self._peer_max_pdu))


def _why_lost(error: OSError) -> str:
    """In the words of the operating system, such as "Connection reset by peer"."""
    return "no answer in time" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
