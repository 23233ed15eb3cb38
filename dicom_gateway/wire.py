"""A connected socket, read in whole PDUs. The kernel does the waiting, so a sleeping peer costs no polling."""

import logging
import socket
import struct
from enum import Enum

from pynetdicom.pdu import A_ABORT_RQ

log = logging.getLogger("xrayq.gateway")


class AbortReason(Enum):
    """Provider reason of A-ABORT (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_PARAMETER = 6


class Abort(Exception):
    """End the association with an A-ABORT."""

    def __init__(self, reason: AbortReason, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class PeerGone(Exception):
    """The peer closed, released or aborted: nothing to answer."""


class PeerSilent(PeerGone):
    """No PDU began in the time allowed."""


class Wire:
    """Blocking reads and writes with time-outs set in the kernel (SO_RCVTIMEO, SO_SNDTIMEO)."""

    def __init__(self, connection: socket.socket, network_timeout: float) -> None:
        """
        Args:
            network_timeout: longest silence inside a PDU, and longest wait for a peer that does not read, seconds.
        """
        self._socket = connection
        self._network_timeout = network_timeout
        self._timeout = -1.0
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(network_timeout))

    def read_pdu_header(self, patience: float) -> tuple[int, int]:
        """Type and length of the next PDU.

        Waits `patience` for its first byte, then the network time-out for the rest.

        Raises:
            PeerSilent: nothing came. PeerGone: the peer closed. Abort: silence inside the header.
        """
        header = bytearray(6)
        view = memoryview(header)
        self._wait_at_most(patience)
        try:
            got = self._socket.recv_into(view, 6)
        except (BlockingIOError, TimeoutError):
            raise PeerSilent from None
        if not got:
            raise PeerGone
        self._wait_at_most(self._network_timeout)
        if got < 6:
            self.fill(view[got:])
        return struct.unpack(">BxL", header)

    def read_exactly(self, length: int, patience: float) -> bytes:
        """`length` bytes, each wait bounded by `patience` seconds. Raises as `fill`."""
        self._wait_at_most(patience)
        body = bytearray(length)
        self.fill(memoryview(body))
        return bytes(body)

    def fill(self, view: memoryview) -> None:
        """Read until `view` is full. Raises PeerGone when the peer closes, Abort when it goes silent."""
        while len(view):
            try:
                got = self._socket.recv_into(view, len(view), socket.MSG_WAITALL)
            except (BlockingIOError, TimeoutError):
                raise Abort(AbortReason.NOT_SPECIFIED, "peer went silent inside a PDU") from None
            if not got:
                raise PeerGone
            view = view[got:]

    def send(self, pdu: bytes) -> None:
        """Raises OSError when the peer is gone, or does not read for the network time-out."""
        self._socket.sendall(pdu)

    def abort(self, reason: AbortReason) -> None:
        """Send an A-ABORT as service provider (PS3.8 9.3.8), to a peer that may not be there any more."""
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 2, reason.value
        try:
            self._socket.sendall(pdu.encode())
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            log.debug("peer did not take the A-ABORT")

    def close(self) -> None:
        self._socket.close()

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
