"""An answer that ends its connection, also where the peer still sends: else it might never see it (RFC 9112 9.6)."""

import asyncio
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

WRITE_SECONDS = 10.0
LINGER_SECONDS = 2.0


class LastAnswer(Response):
    """Of any media type. A payload that still comes is read for LINGER_SECONDS and dropped."""

    unread = True
    """Whether there may be a payload that was not read."""

    def init_headers(self, headers: "dict[str, str] | None" = None) -> None:  # type: ignore[override]
        super().init_headers({"Cache-Control": "no-store", "Connection": "close"} | dict(headers or {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        async with asyncio.timeout(WRITE_SECONDS):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            if self.unread:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        while (await receive()).get("more_body"):
                            pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class LastWords(LastAnswer, PlainTextResponse):
    """In plain text."""


def refused(_request: Request, error: Exception) -> Response:
    """Starlette's handler of an HTTPException."""
    assert isinstance(error, HTTPException)
    return LastWords(error.detail + "\n", error.status_code, dict(error.headers or {}))
