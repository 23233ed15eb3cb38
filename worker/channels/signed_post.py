"""JSON posted to a URL, signed as Standard Webhooks has it (https://www.standardwebhooks.com).

    webhook-id: <the same for every attempt of one message>
    webhook-timestamp: 1764000000
    webhook-signature: v1,<base64 HMAC-SHA256 of "id.timestamp.body" under the shared key>

A receiver checks these with a library of that specification, which also refuses a timestamp that is minutes old, and
does nothing for an id that it has seen.
"""

import http.client
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from standardwebhooks import Webhook

from worker.channels.deadline import TIMEOUT, TOTAL, Connections, in_time
from worker.channels.faults import code_of
from worker.errors import Undelivered


@dataclass(frozen=True, kw_only=True)
class WebAddress:
    """Where to post, and what to sign with."""

    url: str = field(repr=False)
    """http or https. Many services put a secret into it."""
    key: bytes = field(repr=False)
    """See `setting_values.webhook_key`."""


def post(address: WebAddress, identity: str, body: str) -> int:
    """Post the body, and return the status, 2xx. Any other answer, a redirect too, raises Undelivered.

    Args:
        identity: the webhook-id.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "xrayq"}
    headers |= signed(address.key, identity, body, datetime.now(UTC))
    try:
        status = _status_of(urllib.request.Request(address.url, data=body.encode(), headers=headers))
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: not a URL
        raise Undelivered(code_of(error)) from None
    if not 200 <= status < 300:
        raise Undelivered(f"http_{status}")
    return status


def signed(key: bytes, identity: str, body: str, at: datetime) -> dict[str, str]:
    """The three headers of the specification. `at` is in UTC."""
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(identity, at, body),
    }


def _status_of(request: urllib.request.Request) -> int:
    """Raises TimeoutError after TOTAL seconds, whatever came until then; the connection is closed."""

    def ask(connections: Connections) -> int:
        with _opener(connections).open(request, timeout=TIMEOUT) as answer:
            return int(answer.status)

    return in_time(TOTAL, ask)


class _Kept(http.client.HTTPConnection):
    """Puts a second handle of its connection where another thread can shut it, before TLS begins."""

    connections: Connections

    def connect(self) -> None:
        super().connect()
        self.connections.keep(self.sock)


class _KeptTls(http.client.HTTPSConnection, _Kept):
    """`HTTPSConnection.connect` begins with that of the next class, `_Kept`."""


class _Http(urllib.request.HTTPHandler):
    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_kept(_Kept, self._connections), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        made = _kept(partial(_KeptTls, context=ssl.create_default_context()), self._connections)
        return self.do_open(made, request)


def _kept(kind: Callable[..., _Kept], connections: Connections) -> Callable[..., _Kept]:
    def make(host: str, **options: Any) -> _Kept:
        made = kind(host, **options)
        made.connections = connections
        return made

    return make


def _opener(connections: Connections) -> urllib.request.OpenerDirector:
    """Without the handlers that follow redirects, open files, or turn a status into an exception."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(connections),
        _Https(connections),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
