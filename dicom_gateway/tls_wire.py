"""A wire whose bytes are TLS records.

OpenSSL is handed bytes and hands back bytes; the socket stays ours. So a sleeping peer costs no polling, time-outs are
the kernel's, and another thread may shut the connection, as without TLS.
"""

import math
import socket
import ssl
import time
from contextlib import suppress

from dicom_gateway.errors import HandshakeFailed, PeerGone
from dicom_gateway.peers import Certificate
from dicom_gateway.tls import shown
from dicom_gateway.wire import Wire

RECORDS = 128 * 1024
"""Bytes read from the socket at most at once: 8 records, as much as a PDU."""


class TlsWire(Wire):
    """As `Wire`. `secure` comes before anything else."""

    def __init__(
        self, connection: socket.socket, network_timeout: float, context: ssl.SSLContext, server: str = ""
    ) -> None:
        """
        Args:
            server: the host that we called; "" where the peer called us.
        """
        super().__init__(connection, network_timeout)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=not server, server_hostname=server or None
        )
        self._received = memoryview(bytearray(RECORDS))
        self._secured = False

    def secure(self) -> None:
        """The handshake, within what `expect_all_within` allows. Raises HandshakeFailed, PeerGone."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError as error:
                self._say_why()
                certificate = isinstance(error, ssl.SSLCertVerificationError)
                raise HandshakeFailed(reason_of(error), certificate=certificate) from None
            try:
                self._read_records(self._end)
            except (BlockingIOError, TimeoutError):
                raise HandshakeFailed("silent, or too slow") from None
        self._flush()
        self._secured = True

    def certificate(self) -> Certificate | None:
        der = self._tls.getpeercert(binary_form=True) if self._secured else None
        return shown(der) if der else None

    def send(self, pdu: bytes) -> None:
        if not self._secured:
            return  # nobody could read it
        self._tls.write(pdu)
        self._flush()

    def close(self) -> None:
        if self._secured:
            self._say_goodbye()
        super().close()

    def _receive(self, view: memoryview, patience: float, end: float, flags: int = 0) -> int:  # noqa: ARG002 - of recv
        last = min(end, time.monotonic() + patience)  # a record that drips in is waited for no longer than one byte
        while True:
            try:
                got = int(self._tls.read(len(view), view))
            except ssl.SSLWantReadError:
                self._flush()
                self._read_records(last)
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                raise PeerGone("closed") from None
            if not got:
                raise PeerGone("closed")
            return got

    def _read_records(self, end: float) -> None:
        """What the socket has, for OpenSSL. Raises PeerGone, TimeoutError, BlockingIOError."""
        got = super()._receive(self._received, math.inf, end)
        self._incoming.write(self._received[:got])

    def _flush(self) -> None:
        """What OpenSSL has, to the socket."""
        if self._outgoing.pending:
            self._socket.sendall(self._outgoing.read())

    def _say_why(self) -> None:
        """The alert that tells the peer what is wrong."""
        with suppress(OSError):
            self._flush()
            self._socket.shutdown(socket.SHUT_WR)

    def _say_goodbye(self) -> None:
        """The alert that says that nothing follows (RFC 8446 6.1); it raises, for the peer's is not waited for."""
        with suppress(OSError):
            self._tls.unwrap()
        with suppress(OSError):
            self._flush()


def reason_of(error: ssl.SSLError) -> str:
    """Why a handshake failed, in OpenSSL's words; they hold nothing of the peer's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "no TLS").replace("_", " ").lower()
