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
from dataclasses import dataclass, field
from datetime import UTC, datetime

from standardwebhooks import Webhook

from worker.channels.faults import code_of
from worker.errors import Undelivered

TIMEOUT = 10.0
"""Seconds for each answer of the server."""


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
        request = urllib.request.Request(address.url, data=body.encode(), headers=headers)
        with _opener().open(request, timeout=TIMEOUT) as answer:
            status = int(answer.status)
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
