"""An association that we open, to ask (PS3.8): one message after the other in blocking style, every wait with an end.

Over a socket of our own. A peer may send a request of its own, an N-EVENT-REPORT, before the answer that we wait for or
after it. pynetdicom's loop and its `send_...` methods take such messages off one queue, and lose some.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from pydicom.dataset import Dataset
from pynetdicom.pdu import A_RELEASE_RP, A_RELEASE_RQ

from dicom_gateway.dimse import (
    C_CANCEL_RQ,
    N_EVENT_REPORT_RQ,
    NO_DATA_SET,
    RESPONSE_BIT,
    Response,
    command_set,
    decode_command,
    encode_data,
    encode_pdus,
    encode_request,
    encode_response,
    number,
    values,
)
from dicom_gateway.errors import UNRECOGNISED_OPERATION, Abort, HandshakeFailed, PeerGone, PeerSilent, PeerUnavailable
from dicom_gateway.requesting import LARGEST_PDU, Agreed, read_answer, request_pdu
from dicom_gateway.tls_wire import TlsWire
from dicom_gateway.wire import Wire

P_DATA, RELEASE_RQ = 0x04, 0x05
LARGEST_MESSAGE = 4 << 20
"""Bytes of a message that a peer sends us; a report on 1,000 objects has 130 KB."""
CONNECT_SECONDS, RELEASE_SECONDS, LOOK_SECONDS = 10.0, 5.0, 0.25
UNSERVED = (UNRECOGNISED_OPERATION, "")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A message of the peer."""

    context_id: int
    command: Dataset
    data: bytes
    """Its data set, b"" without one."""
    syntax: str
    """Transfer syntax of the data set."""


@dataclass(kw_only=True)
class _Arriving:
    """A message as its fragments come."""

    command_set: bytearray = field(default_factory=bytearray)
    command: Dataset | None = None
    data: bytearray = field(default_factory=bytearray)


