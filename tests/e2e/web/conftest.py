"""Chromium, driven by Playwright, before `xrayq web`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, ViewportSize, sync_playwright

from tests.services import REQUIRED, environment, free_port, installed, listening, process, wait_until

SCREEN = ViewportSize(width=1366, height=768)


@dataclass(kw_only=True)
class Watched:
    """A tab, and what may not happen in it."""

    page: Page
    at: str
    """http://host:port"""
    faults: list[str] = field(default_factory=list)
    """Errors of the console, and requests to other hosts."""

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._of_us)

    def _of_us(self, request: Request) -> None:
        if not request.url.startswith(self.at + "/"):
            self.faults.append(f"asks {request.url}")

    def goto(self, path: str) -> None:
        self.page.goto(self.at + path)

    def milliseconds(self) -> float:
        """From the click to the page's content, as the browser counts it."""
        found: float = self.page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = installed("chromium")
    if program is None:
        (pytest.fail if REQUIRED else pytest.skip)("Chromium is not installed (apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def served(folder: Path, database_url: str, **settings: str) -> Iterator[str]:
    """`xrayq web` over a database; where it is, as http://host:port."""
    port = free_port()
    env = environment(home=str(folder), database_url=database_url, web=f"127.0.0.1:{port}", **settings)
    with process("web", env, folder / "web.log"):
        wait_until(lambda: listening(port), 30, "xrayq web")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def tab(chromium: Browser) -> Callable[[str], AbstractContextManager[Watched]]:
    """A new tab of a fresh browser profile; fails where its console or its requests say so."""

    @contextmanager
    def opened(at: str) -> Iterator[Watched]:
        context = chromium.new_context(viewport=SCREEN)
        watched = Watched(page=context.new_page(), at=at)
        try:
            yield watched
            assert watched.faults == []
        finally:
            context.close()

    return opened
