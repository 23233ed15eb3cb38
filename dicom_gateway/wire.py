"""A connected socket, read in whole PDUs. The kernel does the waiting, so a sleeping peer costs no polling."""

import logging
import math
import socket
import struct
import time
from contextlib import ExitStack

from pynetdicom.pdu import A_ABORT_RQ

from dicom_gateway.errors import Abort, AbortReason, PeerGone, PeerSilent
from dicom_gateway.peers import Certificate

log = logging.getLogger("xrayq.gateway")

LEAST_RATE = 1024
"""Bytes a second of a PDU, once its network time-out has passed: a tenth of what a shared VPN gives on a bad day."""


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A connection within so many seconds, however many addresses the name has. Its look-up, which the system ends,
    comes on top. Raises OSError of the last address tried; gaierror for a name of no host, also one that can be none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # an empty label, or one of more than 63 characters (RFC 1035 2.3.4)
        raise socket.gaierror(socket.EAI_NONAME, "no host can have this name") from None
    end = time.monotonic() + seconds
    failure: OSError = TimeoutError("timed out")
    for family, kind, protocol, _, address in found:
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            with ExitStack() as unless_connected:
                connection = unless_connected.enter_context(socket.socket(family, kind, protocol))
                connection.settimeout(left)
                connection.connect(address)
                unless_connected.pop_all()
                return connection
        except OSError as error:
            failure = error
    raise failure


class Wire:
    """Blocking reads and writes with time-outs set in the kernel (SO_RCVTIMEO, SO_SNDTIMEO)."""

    def __init__(self, connection: socket.socket, network_timeout: float) -> None:
        """
        Args:
            network_timeout: longest silence inside a PDU, and longest wait for a peer that does not read, seconds.
                A PDU that keeps dripping has so long and a second for each LEAST_RATE bytes.
        """
        self._socket = connection
        self._network_timeout = network_timeout
        self._timeout = -1.0
        self._end = math.inf
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(network_timeout))

    def secure(self) -> None:
        """What is to be done before the first PDU: nothing, without TLS."""

    def certificate(self) -> Certificate | None:
        """What the peer showed in `secure`."""
        return None

    def expect_all_within(self, seconds: float) -> None:
        """Whatever is read from now on must be here by then, however it is cut up; `math.inf` lifts that."""
        self._end = time.monotonic() + seconds

    def read_pdu_header(self, patience: float) -> tuple[int, int]:
        """Type and length of the next PDU.

        Waits `patience` for its first byte, then as `fill` for the rest.

        Raises:
            PeerSilent: nothing came. PeerGone: the peer closed. Abort: silence inside the header.
        """
        header = bytearray(6)
        view = memoryview(header)
        try:
            got = self._receive(view, patience, self._end)
        except (BlockingIOError, TimeoutError):
            raise PeerSilent("silent") from None
        self.fill(view[got:])
        return struct.unpack(">BxL", header)

    def read_exactly(self, length: int) -> bytes:
        """`length` bytes. Raises as `fill`."""
        body = bytearray(length)
        self.fill(memoryview(body))
        return bytes(body)

    def fill(self, view: memoryview) -> None:
        """Read until `view` is full. Raises PeerGone when the peer closes, Abort when it is silent or too slow."""
        end = min(self._end, time.monotonic() + self._network_timeout + len(view) / LEAST_RATE)
        while len(view):
            try:
                got = self._receive(view, self._network_timeout, end, socket.MSG_WAITALL)
            except (BlockingIOError, TimeoutError):
                raise Abort(AbortReason.NOT_SPECIFIED, "peer is silent, or too slow, inside a PDU") from None
            view = view[got:]

    def send(self, pdu: bytes) -> None:
        """Raises OSError when the peer is gone, or does not read for the network time-out."""
        self._socket.sendall(pdu)

    def abort(self, reason: AbortReason) -> None:
        """Send an A-ABORT as service provider (PS3.8 9.3.8), to a peer that may not be there any more."""
        pdu = A_ABORT_RQ()
        pdu.source, pdu.reason_diagnostic = 2, reason.value
        try:
            self.send(pdu.encode())
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            log.debug("peer did not take the A-ABORT")

    def close(self) -> None:
        self._socket.close()

    def _receive(self, view: memoryview, patience: float, end: float, flags: int = 0) -> int:
        """Some bytes into `view`; how many. Waits `patience` seconds, and not beyond `end` of the monotonic clock."""
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._wait_at_most(min(patience, left))
        got = self._socket.recv_into(view, len(view), flags)
        if not got:
            raise PeerGone("closed")
        return got

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))


def _timeval(seconds: float) -> bytes:
    microseconds = max(int(seconds * 1e6), 1)  # 0 would be for ever
    return struct.pack("@ll", *divmod(microseconds, 1_000_000))
