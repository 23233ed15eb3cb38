"""Every page x every role, and the ways past the doors that people try."""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlencode

import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.types import Message

from tests.integration.web.conftest import sqlite_alone
from worker.audit import trail
from worker.web.app import PAGES, application
from worker.web.page import Page
from worker.web.people import Person, WebRole
from worker.web.signing_in import sessions
from worker.web.signing_in.cookies import Cookie, token_of
from worker.web.signing_in.local import local_way
from worker.web.signing_in.session_doors import SessionDoors
from worker.web.site import Site

KEY = b"k" * 32
LENGTHS = sessions.Lengths(whole=timedelta(hours=1), idle=timedelta(minutes=30))
FILLED = {"int": "1", "float": "1.5", "uuid": "c0ffee00-0000-4000-8000-000000000000", "path": "a/b", "": "a"}
TRICKS = (
    *("//", "//reading", "/./reading", "/static/../reading", "/static/%2e%2e/reading", "/static/..%2freading"),
    *("/reading/", "/READING", "/reading%00", "/reading;x", "/sign-in/../reading", "/sign-in/", "/film/%31"),
    *("/reading%2f1", "/\\reading", "/film/99999999999999999999", "/film/-1", "/app.py", "/nowhere"),
)


@dataclass(kw_only=True)
class Client:
    """Asks the application without a socket, so that any path can be asked, and leaves a stream when it begins."""

    app: Starlette
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str, bytes]:
        """Status, Location, and as much of the answer as came at once."""
        return asyncio.run(self._ask(method, path, form, headers))

    async def _ask(
        self, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        begun, messages = asyncio.Event(), list[Message]()
        sent = {"host": "xrayq.example", "content-type": "application/x-www-form-urlencoded"} | headers
        sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        path, _, query = path.partition("?")
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"}
        scope |= {"path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": ""}
        scope |= {"headers": [(name.encode(), text.encode()) for name, text in sent.items()]}
        scope |= {"client": ("10.1.2.3", 4567), "server": ("127.0.0.1", 80)}
        bodies = [{"type": "http.request", "body": urlencode(form or {}).encode(), "more_body": False}]

        async def receive() -> Message:
            if bodies:
                return bodies.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            messages.append(message)
            if message["type"] == "http.response.body":
                begun.set()

        task = asyncio.create_task(self.app(scope, receive, send))
        began = asyncio.create_task(begun.wait())
        await asyncio.wait({task, began}, return_when=asyncio.FIRST_COMPLETED)
        for other in (task, began):
            other.cancel()
        await asyncio.gather(task, began, return_exceptions=True)
        told = dict(messages[0]["headers"])
        return messages[0]["status"], told.get(b"location", b"").decode(), messages[1].get("body", b"")


def filled(path: str) -> str:
    """With something for each parameter."""
    return re.sub(r"\{\w+(?::(\w+))?\}", lambda found: FILLED[found[1] or ""], path)


@pytest.fixture
def doors(database: Engine) -> SessionDoors:
    return SessionDoors(database, KEY, LENGTHS)


@pytest.fixture
def pages(doors: SessionDoors) -> tuple[Page, ...]:
    return (*PAGES, *doors.pages)


@pytest.fixture
def client(site: Site, doors: SessionDoors, pages: tuple[Page, ...]) -> Client:
    way = local_way(site, doors, KEY)
    return Client(app=application(site, way.doors, pages, outside=way.routes))


def signed(id: str, key: bytes = KEY, name: str = "xrayq-session") -> str:
    return Cookie(name, key).signed(id)


def sign_in(client: Client, database: Engine, role: WebRole) -> str:
    """A session as a browser has it. Its token of forms."""
    person = Person(name=f"a {role}", role=role)
    id = sessions.start(database, person, LENGTHS, address="10.1.2.3", now=datetime.now(UTC))
    client.cookies = {"xrayq-session": signed(id)}
    return token_of(KEY, id)


def test_each_role_opens_its_pages_and_no_other(client: Client, pages: tuple[Page, ...], database: Engine) -> None:
    for role in WebRole:
        for page in sorted(pages, key=lambda page: page.path == "/sign-out"):
            csrf = sign_in(client, database, role)
            status, to, body = client.ask(page.method, filled(page.path), {"csrf": csrf})
            where = f"{role} {page.method} {page.path}: {status} {to}"
            if role.includes(page.least):
                assert status not in (401, 403, 500), where
                assert not to.startswith("/sign-in"), where
            else:
                assert (status, b"This needs the role" in body) == (403, True), where


def test_nobody_gets_past_the_doors(client: Client, pages: tuple[Page, ...]) -> None:
    paths = [*TRICKS, *(filled(page.path) for page in pages)]
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "SEARCH"):
        for path in paths:
            status, to, _ = client.ask(method, path)
            where = f"{method} {path}: {status} {to}"
            if path.startswith("/static/"):
                assert status in (404, 405), where
            elif method == "GET":
                assert (status, to.partition("=")[0]) == (303, "/sign-in?next"), where
            else:
                assert status == 401, where


