"""`/metrics`, `/healthz` and `/readyz` of one process, over plain HTTP, for Prometheus and for health checks."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from worker.bearer import CHALLENGE, NamedToken, bearer
from worker.health.probes import Check

log = logging.getLogger("xrayq.http")

MOST_REQUESTS = 8
UNSAID = "told with XRAYQ_HTTP_TOKEN alone"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    content_type: str
    body: bytes


Page = Callable[[], Answer]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What stands under a path."""

    page: Page
    """For whoever may ask."""
    to_all: Page | None = None
    """For everybody else; None: nothing."""


@dataclass(frozen=True, kw_only=True)
class Askers:
    """Who may ask."""

    token: str = field(default="", repr=False)
    """Everybody who shows it; "": nobody has one."""
    all: bool = False
    """Everybody: only this machine reaches us."""

    def include(self, authorization: str) -> bool:
        if not self.token:
            return self.all
        return bearer([NamedToken(name="asker", token=self.token)], authorization) is not None


THIS_MACHINE = Askers(all=True)


class Endpoint(ThreadingMixIn, TCPServer):
    """Serves `pages` by path from `start` to the end of the process. At most MOST_REQUESTS at once."""

    allow_reuse_address = daemon_threads = True
    request_seconds = 10.0
    """For a whole request, from the connection to the last byte of the answer."""
    request_queue_size = 32

    def __init__(self, host: str, port: int, pages: Mapping[str, Shown], askers: Askers = THIS_MACHINE) -> None:
        """Binds. Raises OSError when that is not possible.

        Args:
            port: 0 lets the system choose.
        """
        self.pages = dict(pages)
        self.askers = askers
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, name="http", daemon=True).start()

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError:  # out of descriptors: the waiting peer would be looked at again at once, and again
            time.sleep(0.1)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread to be had
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A peer that sends a byte now and then would never meet the socket's time-out.
        deadline = threading.Timer(self.request_seconds, _shut, (request,))
        deadline.daemon = True
        try:
            deadline.start()
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self.shutdown_request(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away. Nothing to say, least of all its address."""


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    server_version, sys_version = "xrayq", ""

    def do_GET(self) -> None:
        shown = self.server.pages.get(self.path.partition("?")[0])
        if shown is None:
            self._send(text_answer(404, f"not found; here are {', '.join(self.server.pages)}"))
            return
        trusted = self.server.askers.include(self.headers.get("Authorization", ""))
        page = shown.page if trusted else shown.to_all
        if page is None:
            self._send(text_answer(401, "for who shows the bearer token of XRAYQ_HTTP_TOKEN"))
            return
        try:
            answer = page()
        except Exception as error:  # noqa: BLE001 - the thread's edge: a page that fails is a line in the log
            log.error("page failed", extra={"reason": type(error).__name__})
            answer = text_answer(500, "failed, see the log")
        self._send(answer)

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """http.server's own refusals, without the words of the request; a method it does not find here is 405."""
        del message, explain
        self.close_connection = True
        self._send(text_answer(405 if code == 501 else code, "refused"))

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status == 401:
            self.send_header("WWW-Authenticate", CHALLENGE)
        if answer.status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


def metrics_page(registry: CollectorRegistry) -> Shown:
    return Shown(page=lambda: Answer(status=200, content_type=CONTENT_TYPE_LATEST, body=generate_latest(registry)))


def probe_page(role: str, installation: str, probe: Callable[[], list[Check]]) -> Shown:
    """200 when every needed check is well, else 503; as JSON either way. To all it is without the checks' words.

    Args:
        installation: tells apart whose gateway, relay or worker this is.
    """

    def page(*, words: bool) -> Answer:
        checks = probe()
        ok = not any(check.stops for check in checks)
        said = [asdict(check if words else replace(check, text=UNSAID)) for check in checks]
        content = {"role": role, "installation": installation, "ok": ok, "checks": said}
        body = json.dumps(content, indent=2).encode() + b"\n"
        return Answer(status=200 if ok else 503, content_type="application/json", body=body)

    return Shown(page=lambda: page(words=True), to_all=lambda: page(words=False))


def text_answer(status: int, text: str) -> Answer:
    return Answer(status=status, content_type="text/plain; charset=utf-8", body=text.encode() + b"\n")


def serve(
    role: str, host: str, port: int, pages: Mapping[str, Shown], askers: Askers = THIS_MACHINE
) -> Endpoint | None:
    """Start it. A process whose port is taken works without: that is logged, and its health check finds nobody."""
    if not port:
        return None
    try:
        endpoint = Endpoint(host, port, pages, askers)
    except OSError as error:
        log.error(
            f"no metrics and no health check: cannot listen on {host}:{port}; set XRAYQ_{role.upper()}_HTTP_PORT",
            extra={"role": role, "port": port, "reason": error.strerror or type(error).__name__},
        )
        return None
    endpoint.start()
    if not (askers.token or askers.all):
        log.warning("no metrics, and health without words: set XRAYQ_HTTP_TOKEN, for others reach us too")
    log.info("metrics and health", extra={"role": role, "port": endpoint.port})
    return endpoint


def _shut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
