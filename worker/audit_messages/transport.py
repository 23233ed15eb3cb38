"""How syslog messages get to the site's audit repository: over TLS (RFC 5425) or by UDP (RFC 5426).

Neither protocol has an acknowledgement. Over TLS each batch has a connection of its own, which we close and the
repository must close too: RFC 5425 4.4 asks it to answer close_notify with close_notify. It does that behind our last
message, so what it answered had been read. A repository that died, or a network that fell silent, gives no such
answer, and the batch is sent again. What a repository read and lost afterwards is lost there, and so is any datagram.
"""

import errno
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.errors import Undelivered

NO_CONNECTION, UNKNOWN_HOST, HUNG_UP, NO_ANSWER = "no_connection", "unknown_host", "hung_up", "no_answer"
UNTRUSTED, NO_TLS, NOT_CLOSED, TOO_LONG = "untrusted", "no_tls", "not_closed", "too_long"
WORDS = {
    NO_CONNECTION: "nothing listens there, or it does not answer",
    UNKNOWN_HOST: "no host of this name",
    HUNG_UP: "it hung up before it had everything",
    NO_ANSWER: "it took the connection and fell silent, or takes too little at a time",
    UNTRUSTED: "no authority in XRAYQ_TLS_AUTHORITIES signed its certificate, or it expired, or names another host",
    NO_TLS: "the TLS handshake failed: it may want our certificate (XRAYQ_TLS_CERTIFICATE), or speak no TLS",
    NOT_CLOSED: "it did not answer our close_notify with its own (RFC 5425 4.4), so nobody knows what it read",
    TOO_LONG: "a message is longer than a datagram",
}
"""Reason -> what a person makes of it."""


class Repository(Protocol):
    """Where audit messages go."""

    @property
    def name(self) -> str:
        """As XRAYQ_AUDIT_TO has it."""

    def send(self, messages: Sequence[bytes]) -> None:
        """All of them, in this order. Without any it is only tried whether somebody is there. Raises Undelivered with a
        reason of WORDS: then any of them may have arrived."""


@dataclass(frozen=True, kw_only=True)
class TlsRepository:
    """syslog-tls://host:port."""

    host: str
    port: int
    context: Callable[[], ssl.SSLContext]
    """The one that holds now: certificates may be replaced."""
    seconds: float = 60.0
    """For one batch as a whole, from the connection to the end of its close."""

    @property
    def name(self) -> str:
        return f"syslog-tls://{_bracketed(self.host)}:{self.port}"

    def send(self, messages: Sequence[bytes]) -> None:
        end = time.monotonic() + self.seconds
        plain = _connect(self.host, self.port, self.seconds)
        try:
            with self._secured(plain, end) as connection:
                frames = b"".join(b"%d %b" % (len(message), message) for message in messages)  # RFC 5425 4.3
                _write(connection, memoryview(frames), end)
                _close(connection, end)
        except TimeoutError:
            raise Undelivered(NO_ANSWER) from None
        except ssl.SSLError:  # among them the alert by which TLS 1.3 says that it wants another certificate of us
            raise Undelivered(NO_TLS) from None
        except OSError:
            raise Undelivered(HUNG_UP) from None
        finally:
            plain.close()

    def _secured(self, plain: socket.socket, end: float) -> ssl.SSLSocket:
        try:
            plain.settimeout(_left(end))
            return self.context().wrap_socket(plain, server_hostname=self.host)
        except ssl.SSLCertVerificationError:
            raise Undelivered(UNTRUSTED) from None


@dataclass(frozen=True, kw_only=True)
class UdpRepository:
    """syslog-udp://host:port. Nothing tells whether a datagram arrives; a host may tell that nobody listens."""

    host: str
    port: int

    @property
    def name(self) -> str:
        return f"syslog-udp://{_bracketed(self.host)}:{self.port}"

    def send(self, messages: Sequence[bytes]) -> None:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        except socket.gaierror:
            raise Undelivered(UNKNOWN_HOST) from None
        with socket.socket(family, kind, protocol) as datagrams:
            try:
                datagrams.connect(address)  # so that an ICMP "port unreachable" is told to us, by the next call
                for message in messages:
                    datagrams.send(message)
            except OSError as error:
                raise Undelivered(TOO_LONG if error.errno == errno.EMSGSIZE else NO_CONNECTION) from None


def _connect(host: str, port: int, seconds: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=seconds)
    except socket.gaierror:
        raise Undelivered(UNKNOWN_HOST) from None
    except OSError:
        raise Undelivered(NO_CONNECTION) from None


def _write(connection: ssl.SSLSocket, left: memoryview, end: float) -> None:
    while left:
        connection.settimeout(_left(end))
        left = left[connection.send(left[:16384]) :]  # a record at a time


def _close(connection: ssl.SSLSocket, end: float) -> None:
    """Our close_notify, and the peer's. Raises Undelivered where it ends without."""
    connection.settimeout(_left(end))
    try:
        connection.unwrap()
    except (ssl.SSLEOFError, ssl.SSLSyscallError, ConnectionError):
        raise Undelivered(NOT_CLOSED) from None
    except OSError as error:
        if isinstance(error, (TimeoutError, ssl.SSLError)):
            raise
        raise Undelivered(NOT_CLOSED) from None  # Python 3.11: an end without close_notify is OSError(0)


def _left(end: float) -> float:
    """Raises TimeoutError where nothing is."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