@sqlite_alone
def test_a_path_that_looks_like_a_page_is_none(client: Client, database: Engine) -> None:
    sign_in(client, database, WebRole.ADMIN)
    for path in TRICKS:
        assert client.ask("GET", path)[0] == 404, path  # /film/%31 is the page of film 1, which is not there
    for method in ("PUT", "DELETE", "OPTIONS", "POST"):
        assert client.ask(method, "/film/1")[0] in (403, 404), method


@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": token_of(KEY, "of another")}])
def test_a_form_without_this_sessions_token_changes_nothing(
    form: dict[str, str], client: Client, pages: tuple[Page, ...], database: Engine
) -> None:
    sign_in(client, database, WebRole.ADMIN)
    before = len(list(trail.events(database)))
    for page in pages:
        if page.method == "POST":
            assert client.ask("POST", filled(page.path), form)[0] == 403, page.path
    assert len(list(trail.events(database))) == before


@sqlite_alone
def test_a_form_that_another_site_sends_changes_nothing(client: Client, database: Engine) -> None:
    csrf = {"csrf": sign_in(client, database, WebRole.ADMIN)}
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://a.example"}):
        assert client.ask("POST", "/sign-out", csrf, **headers)[0] == 403
    assert client.ask("GET", "/")[0] == 200
    assert client.ask("POST", "/sign-out", csrf, **{"sec-fetch-site": "same-origin"})[0] == 303
    assert client.ask("GET", "/")[0] == 303


def test_a_cookie_that_we_did_not_make_opens_nothing(client: Client, database: Engine) -> None:
    sign_in(client, database, WebRole.ADMIN)
    ours = client.cookies["xrayq-session"]
    id, _, signature = ours.rpartition(".")
    old = sessions.start(
        database, Person(name="a", role=WebRole.ADMIN), LENGTHS, address="", now=datetime.now(UTC) - timedelta(hours=2)
    )
    forged = {
        "nothing": "",
        "an id alone": id,
        "no signature": f"{id}.",
        "another id": f"{id[:-1]}A.{signature}" if id[-1] != "A" else f"{id[:-1]}B.{signature}",
        "another key": signed(id, b"x" * 32),
        "our signature of another cookie": signed(id, name="xrayq-form"),
        "our signature of no session": signed("a" * 43),
        "an old session": signed(old),
        "no base64": f"{id}.\u00ff",
        "twice": f"{ours}.{ours}",
    }
    for why, cookie in forged.items():
        client.cookies = {"xrayq-session": cookie}
        assert client.ask("GET", "/")[0] == 303, why
    client.cookies = {"__Host-xrayq-session": ours}
    assert client.ask("GET", "/")[0] == 303
    client.cookies = {"xrayq-session": ours}
    assert client.ask("GET", "/")[0] == 200
