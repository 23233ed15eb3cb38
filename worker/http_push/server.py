"""The listener for pushes by web: one thread with an event loop, from `start` to `stop`.

As the DICOM acceptor does it, who is not let in yet gives way where too many come.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections import Counter
from dataclasses import dataclass

from uvicorn.config import Config

from dicom_gateway.errors import CannotListen
from dicom_gateway.few_lines import FewLines
from dicom_gateway.observer import NO_TLS, tell
from dicom_gateway.tls import Followed
from worker.http_push.app import PushApp
from worker.http_push.connection import PushConnection

log = logging.getLogger("xrayq.push")

MOST_CONNECTIONS = 64
"""One over TLS costs about .5 MB."""
HANDSHAKE_SECONDS, SHUTDOWN_SECONDS = 10.0, 5.0
LARGEST_HEAD = 16 << 10
"""Bytes of a request's line and headers."""


@dataclass(kw_only=True, eq=False)
class OpenPeer:
    """One connection, from its first moment."""

    address: str
    connection: PushConnection | None = None
    """None during the TLS handshake."""

    @property
    def admitted(self) -> bool:
        return self.connection is not None and self.connection.admitted


class PushServer:
    """Serves `app`."""

    def __init__(self, host: str, port: int, app: PushApp, *, tls: Followed | None) -> None:
        self._host = host
        self._port = port
        self._app = app
        self._tls = tls
        self._config = Config(
            app,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._few = FewLines(log)
        self._stop = asyncio.Event()
        self._grace = 0.0
        self._open: dict[asyncio.Task[None], OpenPeer] = {}
        """Oldest first."""

    @property
    def port(self) -> int:
        """The bound TCP port."""
        assert self._listener
        return int(self._listener.getsockname()[1])

    @property
    def listening(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Bind and listen. Raises CannotListen."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._listener = socket.create_server((self._host, self._port), family=family, backlog=128)
        except OSError as error:
            raise CannotListen(self._host, self._port, error) from error
        self._listener.setblocking(False)
        self._config.load()
        begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(begun)), name="push", daemon=True)
        self._thread.start()
        begun.wait()

    def stop(self, grace: float = 10.0) -> None:
        """Refuse new peers, let running requests end for up to `grace` seconds, then close what is left."""
        self._grace = grace
        if self._loop and self._thread:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(grace + 5)
        self._app.close()

    async def _serve(self, begun: threading.Event) -> None:
        assert self._listener
        self._loop = asyncio.get_running_loop()
        begun.set()
        accepting = asyncio.create_task(self._accept(self._listener))
        await asyncio.wait([accepting, asyncio.create_task(self._stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        self._listener.close()
        for task, peer in list(self._open.items()):
            if not peer.admitted:
                task.cancel()
        if self._open:
            await asyncio.wait(list(self._open), timeout=self._grace)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, (address, *_) = await loop.sock_accept(listener)
            except OSError:
                log.warning("cannot accept connections: out of file descriptors?")
                await asyncio.sleep(0.1)
                continue
            if len(self._open) >= MOST_CONNECTIONS and not await self._make_room():
                self._few.warning("connection refused", extra={"peer": address, "reason": "too many peers"})
                connection.close()
                continue
            peer = OpenPeer(address=address)
            task = asyncio.create_task(self._hold(connection, peer))
            self._open[task] = peer
            task.add_done_callback(self._open.pop)

    async def _make_room(self) -> bool:
        """The oldest connection that is not admitted gives way, of the address that has most of them."""
        waiting = {task: peer.address for task, peer in self._open.items() if not peer.admitted}
        if not waiting:
            return False
        ((busiest, _),) = Counter(waiting.values()).most_common(1)
        oldest = next(task for task, address in waiting.items() if address == busiest)
        oldest.cancel()
        await asyncio.wait([oldest])  # a burst is accepted without a pause: nobody else's turn would come
        return True

    async def _hold(self, connection: socket.socket, peer: OpenPeer) -> None:
        """The connection, from its handshake to its end."""
        loop = asyncio.get_running_loop()
        tls = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
        try:
            transport, made = await loop.connect_accepted_socket(
                lambda: PushConnection(self._config, peer.address),
                connection,
                ssl=self._tls.context() if self._tls else None,
                **(tls if self._tls else {}),
            )
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            self._few.warning("no connection", extra={"peer": peer.address, "reason": reason})
            # A peer that closes first is neither; asyncio aborts the connection of one that is too slow.
            if isinstance(error, ssl.SSLError | ConnectionAbortedError):
                tell(self._app.observer.rejected, "", NO_TLS, peer.address)
            connection.close()
            return
        peer.connection = made
        try:
            await made.closed.wait()
        finally:
            transport.abort()
