"""Headless Chromium by its DevTools protocol over a pipe, no port, no driver: opens a page, and tells what it did."""

import base64
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services import tool

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",  # reads file descriptor 3 and writes 4
)


class Browser:
    """One page. Commands and events as in https://chromedevtools.github.io/devtools-protocol."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = os.fdopen(commands, "wb"), os.fdopen(answers, "rb")
        self._number, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        self._commands.close()
        self._answers.close()

    def attach(self) -> None:
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = [one["targetId"] for one in targets if one["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path, *, width: int, height: int) -> None:
        """Until it is loaded, images included."""
        self.resize(width, height)
        self.call("Page.navigate", url=path.as_uri())
        while not any(one["method"] == "Page.loadEventFired" for one in self.events):
            self.events.append(self._next())

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"]["value"]

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def requests(self) -> list[str]:
        """Every URL that the page asked for, but what it holds itself."""
        asked = [one["params"]["request"]["url"] for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """Errors of the console, of scripts and of the browser itself."""
        found = []
        for one in self.events:
            said = one["params"]
            if one["method"] == "Runtime.exceptionThrown":
                found.append(said["exceptionDetails"]["text"])
            elif one["method"] == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert", "warning"):
                found.append(str(said["args"][0].get("value")))
            elif one["method"] == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
                found.append(said["entry"]["text"])
        return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._answers.fileno(), 1 << 20)
            if not read:
                raise RuntimeError("the browser ended")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Chromium with its profile in `folder`. Missing: skips, or fails where XRAYQ_REQUIRE_SERVICES=1."""
    chromium = tool("chromium", package="chromium")
    ours, theirs = [], []
    for kept in (1, 0):  # of the first pipe we keep the writing end
        pipe = os.pipe()
        ours.append(pipe[kept])
        theirs.append(fcntl.fcntl(pipe[1 - kept], fcntl.F_DUPFD, 10))  # clear of 3 and 4
        os.close(pipe[1 - kept])
    command = f'exec "$0" "$@" 3</dev/fd/{theirs[0]} 4>/dev/fd/{theirs[1]}'
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", command, chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=theirs,
        )
    for descriptor in theirs:
        os.close(descriptor)
    page = Browser(*ours)
    try:
        page.attach()
        yield page
        page.call("Browser.close")
    finally:
        page.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)
