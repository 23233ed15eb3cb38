"""The process: listens, and serves until it is told to stop."""

import logging
import socket
import ssl

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.types import ASGIApp

from dicom_gateway.tls import Followed
from worker.web.connection import Connection

log = logging.getLogger("xrayq.web")

LARGEST_HEAD = 16 << 10
"""Bytes of a request's line and headers."""
KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 3
MOST_REQUESTS = 256
"""Open connections, idle ones and live updates among them (uvicorn counts no requests); the next is told 503."""
THREADS = 64
"""In which pages are answered. 24 at most are held by worklists (`worklist_views`), 24 by pictures (`film_tools`)."""


class _Server(uvicorn.Server):
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        current_default_thread_limiter().total_tokens = THREADS
        await super().serve(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def following(tls: Followed) -> ssl.SSLContext:
    """A context whose connections each get the certificate that is there when they begin."""
    first = tls.context()

    def newest(connection: ssl.SSLSocket | ssl.SSLObject, *_: object) -> None:
        connection.context = tls.context()

    first.sni_callback = newest  # asked by each handshake, also where a browser names no host
    return first


def server(app: ASGIApp, tls: Followed | None = None) -> uvicorn.Server:
    """
    Args:
        tls: None: plain HTTP.
    """
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_REQUESTS,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_context_factory=(lambda *_: following(tls)) if tls else None,
    )
    return _Server(config)


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Until SIGTERM or SIGINT."""
    log.info("listening", extra={"port": listener.getsockname()[1]})
    server.run(sockets=[listener])
