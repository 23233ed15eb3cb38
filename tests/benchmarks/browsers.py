"""python -m tests.benchmarks.browsers PORT COUNT

That many open worklists, as a browser holds them: live updates, and the rows anew at most every 5 s when told that
something changed. Until its standard input ends; then one JSON line: seconds of each refresh, and streams that broke.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from time import perf_counter

THROTTLE_SECONDS = 5.0


@dataclass(kw_only=True)
class Seen:
    refreshes: list[float] = field(default_factory=list)
    broken: int = 0


async def main(port: int, count: int) -> None:
    seen = Seen()
    browsers = [asyncio.create_task(browse(port, seen)) for _ in range(count)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for one in browsers:
        one.cancel()
    await asyncio.gather(*browsers, return_exceptions=True)
    print(json.dumps({"refreshes": seen.refreshes, "broken": seen.broken}))


async def browse(port: int, seen: Seen) -> None:
    changed = asyncio.Event()
    refreshing = asyncio.create_task(refresh(port, changed, seen))
    try:
        while True:
            reader, writer = await asked(port, "/events", "text/event-stream")
            try:
                while line := await reader.readline():
                    if line.startswith(b"event: changed"):
                        changed.set()
            except OSError:
                seen.broken += 1
            finally:
                writer.close()
    finally:
        refreshing.cancel()


async def refresh(port: int, changed: asyncio.Event, seen: Seen) -> None:
    while True:
        await changed.wait()
        changed.clear()
        begun = perf_counter()
        reader, writer = await asked(
            port, "/", "text/html", "hx-request: true", "hx-source: section#films", "connection: close"
        )
        answer = await reader.read()
        writer.close()
        if not answer.startswith(b"HTTP/1.1 200") or b'id="films"' not in answer:
            raise RuntimeError(f"the worklist answers {answer[:80]!r}")
        seen.refreshes.append(perf_counter() - begun)
        await asyncio.sleep(THROTTLE_SECONDS)


async def asked(port: int, path: str, accepts: str, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (f"GET {path} HTTP/1.1", f"host: 127.0.0.1:{port}", f"accept: {accepts}", *headers, "", "")
    writer.write("\r\n".join(lines).encode())
    return reader, writer


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
