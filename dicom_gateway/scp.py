"""The Storage SCP's listener: one thread for each connected peer, asleep while the peer is.

Hundreds of idle peers are normal in a hospital. A sleeping thread costs some tens of kilobytes and no processor time,
and no peer, however slow or silent, stands in another's way.
"""

import contextlib
import logging
import resource
import socket
import threading
import time
from collections.abc import Callable

from dicom_gateway.association import Association
from dicom_gateway.observer import Observer
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.spool import Spool

log = logging.getLogger("xrayq.gateway")

SPARE_CONNECTIONS = 200  # connections beyond max_associations that may still ask, so as to be rejected politely
THREAD_STACK = 512 << 10


class Gateway:
    """Listens from `start` to `stop`."""

    def __init__(
        self,
        options: GatewayOptions,
        spool: Spool,
        accept: Callable[[Received], None],
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            accept: called from many threads with each durable instance, once for each C-STORE. It returns when the
                instance is committed, or raises a Refusal that becomes the C-STORE's status.
            observer: is told what associations do.
        """
        self._options = options
        self._spool = spool
        self._accept = accept
        self._observer = observer or Observer()
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[Association, socket.socket] = {}
        self._established = 0

    @property
    def port(self) -> int:
        """The bound TCP port."""
        if self._listener is None:
            raise RuntimeError("the gateway is not listening")
        return int(self._listener.getsockname()[1])

    @property
    def established(self) -> int:
        """Open associations."""
        return self._established

    @property
    def listening(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Bind and listen. Raises OSError when the port is taken."""
        _allow_descriptors(4 * (self._options.max_associations + SPARE_CONNECTIONS))
        family = socket.AF_INET6 if ":" in self._options.host else socket.AF_INET
        self._listener = socket.create_server(
            (self._options.host, self._options.port), family=family, backlog=512, reuse_port=False
        )
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 10.0) -> None:
        """Refuse new peers, let running messages end for up to `grace` seconds, then close what is left."""
        self._stopping.set()
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone does not
            self._listener.close()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(one.in_message for one in self._snapshot()):
            time.sleep(0.02)
        for association, connection in self._snapshot().items():
            log.debug("closing", extra={"calling_ae": association.calling_ae})
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _snapshot(self) -> dict[Association, socket.socket]:
        with self._lock:
            return dict(self._open)

    def _listen(self) -> None:
        threading.stack_size(THREAD_STACK)
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()  # type: ignore[union-attr]
            except OSError:
                if self._stopping.is_set():
                    return
                log.warning("cannot accept connections: out of file descriptors?")
                time.sleep(0.1)
                continue
            if len(self._open) >= self._options.max_associations + SPARE_CONNECTIONS:
                log.warning("connection refused: too many peers")
                connection.close()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:
                log.warning("connection refused: no more threads")
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        admitted = False

        def admit() -> bool:
            nonlocal admitted
            with self._lock:
                admitted = self._established < self._options.max_associations
                self._established += admitted
            return admitted

        association = Association(
            connection,
            options=self._options,
            spool=self._spool,
            accept=self._accept,
            admit=admit,
            stopping=self._stopping.is_set,
            observer=self._observer,
        )
        with self._lock:
            self._open[association] = connection
        try:
            association.serve()
        finally:
            with self._lock:
                del self._open[association]
                self._established -= admitted


def _allow_descriptors(wanted: int) -> None:
    """Raise the soft limit of open files as far as needed and allowed: each peer takes a socket, sometimes a film."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
