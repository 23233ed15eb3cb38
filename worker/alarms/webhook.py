"""Alarms posted to a URL, signed so that the receiver knows who sent them and when.

    X-Xrayq-Signature: t=1764000000,v1=<hex HMAC-SHA256 of "1764000000." + body under the shared secret>
    Idempotency-Key: <the same for every attempt of one message>

A receiver computes the same, compares in constant time, refuses a `t` that is minutes old, and does a known key once
(the key's header: draft-ietf-httpapi-idempotency-key-header).
"""

import hashlib
import hmac
import http.client
import json
import ssl
import time
import urllib.request
from dataclasses import dataclass, field

from worker.alarms.change import Change
from worker.alarms.faults import code_of
from worker.errors import Undelivered

TIMEOUT = 10.0
"""Seconds for each answer of the server."""
SIGNATURE = "X-Xrayq-Signature"


@dataclass(frozen=True, kw_only=True)
class WebhookOptions:
    url: str = field(repr=False)
    """http or https. Many services put a secret into it."""
    secret: str = field(repr=False)
    site: str


def send(options: WebhookOptions, change: Change) -> int:
    """Post the message as JSON. Any answer but 2xx, a redirect too, raises Undelivered."""
    body = json.dumps(change.message(options.site)).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "xrayq",
        "Idempotency-Key": change.identity(options.site),
        SIGNATURE: sign(options.secret, body, int(time.time())),
    }
    try:
        request = urllib.request.Request(options.url, data=body, headers=headers)
        with _opener().open(request, timeout=TIMEOUT) as answer:
            status = int(answer.status)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: not a URL
        raise Undelivered(code_of(error)) from None
    if not 200 <= status < 300:
        raise Undelivered(f"http_{status}")
    return 0


def sign(secret: str, body: bytes, at: int) -> str:
    """The header's value at a Unix time."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _opener() -> urllib.request.OpenerDirector:
    """Without the handlers that follow redirects, open files, or turn a status into an exception."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
