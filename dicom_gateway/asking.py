"""An association that we open, to ask (PS3.8): one message after the other in blocking style, every wait with an end.

Over a socket of our own. A peer may send a request of its own before the answer that we wait for or after it: an
N-EVENT-REPORT, or the films of a C-GET, which go into the spool as they come. pynetdicom's loop and its `send_...`
methods take such messages off one queue, and lose some.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from ssl import SSLContext

from pydicom.dataset import Dataset
from pynetdicom.pdu import A_RELEASE_RP, A_RELEASE_RQ

from dicom_gateway.contexts import FILM_CLASSES, SYNTAX_BY_UID
from dicom_gateway.dimse import (
    C_CANCEL_RQ,
    N_EVENT_REPORT_RQ,
    NO_DATA_SET,
    RESPONSE_BIT,
    Response,
    command_set,
    encode_data,
    encode_pdus,
    encode_request,
    encode_response,
    number,
    values,
)
from dicom_gateway.errors import (
    SUCCESS,
    UNRECOGNISED_OPERATION,
    Abort,
    HandshakeFailed,
    PeerGone,
    PeerSilent,
    PeerUnavailable,
)
from dicom_gateway.heard import Heard, Hearing
from dicom_gateway.peers import Connected
from dicom_gateway.requesting import LARGEST_PDU, Agreed, Offer, read_answer, request_pdu
from dicom_gateway.storing import Storing
from dicom_gateway.tls_wire import TlsWire
from dicom_gateway.values import one_uid
from dicom_gateway.wire import Wire, connect

P_DATA, RELEASE_RQ = 0x04, 0x05
CONNECT_SECONDS, RELEASE_SECONDS, LOOK_SECONDS = 10.0, 5.0, 0.25
UNSERVED = (UNRECOGNISED_OPERATION, "")


FILM_OFFERS = tuple(
    Offer(sop_class=sop_class, syntaxes=(syntax,), as_scp=True)
    for sop_class in FILM_CLASSES
    for syntax in SYNTAX_BY_UID
)
"""A context has one transfer syntax in the end: with one for each, the peer sends a film as it has it."""


class Asking:
    """An open association. When the peer is gone, or was silent once, nothing more is heard of it."""

    def __init__(
        self,
        wire: Wire,
        agreed: Agreed,
        report: Callable[[Heard], tuple[int, str]],
        storing: Storing | None = None,
    ) -> None:
        """
        Args:
            report: called with each N-EVENT-REPORT-RQ that comes; returns the status that answers it, and a comment.
            storing: takes each C-STORE that comes (C-GET). None: none is taken.
        """
        self._wire = wire
        self._contexts = agreed.contexts
        self._ids = {sop_class: context_id for context_id, (sop_class, _) in reversed(agreed.contexts.items())}
        self._max_pdu = agreed.max_pdu
        self._report = report
        self._storing = storing
        self._hearing = Hearing(agreed.contexts, storing)
        self._heard: deque[Heard] = deque()
        """Answers that nobody has looked at yet."""
        self._messages = 0
        self._last_sign = 0.0
        self.over = False
        """The peer is gone."""
        self.here: set[str] = set()
        """SOP Instance UIDs of what came by C-STORE, and was accepted."""

    def takes(self, sop_class: str) -> bool:
        """Whether it accepted a presentation context for this SOP Class."""
        return sop_class in self._ids

    def send(self, sop_class: str, field_: int, elements: Sequence[tuple[int, bytes]], data: Dataset) -> None:
        """A request with a data set.

        Args:
            sop_class: one that it takes.
            field_: Command Field.
            elements: the other elements of the command set, but Message ID and Command Data Set Type.
        """
        context_id = self._ids[sop_class]
        self._messages += 1
        self._write(
            encode_request(
                field_,
                elements,
                encode_data(data, self._contexts[context_id][1]),
                message_id=self._message_id,
                context_id=context_id,
                max_pdu=self._max_pdu,
            )
        )

    def cancel(self, sop_class: str) -> None:
        """C-CANCEL of what was sent last (PS3.7 9.3.2.3). It may answer for a while, and ends with a status all the
        same."""
        elements = (
            (0x0100, number(C_CANCEL_RQ)),
            (0x0120, number(self._message_id)),
            (0x0800, number(NO_DATA_SET)),
        )
        self._write(encode_pdus(command_set(elements), self._ids[sop_class], self._max_pdu, is_command=True))

    def hear(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> Heard | None:
        """The answer to what was sent last, or None.

        N-EVENT-REPORTs and films that come meanwhile are taken and answered.

        Args:
            seconds: longest silence. Then, and where the peer is gone, the association is over.
            stop: looked at between PDUs, and each LOOK_SECONDS: True ends the wait, and not the association.
        """
        self._last_sign = time.monotonic()
        try:
            while not (self.over or stop()):
                if not self._heard:
                    self._listen(self._last_sign + seconds)
                elif self._is_answer(heard := self._heard.popleft()):
                    return heard
        except (PeerGone, Abort, OSError):
            self.over = True
        return None

    def listen(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Take N-EVENT-REPORTs for so many seconds, or until `enough()`. Silence is no fault here."""
        end = time.monotonic() + seconds
        while not (self.over or enough() or time.monotonic() >= end):
            try:
                self._listen(end)
                self._heard.clear()  # nothing was asked
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

    def leave(self) -> None:
        """Nothing is kept of a film that was not answered."""
        self._hearing.leave()

    @property
    def _message_id(self) -> int:
        return self._messages % 0xFFFF

    def _is_answer(self, heard: Heard) -> bool:
        """To what was sent last: some answer twice."""
        return heard.command.get("MessageIDBeingRespondedTo") in (None, self._message_id)

    def _answer(self, heard: Heard) -> None:
        """A request of the peer's."""
        status, comment = UNSERVED
        if heard.store and self._storing:
            status, comment = self._storing.end(heard.store, heard.command, self._contexts[heard.context_id][0])
            self._last_sign = time.monotonic()
            if status == SUCCESS:
                self.here.add(one_uid(heard.command, "AffectedSOPInstanceUID"))
        elif heard.command.CommandField == N_EVENT_REPORT_RQ:
            status, comment = self._report(heard)
        response = Response.to(heard.command, status=status, comment=comment)
        self._write(encode_response(response, heard.context_id, self._max_pdu))

    def _listen(self, end: float) -> None:
        """One PDU, or LOOK_SECONDS. Raises PeerSilent where nothing begins until `end` of the monotonic clock."""
        look = time.monotonic() + LOOK_SECONDS
        try:
            self._read_pdu(min(end, look))
        except PeerSilent:
            if look >= end:
                raise

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
            heard = self._hearing.fragment(context_id, control, fragment)
            if heard and heard.command.CommandField & RESPONSE_BIT:
                self._heard.append(heard)
            elif heard:
                self._answer(heard)
        if self._hearing.in_film:
            self._last_sign = time.monotonic()  # it may take long, and is no silence


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
    storing: Storing | None = None,
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
        storing: takes the films that the peer sends here (C-GET, PS3.4 C.4.3): then a context is proposed for each
            class and transfer syntax of a film too, 96 in all. Who sends and receives is filled in here.

    Raises:
        Rejected: the peer rejects the association.
        PeerUnavailable: there is none for another reason. The text is a code.
    """
    offers = [Offer(sop_class=sop_class, as_scp=as_scp) for sop_class in sop_classes]
    if storing:
        offers += FILM_OFFERS
    try:
        connection = connect(host, port, min(timeout, CONNECT_SECONDS))
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
            wire.send(request_pdu(offers, called_ae=called_ae, calling_ae=calling_ae))
            kind, length = wire.read_pdu_header(timeout)
            if length > LARGEST_PDU:
                raise PeerGone
            agreed = read_answer(kind, wire.read_exactly(length), offers)
            if storing:
                sender = Connected(
                    calling_ae=called_ae, address=connection.getpeername()[0], certificate=wire.certificate()
                )
                storing = replace(storing, sent_by=sender, called_ae=calling_ae)
        except HandshakeFailed as failed:
            raise PeerUnavailable(failed.code) from None
        except (PeerGone, Abort, OSError):
            raise PeerUnavailable("aborted") from None
        association = Asking(wire, agreed, report, storing)
        try:
            yield association
            association.release()
        finally:
            association.leave()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
