"""One association as acceptor (PS3.8), in blocking style: read a PDU, do what it says, answer.

pynetdicom's own acceptor wakes a thread a thousand times a second for each peer and copies every fragment several
times.
Here a resting peer is one thread asleep in `recv`, and the fragments of a data set go from the socket's buffer straight
into the spool. pynetdicom still encodes, decodes and negotiates.
"""

import logging
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RP
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import negotiate_as_acceptor

from dicom_gateway.contexts import VERIFICATION, supported_contexts
from dicom_gateway.dimse import Response, encode_response
from dicom_gateway.errors import (
    ClassMismatch,
    InstanceMismatch,
    InvalidInstance,
    Refusal,
    StoreUnavailable,
)
from dicom_gateway.header import is_valid_uid, read_header
from dicom_gateway.observer import Observer, tell
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, encode_meta
from dicom_gateway.spool import Incoming, Spool
from dicom_gateway.wire import Abort, AbortReason, PeerGone, PeerSilent, Wire

log = logging.getLogger("xrayq.gateway")

ASSOCIATE_RQ, P_DATA, RELEASE_RQ, ABORT = 0x01, 0x04, 0x05, 0x07
C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
NO_DATA_SET = 0x0101
UNRECOGNISED_OPERATION = 0x0211
MAX_ASSOCIATE_PDU = 1 << 20
MAX_COMMAND_SET = 64 << 10


