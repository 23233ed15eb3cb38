"""Who sends nothing, or drips, over real sockets: it is let go, and others are served."""

import asyncio
from collections.abc import Iterable

import pytest

from tests.integration.web.conftest import OneVisitor, sqlite_alone
from worker.web import connection, forms
from worker.web.app import application
from worker.web.server import listen, server
from worker.web.site import Site

WHOLE = b"GET /reading HTTP/1.1\r\nHost: a\r\n\r\n"
FORM = b"\r\n".join(
    (
        b"POST /reading/1/label HTTP/1.1",
        b"Host: a",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: 9",
        b"\r\ncsrf=",
    )
)


@sqlite_alone
def test_who_drips_is_let_go(site: Site, doors: OneVisitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(forms, "SECONDS", 0.5)
    ours, listener = server(application(site, doors)), listen("127.0.0.1", 0)
    port = listener.getsockname()[1]

    async def said_to(pieces: Iterable[bytes], *, drips: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip()) if drips else None
        try:
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            return b"reset"
        finally:
            if dripping:
                dripping.cancel()
            writer.close()

    async def look() -> list[bytes]:
        serving = asyncio.create_task(ours.serve(sockets=[listener]))
        found = await asyncio.gather(
            said_to([]),
            said_to([b"GET /reading HTTP/1.1\r\nX: "], drips=True),
            said_to([WHOLE]),
            said_to([WHOLE, b"GET /"], drips=True),
            said_to([FORM]),
        )
        ours.should_exit = True
        await serving
        return list(found)

    nothing, half, whole, second, form = asyncio.run(look())
    assert nothing == b""
    assert half in (b"", b"reset")
    assert whole.startswith(b"HTTP/1.1 200")
    assert second == b"reset" or second.count(b"HTTP/1.1 200") == 1
    assert form.startswith(b"HTTP/1.1 413")
