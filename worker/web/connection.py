"""A browser's connection that ends where the head of a request does not come, or comes by drips.

uvicorn waits for it without an end, and MOST_REQUESTS such connections would keep everybody else out.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30.0
"""From the connection's begin, or from the last answer, to the end of the next request's head."""


class Connection(H11Protocol):
    """uvicorn's, with that limit."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._limit:
            self._limit.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        if self._limit:
            self._limit.cancel()
        self._limit = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and not self.transport.is_closing():
            self.transport.close()
