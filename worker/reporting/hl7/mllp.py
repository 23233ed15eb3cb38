"""MLLP (HL7's Minimal Lower Layer Protocol, release 1) as a client: a message in a frame, and its acknowledgement.

One connection for each message. Over TLS the frames are the same (IHE ATNA, transaction ITI-19). Without it, whoever
listens to the network reads the patient's name.
"""

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from dicom_gateway.wire import connect
from worker.errors import Undelivered
from worker.reporting import faults
from worker.reporting.hl7 import acknowledgement
from worker.reporting.hl7.acknowledgement import ACCEPTED, LONGEST, Acknowledgement

START, END = b"\x0b", b"\x1c\r"
"""<VT> before a message, <FS><CR> behind it."""


def send(
    host: str,
    port: int,
    message: bytes,
    control_id: str,
    *,
    answer_seconds: float,
    total_seconds: float,
    opened: Callable[[Callable[[], None]], None] = lambda _: None,
    tls: ssl.SSLContext | None = None,
) -> Acknowledgement:
    """Send a message, and return how it was accepted.

    Args:
        control_id: MSH-10 of the message: an acknowledgement of another message is passed over.
        answer_seconds: for the connection, each write and each read.
        total_seconds: for all of it, but for the look-up of the host's name, which the system ends.
        opened: called with what ends the connection, to be called from another thread.
        tls: over TLS, as client.

    Raises Undelivered with a code of `faults`.
    """
    end = time.monotonic() + total_seconds
    try:
        connection = connect(host, port, min(answer_seconds, total_seconds))
        if tls:
            connection = tls.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
    except socket.gaierror:
        raise Undelivered(faults.UNKNOWN_HOST) from None
    except OSError:
        raise Undelivered(faults.NO_CONNECTION) from None
    with connection:
        # Not SSLSocket's own shutdown: that forgets TLS first, and what is being written would go out as plain text.
        opened(lambda: socket.socket.shutdown(connection, socket.SHUT_RDWR))
        try:
            if isinstance(connection, ssl.SSLSocket):
                _shake_hands(connection, answer_seconds, end)
            _patient(connection, answer_seconds, end)
            connection.sendall(START + message + END)
            found = _answer(connection, control_id, answer_seconds, end)
            if isinstance(connection, ssl.SSLSocket):
                _say_goodbye(connection)
        except TimeoutError:
            raise Undelivered(faults.NO_ANSWER) from None
        except ssl.SSLEOFError:
            raise Undelivered(faults.HUNG_UP) from None
        except ssl.SSLError:  # TLS 1.3: whether our certificate is good enough is said behind the handshake
            raise Undelivered(faults.NO_TLS) from None
        except OSError:
            raise Undelivered(faults.HUNG_UP) from None
    if found.code not in ACCEPTED:
        raise Undelivered(f"{faults.REFUSED}{found.code}" + (f"_{found.error}" if found.error else ""))
    return found


def _shake_hands(connection: ssl.SSLSocket, answer_seconds: float, end: float) -> None:
    """Raises Undelivered: nothing of the message was sent yet."""
    try:
        _patient(connection, answer_seconds, end)
        connection.do_handshake()
    except ssl.SSLCertVerificationError:
        raise Undelivered(faults.UNTRUSTED, nothing_arrived=True) from None
    except OSError:  # silence too: a receiver without TLS waits for the first byte of a frame
        raise Undelivered(faults.NO_TLS, nothing_arrived=True) from None


def _say_goodbye(connection: ssl.SSLSocket) -> None:
    """The alert that says that nothing follows (RFC 8446 6.1); the peer's is not waited for."""
    connection.settimeout(0)
    with suppress(OSError):
        connection.unwrap()


def _answer(connection: socket.socket, control_id: str, answer_seconds: float, end: float) -> Acknowledgement:
    """The acknowledgement of this message. Raises Undelivered where something else comes."""
    received, others = b"", 0
    while True:
        frame, rest = _frame(received)
        if frame is not None:
            found = acknowledgement.read(frame)
            if found is None:
                raise Undelivered(faults.NO_ACKNOWLEDGEMENT)
            if found.of == control_id:
                return found
            received, others = rest, others + 1
            continue
        _patient(connection, answer_seconds, end)
        try:
            more = connection.recv(4096)
        except TimeoutError:
            if others:
                raise Undelivered(faults.OTHER_MESSAGE) from None
            raise
        if not more:
            raise Undelivered(faults.OTHER_MESSAGE if others else faults.HUNG_UP)
        received += more
        if len(received) > LONGEST:
            raise Undelivered(faults.NO_ACKNOWLEDGEMENT)


def _frame(received: bytes) -> tuple[bytes | None, bytes]:
    """What stands in the first whole frame, and the bytes behind it; None where there is none yet."""
    _, start, begun = received.partition(START)
    content, stop, rest = begun.partition(END[:1])
    return (content, rest.removeprefix(END[1:])) if start and stop else (None, received)


def _patient(connection: socket.socket, seconds: float, end: float) -> None:
    """The next step has so many seconds, or what is left of them all. Raises TimeoutError where nothing is."""
    left = min(seconds, end - time.monotonic())
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
