"""A connection over TLS that is written to, closed, and then known to have been read to its end.

We say close_notify behind the last byte, and wait until the peer ends the connection. RFC 5425 4.4 asks it to answer
close_notify first; rsyslog's GnuTLS driver does not (8.2302), so an end without counts too, and the kernels tell the
rest. A process that ends, or is killed, with bytes unread resets its connection (RFC 1122 4.2.2.13); one that ended
before our last bytes came never acknowledged them. An end without either was behind the last byte.

Who can forge TCP between us and a peer can forge such an end. RFC 8446 6.1 warns of that; a peer that answers
close_notify would prevent it.
"""

import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable
from contextlib import suppress

RECORDS = 65536


class ClosingTls:
    """As client. What takes longer than its seconds altogether raises TimeoutError, however slowly it goes on."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str, *, seconds: float) -> None:
        """With the handshake. Raises OSError, SSLError among it, as the others do."""
        self._plain = plain
        self._end = time.monotonic() + seconds
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._answered(self._tls.do_handshake)
        self._flush()

    def write(self, content: bytes) -> None:
        self._answered(lambda: self._tls.write(content))
        self._flush()

    def close(self) -> None:
        """Returns when the peer has read everything. Raises ConnectionAbortedError where it ended before that."""
        self._no_end_yet()
        with suppress(ssl.SSLWantReadError):  # it says close_notify, and would like the peer's
            self._tls.unwrap()
        self._flush()
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):  # its close_notify, or an end without
            while self._answered(lambda: self._tls.read(RECORDS)):
                pass
        while self._receive():  # from its close_notify to the end
            pass
        if _unacknowledged(self._plain):
            raise ConnectionAbortedError

    def _no_end_yet(self) -> None:
        """What came with the handshake may be an alert: OpenSSL's `unwrap` would take it for a close_notify."""
        with suppress(ssl.SSLWantReadError):
            if not self._tls.read(RECORDS):
                raise ConnectionAbortedError

    def _answered(self, step: Callable[[], object]) -> object:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()

    def _receive(self) -> bool:
        """False at the end."""
        self._plain.settimeout(self._left())
        came = self._plain.recv(RECORDS)
        if came:
            self._incoming.write(came)
        else:
            self._incoming.write_eof()
        return bool(came)

    def _flush(self) -> None:
        left = memoryview(self._outgoing.read())
        while left:
            self._plain.settimeout(self._left())
            left = left[self._plain.send(left) :]

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _unacknowledged(plain: socket.socket) -> int:
    """Bytes that we sent and the peer's kernel has not acknowledged (SIOCOUTQ)."""
    (waiting,) = struct.unpack("i", fcntl.ioctl(plain, termios.TIOCOUTQ, struct.pack("i", 0)))
    return int(waiting)
