"""The Storage SCP's listener: one thread for each connected peer, asleep while the peer is.

Hundreds of idle peers are normal in a hospital. A sleeping thread costs about 160 kB (measured with 990) and no
processor time, and no peer, however slow or silent, stands in another's way.
"""

import contextlib
import ctypes
import logging
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from dicom_gateway.association import Association
from dicom_gateway.commitment import CommitmentReport
from dicom_gateway.committing import Keep
from dicom_gateway.errors import CannotListen
from dicom_gateway.few_lines import FewLines
from dicom_gateway.negotiation import Reject
from dicom_gateway.observer import NO_PLACE, PEER_LIMIT, UNKNOWN_LIMIT, Observer, tell
from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.peers import EVERYBODY, Connected, Entry, Standing
from dicom_gateway.spool import Spool
from dicom_gateway.tls import Followed, server_tls
from dicom_gateway.tls_wire import TlsWire
from dicom_gateway.wire import Wire

log = logging.getLogger("xrayq.gateway")

SPARE_CONNECTIONS = 200  # connections beyond max_associations that may still ask, so as to be rejected politely
THREAD_STACK = 512 << 10
M_MMAP_THRESHOLD, MAPPED_FROM = -3, 64 << 10


class Gateway:
    """Listens from `start` to `stop`."""

    def __init__(
        self,
        options: GatewayOptions,
        spool: Spool,
        accept: Callable[[Received | OtherObject], None],
        observer: Observer | None = None,
        asked: Keep | None = None,
        committed: Callable[[CommitmentReport, str], None] | None = None,
        standing: Callable[[Connected], Standing] | None = None,
    ) -> None:
        """
        Args:
            accept: called from many threads with each durable film, and each other object, once for each C-STORE. It
                returns when that is committed, or raises a Refusal that becomes the C-STORE's status.
            observer: is told what associations do.
            asked: called with what a peer wants us to commit to (N-ACTION). Only when it returns success is answered;
                it raises RequestRefusal else. None: storage commitment is not served.
            committed: called with what a peer reports of objects that it was asked to commit to (N-EVENT-REPORT), and
                with its AE title. Only when it returns success is answered; it raises ReportRefusal else. None: no such
                report is taken.
            standing: asked once for each association, and answers at once: how its peer stands with us. None: everybody
                may do everything.
        """
        self._options = options
        self._spool = spool
        self._accept = accept
        self._committed = committed
        self._asked = asked
        self._standing = standing or (lambda _: EVERYBODY)
        self._observer = observer or Observer()
        self._few_lines = FewLines(log)
        self._threads: list[threading.Thread] = []
        self._plain: socket.socket | None = None
        self._secure: socket.socket | None = None
        self._tls: Followed | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[Association, socket.socket] = {}
        self._asking: dict[Association, str] = {}
        """Those that are not let in yet, and their addresses; oldest first."""
        self._established = 0
        self._of_peer: Counter[str] = Counter()
        """Of these, by calling AE title; of known peers alone."""
        self._quarantined = 0
        """Of these, of peers whose films go into quarantine."""

    @property
    def port(self) -> int:
        """The bound TCP port without TLS."""
        return _port_of(self._plain)

    @property
    def tls_port(self) -> int:
        """The bound TCP port with TLS."""
        return _port_of(self._secure)

    @property
    def established(self) -> int:
        """Open associations."""
        return self._established

    @property
    def listening(self) -> bool:
        alive = bool(self._threads) and all(thread.is_alive() for thread in self._threads)
        return alive and not self._stopping.is_set()

    def start(self) -> None:
        """Bind and listen. Raises CannotListen, and BadCertificate where TLS is asked for and cannot be."""
        _allow_descriptors(4 * (self._options.max_associations + SPARE_CONNECTIONS))
        _give_memory_back()
        options = self._options
        if options.tls_port is not None:
            assert options.tls is not None
            self._tls = server_tls(options.tls)
            self._secure = _bound(options.host, options.tls_port)
        if options.port is not None:
            self._plain = _bound(options.plain_host or options.host, options.port)
        for listener in self._listeners:
            thread = threading.Thread(target=self._listen, args=(listener,), name="listener", daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    @property
    def _listeners(self) -> list[socket.socket]:
        return [listener for listener in (self._plain, self._secure) if listener]

    def stop(self, grace: float = 10.0) -> None:
        """Refuse new peers, let running messages end for up to `grace` seconds, then close what is left."""
        self._stopping.set()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone does not
            listener.close()
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(association.in_message for association in self._snapshot()):
            time.sleep(0.02)
        for association, connection in self._snapshot().items():
            log.debug("closing", extra={"calling_ae": association.calling_ae})
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _snapshot(self) -> dict[Association, socket.socket]:
        with self._lock:
            return dict(self._open)

    def _listen(self, listener: socket.socket) -> None:
        threading.stack_size(THREAD_STACK)
        while not self._stopping.is_set():
            try:
                connection, (address, *_) = listener.accept()
            except OSError:
                if self._stopping.is_set():
                    return
                log.warning("cannot accept connections: out of file descriptors?")
                time.sleep(0.1)
                continue
            if len(self._open) >= self._options.max_associations + SPARE_CONNECTIONS and not self._make_room():
                self._refuse(connection, address, "too many peers")
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                arguments = (connection, address, listener is self._secure)
                threading.Thread(target=self._serve, args=arguments, daemon=True).start()
            except RuntimeError:
                self._refuse(connection, address, "no more threads")

    def _make_room(self) -> bool:
        """The longest-waiting peer that is not let in yet gives way, of the address that has most of them.

        Who asks is let in or rejected within milliseconds. So many waiting are one host's, and its own oldest one goes.
        """
        with self._lock:
            if not self._asking:
                return False
            ((address, _),) = Counter(self._asking.values()).most_common(1)
            oldest = next(association for association, place in self._asking.items() if place == address)
            del self._asking[oldest]
            connection = self._open.pop(oldest)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # its own thread closes it
        self._note_refused(address, "too many peers wait, most of them from this address")
        return True

    def _refuse(self, connection: socket.socket, address: str, why: str) -> None:
        connection.close()
        self._note_refused(address, why)

    def _note_refused(self, address: str, why: str) -> None:
        log.warning("connection refused", extra={"peer": address, "reason": why})
        tell(self._observer.rejected, "", NO_PLACE, address)

    def _wire(self, connection: socket.socket, tls: bool) -> Wire:
        timeout = self._options.network_timeout
        return TlsWire(connection, timeout, self._tls.context()) if tls and self._tls else Wire(connection, timeout)

    def _serve(self, connection: socket.socket, address: str, tls: bool) -> None:
        admitted, quarantined, title = False, False, ""

        def admit(connected: Connected, standing: Standing) -> str:
            nonlocal admitted, quarantined, title
            most, strange = standing.most_associations, standing.entry is Entry.QUARANTINED
            with self._lock:
                asked = self._asking.pop(association, None)  # None: it had to give way
                if asked is None or self._established >= self._options.max_associations:
                    return Reject.LOCAL_LIMIT.name
                if most is not None and self._of_peer[connected.calling_ae] >= most:
                    return PEER_LIMIT
                if strange and self._quarantined >= self._options.max_quarantined:
                    return UNKNOWN_LIMIT
                admitted, quarantined, title = True, strange, connected.calling_ae if standing.peer else ""
                self._established += 1
                self._quarantined += strange
                if title:
                    self._of_peer[title] += 1
            return ""

        association = Association(
            self._wire(connection, tls),
            address=address,
            options=self._options,
            spool=self._spool,
            accept=self._accept,
            asked=self._asked,
            committed=self._committed,
            standing=self._standing,
            admit=admit,
            stopping=self._stopping.is_set,
            observer=self._observer,
            few_lines=self._few_lines,
        )
        with self._lock:
            self._open[association] = connection
            self._asking[association] = address
        try:
            association.serve()
        finally:
            with self._lock:
                self._open.pop(association, None)
                self._asking.pop(association, None)
                self._established -= admitted
                self._quarantined -= quarantined
                if title:
                    self._of_peer[title] -= 1


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512, reuse_port=False)
    except OSError as error:
        raise CannotListen(host, port, error) from error


def _port_of(listener: socket.socket | None) -> int:
    if listener is None:
        raise RuntimeError("the gateway does not listen there")
    return int(listener.getsockname()[1])


def _allow_descriptors(wanted: int) -> None:
    """Raise the soft limit of open files as far as needed and allowed: each peer takes a socket, sometimes a film."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _give_memory_back() -> None:
    """So that what associations held leaves the process with them.

    An association's buffers are 128 KiB. glibc begins to take such ones from its heap, where one small block above them
    keeps all: after 500 peers over TLS 276 MB stayed of 334, so they stay apart (185 MB).
    """
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_FROM)
