"""The DIMSE messages of one association as acceptor (PS3.7): put together from fragments, served, answered.

The fragments of a film's data set go from the socket's buffer straight into the spool.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from dicom_gateway import commitment, committing
from dicom_gateway.commitment import CommitmentReport, take_report
from dicom_gateway.committing import Keep, take_request
from dicom_gateway.contexts import STORAGE_COMMITMENT
from dicom_gateway.dimse import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    N_EVENT_REPORT_RSP,
    NO_DATA_SET,
    Response,
    decode_command,
    encode_response,
)
from dicom_gateway.errors import SUCCESS, UNRECOGNISED_OPERATION, Abort, AbortReason, in_hexadecimal
from dicom_gateway.observer import tell
from dicom_gateway.owed_reports import OwedReports
from dicom_gateway.refused_contexts import RefusedContexts
from dicom_gateway.store import Store
from dicom_gateway.storing import Storing
from dicom_gateway.wire import Wire

log = logging.getLogger("xrayq.gateway")

MAX_COMMAND_SET = 64 << 10
MOST_BYTES = {N_ACTION_RQ: committing.MOST_BYTES, N_EVENT_REPORT_RQ: commitment.MOST_BYTES}
"""Of the data set of a message of storage commitment, by Command Field."""


@dataclass(kw_only=True)
class ArrivingData:
    """A data set that is kept in memory."""

    most: int
    """Bytes; what goes beyond is dropped."""
    size: int = 0
    value: bytearray = field(default_factory=bytearray)

    def write(self, fragment: memoryview) -> None:
        self.size += len(fragment)
        if self.size <= self.most:
            self.value += fragment

    def whole(self) -> bytes | None:
        """None where it was too large."""
        return bytes(self.value) if self.size <= self.most else None


@dataclass(kw_only=True)
class Message:
    """One DIMSE request as its fragments arrive."""

    context_id: int
    command_set: bytearray
    command: Dataset | None = None
    store: Store | None = None
    """The state of a C-STORE under way; None between them."""
    data: ArrivingData | None = None
    """Of a message of storage commitment."""


class Messages:
    """Those of an association that was accepted, one after the other."""

    def __init__(
        self,
        wire: Wire,
        *,
        contexts: Mapping[int, tuple[str, str]],
        max_pdu: int,
        storing: Storing,
        asked: Keep | None,
        committed: Callable[[CommitmentReport, str], None] | None,
        refused: RefusedContexts,
    ) -> None:
        """
        Args:
            contexts: as `negotiation.Accepted` has them.
            max_pdu: longest P-DATA-TF that the peer takes, bytes.
            asked, committed: as of `Gateway`; None also where the peer may not do that.
        """
        self._wire = wire
        self._contexts = contexts
        self._max_pdu = max_pdu
        self._storing = storing
        self._calling_ae = storing.sent_by.calling_ae
        self._asked = asked
        self._committed = committed
        self._owed = OwedReports(wire, contexts, max_pdu)
        self._refused = refused
        self._message: Message | None = None

    @property
    def under_way(self) -> bool:
        """A message has begun, and is not answered yet."""
        return self._message is not None

    @property
    def patience(self) -> float | None:
        """Seconds for which the peer is to rest before `go_on` is called; None where it is to be waited for."""
        return None if self._message else self._owed.patience

    def go_on(self) -> None:
        """Do something for what we owe. Raises OSError."""
        self._owed.go_on()

    def discard(self) -> None:
        """The association is over: nothing is kept of what was not answered."""
        if self._message and self._message.store:
            self._message.store.discard()
        self._owed.leave()

    def fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        """One fragment of a message (PS3.8 Annex E): bit 0 of `control` is set in commands, bit 1 in the last one."""
        is_command, last = bool(control & 1), bool(control & 2)
        if context_id not in self._contexts:
            raise self._refused.used(context_id, self._calling_ae)
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
        elif message.data:
            message.data.write(fragment)
        if last:
            self._data_complete(message)

    def _command_complete(self, message: Message) -> None:
        command = message.command = decode_command(bytes(message.command_set))
        kind = command.get("CommandField")
        has_data = command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET
        if kind == C_STORE_RQ:
            message.store = self._storing.begin(command, self._contexts[message.context_id], has_data=has_data)
            if not has_data:
                self._data_complete(message)
        elif kind == C_ECHO_RQ:
            self._respond(message, SUCCESS)
        elif kind in MOST_BYTES and self._contexts[message.context_id][0] == STORAGE_COMMITMENT:
            message.data = ArrivingData(most=MOST_BYTES[kind])
            if not has_data:
                self._data_complete(message)
        elif kind == C_CANCEL_RQ:
            self._message = None
        elif kind == N_EVENT_REPORT_RSP:
            self._owed.answered(command)
            if not has_data:
                self._message = None
        elif not has_data:
            self._respond(message, UNRECOGNISED_OPERATION)

    def _data_complete(self, message: Message) -> None:
        store, command = message.store, message.command or Dataset()
        if message.data:
            self._commitment(message, command, message.data.whole())
            return
        if command.get("CommandField") == N_EVENT_REPORT_RSP:
            self._message = None
            return
        if store is None:
            self._respond(message, UNRECOGNISED_OPERATION)
            return
        self._respond(message, *self._storing.end(store, command, self._contexts[message.context_id][0]))

    def _commitment(self, message: Message, command: Dataset, data: bytes | None) -> None:
        """Its request of us, or its report to us."""
        syntax = self._contexts[message.context_id][1]
        if command.CommandField == N_EVENT_REPORT_RQ and self._committed:
            committed = self._committed
            self._respond(message, *take_report(command, data, syntax, lambda said: committed(said, self._calling_ae)))
        elif command.CommandField == N_ACTION_RQ and self._asked:
            status, comment, owed = take_request(command, data, syntax, self._calling_ae, self._asked)
            tell(self._storing.observer.asked_to_commit, self._calling_ae, status)
            if owed:
                self._owed.add(message.context_id, owed)
            else:
                said = {"status": in_hexadecimal(status), "reason": comment}
                log.warning("request for storage commitment refused", extra={**self._storing.peer, **said})
            self._respond(message, status, comment)
        else:
            self._respond(message, UNRECOGNISED_OPERATION)

    def _respond(self, message: Message, status: int, comment: str = "") -> None:
        self._message = None
        response = Response.to(message.command or Dataset(), status=status, comment=comment)
        self._wire.send(encode_response(response, message.context_id, self._max_pdu))
