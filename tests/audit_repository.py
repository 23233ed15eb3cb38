"""An audit repository: a syslog receiver over TLS that is strict about frames, and behaves as a test wants it to."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from dicom_gateway.tls import Clients, TlsOptions, server_context
from tests.certificates import Authority
from tests.services import free_port

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("schemas") / "audit_message.rng"))
DIES, HANGS, DRIPS, NO_CLOSE = "dies", "hangs", "drips", "no close"
"""What it does with the next connection: it ends in the middle of it without a word, reads nothing and stays, gives the
handshake byte by byte and never ends, or reads all and hangs up without its own close_notify."""


def valid(xml: bytes | str) -> bool:
    return bool(SCHEMA.validate(etree.fromstring(xml)))


def xml_of(message: bytes) -> etree._Element:
    """The audit message in a syslog message."""
    return etree.fromstring(message.partition(b"\xef\xbb\xbf")[2])


@dataclass(kw_only=True)
class AuditRepository:
    port: int
    does: list[str] = field(default_factory=list)
    """With the next connections, first one first; then it takes everything."""
    came: list[bytes] = field(default_factory=list)
    """Every message, in order, a second sending too."""
    connections: int = 0

    def events(self) -> list[str]:
        """What the messages are about, in words of the standard."""
        return [str(xml_of(message).xpath("string(//EventID/@originalText)")) for message in self.came]

    def serve(self, plain: socket.socket, context: ssl.SSLContext, stop: threading.Event) -> None:
        self.connections += 1
        does = self.does.pop(0) if self.does else ""
        with plain, suppress(OSError):
            if does == HANGS:
                stop.wait()
                return
            if does == DRIPS:
                while not stop.wait(0.05):
                    plain.sendall(b"\x16")  # the first byte of a handshake record, and then more of them
                return
            with context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as secure:
                received = b""
                while more := secure.recv(65536):
                    received += more
                    if does == DIES:
                        return
                self._take(received)
                if does != NO_CLOSE:
                    secure.unwrap()

    def _take(self, received: bytes) -> None:
        """Frames of RFC 5425: length, space, message."""
        while received:
            length, space, rest = received.partition(b" ")
            assert space
            assert length.isdigit()
            assert not length.startswith(b"0")
            self.came.append(rest[: int(length)])
            received = rest[int(length) :]


@contextmanager
def audit_repository(
    authority: Authority, *, name: str = "repository", clients: Clients = Clients.CERTIFIED
) -> Iterator[AuditRepository]:
    """Listens until the block ends."""
    shown = authority.issue(name)
    context = server_context(
        TlsOptions(certificate=shown.certificate, key=shown.key, authorities=authority.file, clients=clients)
    )
    found, stop = AuditRepository(port=free_port()), threading.Event()
    with socket.create_server(("127.0.0.1", found.port)) as listener:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=found.serve, args=(connection, context, stop), daemon=True).start()

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        try:
            yield found
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            listening.join(30)
