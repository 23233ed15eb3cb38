"""A RIS for results: an MLLP receiver that is strict about frames, and answers as a test wants it to."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
LOST, SILENT, GARBAGE, OTHERS, DRIPPING, NO_END = "lost", "silent", "garbage", "others", "dripping", "no end"
"""Answers beside codes such as AA or `AE 204`: the message is kept, and no acknowledgement comes, nothing comes and the
connection stays, something else comes, one of another message comes before, it comes byte by byte, or it never ends."""


@dataclass(kw_only=True)
class Ris:
    port: int
    answers: list[str] = field(default_factory=list)
    """To the next messages, first one first; then AA."""
    came: list[bytes] = field(default_factory=list)
    """Every message, in order, a second sending too."""
    faults: list[str] = field(default_factory=list)
    """What was wrong with a frame."""
    asked: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None
    goodbyes: int = 0
    """How many connections over TLS ended with close_notify (RFC 8446 6.1)."""

    @property
    def kept(self) -> dict[str, bytes]:
        """As a receiver keeps them that drops what it has: by message control ID."""
        return {control_id(message): message for message in self.came}

    def serve(self, plain: socket.socket, stop: threading.Event) -> None:
        connection = plain
        with plain, suppress(OSError):
            if self.tls:
                connection = self.tls.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
            self._serve(connection, stop)
        connection.close()

    def _serve(self, connection: socket.socket, stop: threading.Event) -> None:
        received = b""
        while more := connection.recv(65536):
            received += more
            if received[-2:] == FS + CR:
                break
        else:
            return
        message = self._unframed(received)
        self.came.append(message)
        self.asked.set()
        self._answer(connection, message, stop)

    def _unframed(self, frame: bytes) -> bytes:
        content = frame[1:-2]
        for wrong, fault in (
            (not frame.startswith(VT), "no VT before the message"),
            (VT in content or FS in content, "a frame's byte in the message"),
            (not content.startswith(b"MSH|^~\\&|"), "no MSH"),
            (not content.endswith(CR), "the last segment does not end"),
            (b"\n" in content, "a line feed"),
        ):
            if wrong:
                self.faults.append(fault)
        return content

    def _answer(self, connection: socket.socket, message: bytes, stop: threading.Event) -> None:
        answer, known = self.answers.pop(0) if self.answers else "AA", control_id(message)
        if answer == LOST:
            return
        if answer == SILENT:
            stop.wait(60)
        elif answer == GARBAGE:
            connection.sendall(VT + b"220 mail.test ESMTP\r\n" + FS + CR)
        elif answer == NO_END:
            while not stop.is_set():
                connection.sendall(VT + b"MSH|" + b"x" * 4096)
        elif answer == OTHERS:
            connection.sendall(acknowledgement("AA", "another") + acknowledgement("AA", known))
        elif answer == DRIPPING:
            for byte in acknowledgement("AA", known):
                connection.sendall(bytes([byte]))
        else:
            code, _, error = answer.partition(" ")
            connection.sendall(acknowledgement(code, known, error))
        with suppress(OSError):
            connection.recv(1)  # until the sender closes
            self.goodbyes += self.tls is not None


def control_id(message: bytes) -> str:
    return message.split(CR)[0].split(b"|")[9].decode()


def acknowledgement(code: str, known: str, error: str = "") -> bytes:
    """In its frame."""
    segments = [b"MSH|^~\\&|RIS||XRAYQ||20261128||ACK^R01^ACK|1|P|2.5.1", f"MSA|{code}|{known}".encode()]
    if error:
        segments.append(f"ERR||PID^1^3|{error}^Patient Doe^Jane is unknown^HL70357|E".encode())
    return VT + b"".join(segment + CR for segment in segments) + FS + CR


@contextmanager
def ris(port: int, *answers: str, tls: ssl.SSLContext | None = None) -> Iterator[Ris]:
    """It listens until the block ends."""
    found, stop = Ris(port=port, answers=list(answers), tls=tls), threading.Event()
    server = socket.create_server(("127.0.0.1", port))
    threads: list[threading.Thread] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=found.serve, args=(server.accept()[0], stop)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield found
    finally:
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        accepting.join()
        for thread in threads:
            thread.join()
    assert not found.faults
