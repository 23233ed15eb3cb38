"""Live updates: one look at the database for all open browsers, which are told that something changed and not what.

A stream holds nothing but the number that it told last, so a browser that reads slowly costs no memory: it is told the
newest number when it reads again. A stream ends after STREAM_SECONDS and the browser asks anew, past the guard: whoever
is signed out is told nothing from then on.
"""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.watching import Changes

TELL_SECONDS = 0.5
BEAT_SECONDS = 15.0
"""A line that says nothing, so that a proxy keeps the connection and a gone browser is noticed."""
STREAM_SECONDS = 300.0


def events(ask: Ask) -> Response:
    """Server-sent events named `changed`."""
    changes = ask.site.changes
    if not changes.enter(ask.browser):
        return PlainTextResponse("too many open pages are told of changes: this one asks by itself", 503)
    return _Stream(changes, ask.browser)


class _Stream(StreamingResponse):
    """Leaves its place however it ends, also where it never began."""

    def __init__(self, changes: Changes, whose: str | None) -> None:
        super().__init__(_lines(changes), media_type="text/event-stream")
        self._changes, self._whose = changes, whose

    async def __call__(self, *connection: object) -> None:
        try:
            await super().__call__(*connection)  # type: ignore[arg-type]
        finally:
            self._changes.leave(self._whose)


async def _lines(changes: Changes) -> AsyncIterator[str]:
    told, begun = changes.number, monotonic()
    spoke = begun
    yield "retry: 5000\n\n"
    while (now := monotonic()) - begun < STREAM_SECONDS:
        if changes.number != told:
            told, spoke = changes.number, now
            yield f"event: changed\ndata: {told}\n\n"
        elif now - spoke >= BEAT_SECONDS:
            spoke = now
            yield ": still here\n\n"
        await asyncio.sleep(TELL_SECONDS)


PAGES = (Page(path="/events", least=WebRole.VIEWER, answer=events),)