class Asking:
    """An open association. When the peer is gone, or was silent once, nothing more is heard of it."""

    def __init__(self, wire: Wire, agreed: Agreed, report: Callable[[Heard], tuple[int, str]]) -> None:
        """
        Args:
            report: called with each N-EVENT-REPORT-RQ that comes; returns the status that answers it, and a comment.
        """
        self._wire = wire
        self._contexts = agreed.contexts
        self._max_pdu = agreed.max_pdu
        self._report = report
        self._arriving = _Arriving()
        self._heard: deque[Heard] = deque()
        self._messages = 0
        self.over = False
        """The peer is gone."""

    def takes(self, sop_class: str) -> bool:
        """Whether it accepted a presentation context for this SOP Class."""
        return sop_class in self._contexts

    def send(self, sop_class: str, field_: int, elements: Sequence[tuple[int, bytes]], data: Dataset) -> None:
        """A request with a data set.

        Args:
            sop_class: one that it takes.
            field_: Command Field.
            elements: the other elements of the command set, but Message ID and Command Data Set Type.
        """
        context_id, syntax = self._contexts[sop_class]
        self._messages += 1
        self._write(
            encode_request(
                field_,
                elements,
                encode_data(data, syntax),
                message_id=self._messages % 0xFFFF,
                context_id=context_id,
                max_pdu=self._max_pdu,
            )
        )

    def cancel(self, sop_class: str) -> None:
        """C-CANCEL of what was sent last (PS3.7 9.3.2.3). It may answer for a while, and ends with a status all the
        same."""
        context_id, _ = self._contexts[sop_class]
        elements = (
            (0x0100, number(C_CANCEL_RQ)),
            (0x0120, number(self._messages % 0xFFFF)),
            (0x0800, number(NO_DATA_SET)),
        )
        self._write(encode_pdus(command_set(elements), context_id, self._max_pdu, is_command=True))

    def hear(self, seconds: float) -> Heard | None:
        """The answer to what was sent last. None where none came in so many seconds, or the peer is gone.

        N-EVENT-REPORTs that come meanwhile are handed over and answered.
        """
        end = time.monotonic() + seconds
        try:
            while not self.over:
                heard = self._next(end)
                if heard.command.CommandField & RESPONSE_BIT:
                    return heard
                self._answer(heard)
        except (PeerGone, Abort, OSError):
            self.over = True
        return None

    def listen(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Take N-EVENT-REPORTs for so many seconds, or until `enough()`. Silence is no fault here."""
        end = time.monotonic() + seconds
        while not (self.over or enough() or time.monotonic() >= end):
            try:
                self._answer(self._next(min(end, time.monotonic() + LOOK_SECONDS)))
            except PeerSilent:
                continue
            except (PeerGone, Abort, OSError):
                self.over = True

    def release(self) -> None:
        """The peer's answer is waited for: some take an association that is closed at once for a failure."""
        if self.over:
            return
        with suppress(PeerGone, Abort, OSError):
            self._wire.send(A_RELEASE_RQ().encode())
            self._wire.expect_all_within(RELEASE_SECONDS)
            self._wire.read_pdu_header(RELEASE_SECONDS)

    def _answer(self, heard: Heard) -> None:
        """A request of the peer's."""
        known = heard.command.CommandField == N_EVENT_REPORT_RQ
        status, comment = self._report(heard) if known else UNSERVED
        response = Response.to(heard.command, status=status, comment=comment)
        self._write(encode_response(response, heard.context_id, self._max_pdu))

    def _next(self, end: float) -> Heard:
        """Raises PeerSilent where nothing begins until `end` of the monotonic clock."""
        while not self._heard:
            self._read_pdu(end)
        return self._heard.popleft()

    def _write(self, message: bytes) -> None:
        try:
            self._wire.send(message)
        except OSError:
            self.over = True

    def _read_pdu(self, end: float) -> None:
        kind, length = self._wire.read_pdu_header(max(end - time.monotonic(), 0.001))
        if kind == RELEASE_RQ:
            self._wire.send(A_RELEASE_RP().encode())
        if kind != P_DATA or length > LARGEST_PDU:
            raise PeerGone
        for context_id, control, fragment in values(memoryview(self._wire.read_exactly(length))):
            self._fragment(context_id, control, fragment)

    def _fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        arriving, is_command, last = self._arriving, bool(control & 1), bool(control & 2)
        syntax = next((syntax for known, syntax in self._contexts.values() if known == context_id), None)
        whole = len(arriving.command_set) + len(arriving.data) + len(fragment)
        if syntax is None or whole > LARGEST_MESSAGE or is_command == (arriving.command is not None):
            raise PeerGone
        (arriving.command_set if is_command else arriving.data).extend(fragment)
        if not last:
            return
        if is_command:
            arriving.command = decode_command(bytes(arriving.command_set))
            if arriving.command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET:
                return
        if arriving.command is not None:
            heard = Heard(context_id=context_id, command=arriving.command, data=bytes(arriving.data), syntax=syntax)
            self._heard.append(heard)
        self._arriving = _Arriving()


@contextmanager
def asking(
    host: str,
    port: int,
    sop_classes: Sequence[str],
    *,
    called_ae: str,
    calling_ae: str,
    report: Callable[[Heard], tuple[int, str]] = lambda _: UNSERVED,
    timeout: float = 30.0,
    total: float = 120.0,
    opened: Callable[[Callable[[], None]], None] = lambda _: None,
    tls: SSLContext | None = None,
    as_scp: bool = False,
) -> Iterator[Asking]:
    """An association with a presentation context for each class, in Explicit or Implicit VR Little Endian; released in
    the end.

    Args:
        report: as of `Asking`.
        timeout: seconds for the answer to the association, and longest silence inside a message.
        total: seconds for all of it.
        opened: is handed what closes the connection at once, from any thread.
        tls: over TLS, as client.
        as_scp: we propose to be SCP of each class, and not SCU (PS3.7 D.3.3.4).

    Raises:
        Rejected: the peer rejects the association.
        PeerUnavailable: there is none for another reason. The text is a code.
    """
    try:
        connection = socket.create_connection((host, port), min(timeout, CONNECT_SECONDS))
    except socket.gaierror:
        raise PeerUnavailable("unknown_host") from None
    except OSError:
        raise PeerUnavailable("no_connection") from None
    with connection:
        connection.setblocking(True)
        opened(lambda: _shut(connection))
        wire = TlsWire(connection, timeout, tls, server=host) if tls else Wire(connection, timeout)
        wire.expect_all_within(total)
        try:
            wire.secure()
            wire.send(request_pdu(sop_classes, called_ae=called_ae, calling_ae=calling_ae, as_scp=as_scp))
            kind, length = wire.read_pdu_header(timeout)
            if length > LARGEST_PDU:
                raise PeerGone
            agreed = read_answer(kind, wire.read_exactly(length), sop_classes, as_scp=as_scp)
        except HandshakeFailed as failed:
            raise PeerUnavailable(failed.code) from None
        except (PeerGone, Abort, OSError):
            raise PeerUnavailable("aborted") from None
        association = Asking(wire, agreed, report)
        yield association
        association.release()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