class Reject(Enum):
    """Result, source and reason of A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    CALLED_AE = (1, 1, 7)
    CALLING_AE = (1, 1, 3)
    CONTEXT_NAME = (1, 1, 2)
    LOCAL_LIMIT = (2, 3, 2)


@dataclass(kw_only=True)
class Message:
    """One DIMSE request as its fragments arrive."""

    context_id: int
    command_set: bytearray
    command: Dataset | None = None
    size: int = 0
    """Bytes of its data set so far."""
    incoming: Incoming | None = None
    refusal: Refusal | None = None


class Association:
    """Serves one connected socket until the peer is done. `serve` never raises."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        options: GatewayOptions,
        spool: Spool,
        accept: Callable[[Received], None],
        admit: Callable[[], bool],
        stopping: Callable[[], bool],
        observer: Observer,
    ) -> None:
        """
        Args:
            accept: called with each durable instance; success is answered only when it returns.
            admit: False when no further association is allowed.
            stopping: True when the gateway is going down; looked at between messages.
        """
        self._wire = Wire(connection, options.network_timeout)
        self._options = options
        self._spool = spool
        self._accept = accept
        self._admit = admit
        self._stopping = stopping
        self._observer = observer
        self._orderly = True
        self._buffer = memoryview(bytearray(0))
        self._contexts: dict[int, tuple[str, str]] = {}
        self._peer_max_pdu = 16382
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
        except PeerGone:
            pass
        except Abort as abort:
            log.warning("association aborted", extra={"calling_ae": self.calling_ae, "reason": str(abort)})
            self._wire.abort(abort.reason)
        except OSError as error:
            log.info("connection lost", extra={"calling_ae": self.calling_ae, "reason": type(error).__name__})
            self._wire.abort(AbortReason.NOT_SPECIFIED)  # the lost connection may be the database's
        except Exception as error:  # noqa: BLE001 - the thread's edge: one peer must not end the gateway
            log.error("association failed", extra={"calling_ae": self.calling_ae, "reason": type(error).__name__})
            self._wire.abort(AbortReason.NOT_SPECIFIED)
        finally:
            if self._message and self._message.incoming:
                self._message.incoming.discard()
            if not self._orderly:
                tell(self._observer.aborted, self.calling_ae)
            self._wire.close()

    # -- association -----------------------------------------------------------------------------------------------

    def _establish(self) -> None:
        kind, length = self._wire.read_pdu_header(self._options.association_timeout)
        self._orderly = False
        if kind != ASSOCIATE_RQ:
            raise Abort(AbortReason.UNEXPECTED_PDU, "first PDU is not A-ASSOCIATE-RQ")
        if length > MAX_ASSOCIATE_PDU:
            raise Abort(AbortReason.INVALID_PARAMETER, "A-ASSOCIATE-RQ is too long")
        body = self._wire.read_exactly(length, self._options.association_timeout)
        request = _decode_request(struct.pack(">BxL", kind, length) + body)
        self.calling_ae, self.called_ae = _title(request.calling_ae_title), _title(request.called_ae_title)
        if rejection := self._rejection(request):
            log.warning("association rejected", extra={"calling_ae": self.calling_ae, "reason": rejection.name})
            tell(self._observer.rejected, self.calling_ae, rejection.name)
            self._orderly = True
            self._wire.send(_reject_pdu(rejection))
            raise PeerGone
        accepted = self._negotiate(request)
        self._wire.send(accepted)
        tell(self._observer.accepted, self.calling_ae)
        self._buffer = memoryview(bytearray(self._options.max_pdu + 64))

    def _rejection(self, request: A_ASSOCIATE) -> Reject | None:
        if request.application_context_name != "1.2.840.10008.3.1.1.1":
            return Reject.CONTEXT_NAME
        if self._options.require_called_ae and self.called_ae != self._options.ae_title:
            return Reject.CALLED_AE
        if self._options.calling_aes and self.calling_ae not in self._options.calling_aes:
            return Reject.CALLING_AE
        if self._stopping() or not self._admit():
            return Reject.LOCAL_LIMIT
        return None

    def _negotiate(self, request: A_ASSOCIATE) -> bytes:
        proposed = request.presentation_context_definition_list
        results, _ = negotiate_as_acceptor(proposed, supported_contexts())
        for context in results:
            if context.result == 0 and context.context_id is not None:
                self._contexts[context.context_id] = (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for item in request.user_information:
            if isinstance(item, MaximumLengthNotification):
                self._peer_max_pdu = item.maximum_length_received or 16382
        answer = A_ASSOCIATE()
        answer.application_context_name = request.application_context_name
        answer.calling_ae_title, answer.called_ae_title = request.calling_ae_title, request.called_ae_title
        answer.result, answer.result_source = 0, 1
        answer.presentation_context_definition_results_list = results
        largest, implementation, version = (
            MaximumLengthNotification(),
            ImplementationClassUIDNotification(),
            ImplementationVersionNameNotification(),
        )
        largest.maximum_length_received = self._options.max_pdu
        implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        version.implementation_version_name = IMPLEMENTATION_VERSION
        answer.user_information = [largest, implementation, version]
        pdu = A_ASSOCIATE_AC()
        pdu.from_primitive(answer)
        return bytes(pdu.encode())

    # -- PDUs ------------------------------------------------------------------------------------------------------

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
            self._split(self._buffer[:length])
        elif kind == RELEASE_RQ:
            self._wire.read_exactly(min(length, 4), self._options.network_timeout)
            self._orderly = True
            self._wire.send(A_RELEASE_RP().encode())
            raise PeerGone
        elif kind == ABORT:
            raise PeerGone
        else:
            known = kind in range(1, 8)
            raise Abort(AbortReason.UNEXPECTED_PDU if known else AbortReason.UNRECOGNISED_PDU, f"PDU type {kind:#x}")

    def _split(self, body: memoryview) -> None:
        """Hand on each presentation data value of a P-DATA-TF (PS3.8 9.3.5); a PDU may carry command and data."""
        position = 0
        while position < len(body):
            if position + 6 > len(body):
                raise Abort(AbortReason.INVALID_PARAMETER, "presentation data value is cut short")
            length, context_id, control = struct.unpack_from(">LBB", body, position)
            end = position + 4 + length
            if length < 2 or end > len(body):
                raise Abort(AbortReason.INVALID_PARAMETER, "presentation data value has a wrong length")
            self._fragment(context_id, control & 1, bool(control & 2), body[position + 6 : end])
            position = end

    def _fragment(self, context_id: int, is_command: int, last: bool, fragment: memoryview) -> None:
        if context_id not in self._contexts:
            raise Abort(AbortReason.INVALID_PARAMETER, "presentation context was not accepted")
        if self._message is None:
            self._message = Message(context_id=context_id, command_set=bytearray())
        message = self._message
        if message.context_id != context_id or bool(is_command) == (message.command is not None):
            raise Abort(AbortReason.UNEXPECTED_PDU, "fragments of two messages are mixed")
        if is_command:
            message.command_set += fragment
            if len(message.command_set) > MAX_COMMAND_SET:
                raise Abort(AbortReason.INVALID_PARAMETER, "command set is too long")
            if last:
                self._command_complete(message)
            return
        message.size += len(fragment)
        self._write(message, fragment)
        if last:
            self._data_complete(message)

    # -- DIMSE -----------------------------------------------------------------------------------------------------

    def _command_complete(self, message: Message) -> None:
        command = _decode_command(bytes(message.command_set))
        message.command = command
        field = command.get("CommandField")
        has_data = command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET
        if field == C_STORE_RQ:
            self._begin_store(message, command, has_data)
        elif field == C_ECHO_RQ:
            self._respond(message, 0x0000)
        elif field == C_CANCEL_RQ:
            self._message = None
        elif not has_data:
            self._respond(message, UNRECOGNISED_OPERATION)

    def _begin_store(self, message: Message, command: Dataset, has_data: bool) -> None:
        sop_class, syntax = self._contexts[message.context_id]
        sop_instance = str(command.get("AffectedSOPInstanceUID") or "")
        try:
            if not is_valid_uid(sop_instance):
                raise InvalidInstance
            if sop_class == VERIFICATION or str(command.get("AffectedSOPClassUID")) != sop_class:
                raise ClassMismatch
            message.incoming = self._spool.open()
            message.incoming.write(encode_meta(sop_class, sop_instance, syntax))
        except Refusal as refusal:
            self._refuse(message, refusal)
        if not has_data:
            self._refuse(message, ClassMismatch())
            self._respond_refusal(message, time.monotonic())

    def _write(self, message: Message, fragment: memoryview) -> None:
        """Append to the spool; once refused, the rest of the data set is read and dropped so that we can answer."""
        if message.incoming is None or message.refusal:
            return
        try:
            message.incoming.write(fragment)
        except Refusal as refusal:
            self._refuse(message, refusal)

    def _refuse(self, message: Message, refusal: Refusal) -> None:
        message.refusal = refusal
        if message.incoming:
            message.incoming.discard()
            message.incoming = None

    def _data_complete(self, message: Message) -> None:
        command = message.command
        if command is None or command.get("CommandField") != C_STORE_RQ:
            self._respond(message, UNRECOGNISED_OPERATION)
            return
        started = time.monotonic()
        try:
            if message.refusal:
                raise message.refusal
            digest = self._keep(message, command)
        except Refusal as refusal:
            self._refuse(message, refusal)
            self._respond_refusal(message, started)
            return
        self._respond_store(message, started, 0x0000)
        log.info(
            "stored",
            extra={
                "calling_ae": self.calling_ae,
                "digest": digest[:12],
                "commit_ms": round((time.monotonic() - started) * 1e3, 1),
            },
        )

    def _keep(self, message: Message, command: Dataset) -> str:
        """Check, make durable, hand over. Everything after this may promise success."""
        incoming = message.incoming
        if incoming is None:
            raise StoreUnavailable
        header = read_header(incoming.path)
        if header.sop_class_uid != self._contexts[message.context_id][0]:
            raise ClassMismatch
        if header.sop_instance_uid != str(command.AffectedSOPInstanceUID):
            raise InstanceMismatch
        stored = incoming.commit()
        self._accept(
            Received(
                header=header,
                digest=stored.digest,
                path=stored.path,
                size=stored.size,
                calling_ae=self.calling_ae,
                called_ae=self.called_ae,
                received_at=datetime.now(UTC),
            )
        )
        return stored.digest

    def _respond_refusal(self, message: Message, started: float) -> None:
        refusal = message.refusal or Refusal()
        log.warning(
            "refused",
            extra={
                "calling_ae": self.calling_ae,
                "status": f"0x{refusal.status:04X}",
                "reason": type(refusal).__name__,
            },
        )
        self._respond_store(message, started, refusal.status, refusal.comment)

    def _respond_store(self, message: Message, started: float, status: int, comment: str = "") -> None:
        """`started`: when the last byte was here. Told also when the peer does not take the answer: it stands."""
        try:
            self._respond(message, status, comment)
        finally:
            tell(self._observer.stored, self.calling_ae, status, message.size, time.monotonic() - started)

    def _respond(self, message: Message, status: int, comment: str = "") -> None:
        command, context_id = message.command or Dataset(), message.context_id
        self._message = None
        response = Response.to(command, status=status, comment=comment)
        self._wire.send(encode_response(response, context_id, self._peer_max_pdu))


def _title(title: str) -> str:
    """An AE title fit for a log line and a database column."""
    return "".join(character for character in title if character.isprintable()).strip()


def _decode_request(pdu: bytes) -> A_ASSOCIATE:
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(pdu)
        return request.to_primitive()
    except Exception as error:  # noqa: BLE001 - pynetdicom lets any error of its parsers through
        raise Abort(AbortReason.INVALID_PARAMETER, f"A-ASSOCIATE-RQ: {type(error).__name__}") from None


def _decode_command(encoded: bytes) -> Dataset:
    """The command set (PS3.7 6.3.1: implicit little endian), with its elements already converted."""
    try:
        command = decode(BytesIO(encoded), True, True)
        command.get("MessageID"), command.get("CommandField"), command.get("CommandDataSetType")
        str(command.get("AffectedSOPInstanceUID")), str(command.get("AffectedSOPClassUID"))
    except Exception as error:  # noqa: BLE001 - pydicom lets any error of its parsers through
        raise Abort(AbortReason.INVALID_PARAMETER, f"command set: {type(error).__name__}") from None
    if not isinstance(command.get("CommandField"), int) or not isinstance(command.get("MessageID", 0), int):
        raise Abort(AbortReason.INVALID_PARAMETER, "command set lacks a command")
    return command


def _reject_pdu(rejection: Reject) -> bytes:
    pdu = A_ASSOCIATE_RJ()
    pdu.result, pdu.source, pdu.reason_diagnostic = rejection.value
    return bytes(pdu.encode())
