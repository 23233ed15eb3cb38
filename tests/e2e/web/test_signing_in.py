"""A person signs in and out in Chromium, by keyboard; and what the page does when the session has ended meanwhile."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, sync_playwright

from tests.services import environment, free_port, listening, process, tool, typed, wait_until
from worker.db.session import make_engine, writing
from worker.db.tables import web_session
from worker.web.signing_in.session_doors import BY_HAND

PASSWORD = "a long password"


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = tool("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1366, "height": 768})
        browser.close()


@pytest.mark.slow
def test_a_person_signs_in_and_out(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, said, asked = free_port(), list[str](), list[Request]()
    settings = {"home": str(tmp_path), "web": f"127.0.0.1:{port}", "web_sign_in": "local"}
    assert typed("db", "upgrade", **settings).returncode == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    assert typed("user", "add", "jones", "--role", "reader", **settings).returncode == 0
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request))
    with process("web", environment(**settings), tmp_path / "log"):
        wait_until(lambda: listening(port), 30, "the page")

        def sign_in() -> None:
            page.keyboard.type("jones")
            page.keyboard.press("Tab")
            page.keyboard.type(PASSWORD)
            page.keyboard.press("Enter")

        page.goto(f"http://127.0.0.1:{port}/?flag=any")
        assert page.title() == "Sign in - xrayq"
        with page.expect_request("**/events"):
            sign_in()
        page.wait_for_url("**/?flag=any")
        assert page.locator(".who").inner_text().split() == ["jones", "reader", "Sign", "out"]
        page.select_option("select[name=flag]", "none")
        page.wait_for_url("**/?flag=none**")
        # Which of these a person did: by this a session goes on, or ends although a page is open.
        sources = {request.url.partition(str(port))[2]: request.headers.get("hx-source", "") for request in asked}
        assert sources["/events"].startswith("div")
        by_hand = next(source for path, source in sources.items() if path.startswith("/?") and "flag=none" in path)
        assert by_hand.partition("#")[0] in BY_HAND
        assert said == []

        engine = make_engine(f"sqlite:///{tmp_path}/xrayq.db", 20.0)
        with writing(engine) as connection:
            connection.execute(web_session.delete())
        page.select_option("select[name=flag]", "any")
        page.wait_for_url("**/sign-in**")
        sign_in()
        page.wait_for_selector("text=Sign out")
        page.click("text=Sign out")
        page.wait_for_url("**/signed-out")
        page.go_back()
        page.wait_for_url("**/sign-in**")
        assert page.locator("text=jones").count() == 0
