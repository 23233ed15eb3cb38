"""One deadline for each mail and each post: all of it is over by then, and nothing goes on behind it."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from worker.bounded import within

TIMEOUT = 10.0
"""Seconds without a byte of the server."""
TOTAL = 30.0
"""Seconds for all of it: a server that sends a byte now and then does not hold up what waits behind it. Far below every
lease (`SendOptions.lease_seconds`, `alarms.deliver.LEASE_SECONDS`)."""

T = TypeVar("T")


class Connections:
    """Second handles of connections that are open, by which another thread can end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._over = False

    def keep(self, connection: socket.socket) -> None:
        """Raises TimeoutError where the deadline has passed, and closes it."""
        with self._lock:
            if self._over:
                connection.close()
                raise TimeoutError
            self._handles.append(socket.socket(fileno=os.dup(connection.fileno())))  # `dup` of one over TLS raises

    def shut(self) -> None:
        with self._lock:
            self._over = True
            for handle in self._handles:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Our handles: the connections themselves are whoever's who opened them."""
        with self._lock:
            while self._handles:
                self._handles.pop().close()


def in_time(seconds: float, ask: Callable[[Connections], T]) -> T:
    """What `ask` returns. Raises what it raises, or TimeoutError after so many seconds: its connections are ended."""
    connections = Connections()

    def asked() -> T:
        try:
            return ask(connections)
        finally:
            connections.close()

    try:
        return within(seconds, asked)
    except TimeoutError:
        connections.shut()
        raise
