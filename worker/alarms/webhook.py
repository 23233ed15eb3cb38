"""Alarms posted to a URL, signed."""

import json
from dataclasses import dataclass

from worker.alarms.change import Change
from worker.channels.signed_post import WebAddress, post


@dataclass(frozen=True, kw_only=True)
class WebhookOptions:
    address: WebAddress
    site: str


def send(options: WebhookOptions, change: Change) -> int:
    """Post the message as JSON. Any answer but 2xx, a redirect too, raises Undelivered."""
    post(options.address, change.identity(options.site), json.dumps(change.message(options.site)))
    return 0
