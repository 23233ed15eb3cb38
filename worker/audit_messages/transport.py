"""How syslog messages get to the site's audit repository: over TLS (RFC 5425) or by UDP (RFC 5426).

Neither protocol has an acknowledgement. Over TLS each batch has a connection of its own (`closing_tls`), and counts as
taken when the repository has read it to its end. A repository that died, hung up or fell silent before that gets the
batch again. What it read and lost afterwards is lost there, and so is any datagram.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.audit_messages.closing_tls import ClosingTls
from worker.errors import Undelivered

NO_CONNECTION, UNKNOWN_HOST, HUNG_UP, NO_ANSWER = "no_connection", "unknown_host", "hung_up", "no_answer"
UNTRUSTED, NO_TLS, TOO_LONG = "untrusted", "no_tls", "too_long"
WORDS = {
    NO_CONNECTION: "nothing listens there, or it does not answer",
    UNKNOWN_HOST: "no host of this name",
    HUNG_UP: "it hung up before it had everything",
    NO_ANSWER: "it took the connection and fell silent, or takes too little at a time",
    UNTRUSTED: "no authority in XRAYQ_TLS_AUTHORITIES signed its certificate, or it expired, or names another host",
    NO_TLS: "the TLS handshake failed: it may not trust our certificate (XRAYQ_TLS_CERTIFICATE), or speak no TLS",
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
    """For the connection, and then for the batch as a whole."""

    @property
    def name(self) -> str:
        return f"syslog-tls://{_bracketed(self.host)}:{self.port}"

    def send(self, messages: Sequence[bytes]) -> None:
        try:
            with socket.create_connection((self.host, self.port), timeout=self.seconds) as plain:
                self._send(plain, messages)
        except socket.gaierror:
            raise Undelivered(UNKNOWN_HOST) from None
        except OSError:
            raise Undelivered(NO_CONNECTION) from None

    def _send(self, plain: socket.socket, messages: Sequence[bytes]) -> None:
        try:
            secure = ClosingTls(plain, self.context(), self.host, seconds=self.seconds)
            for message in messages:
                secure.write(b"%d %b" % (len(message), message))  # a frame of RFC 5425 4.3
            secure.close()
        except ssl.SSLCertVerificationError:
            raise Undelivered(UNTRUSTED) from None
        except TimeoutError:
            raise Undelivered(NO_ANSWER) from None
        except ssl.SSLError:  # among them the alert by which TLS 1.3 says that it wants another certificate of us
            raise Undelivered(NO_TLS) from None
        except OSError:
            raise Undelivered(HUNG_UP) from None


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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
