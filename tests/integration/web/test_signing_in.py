"""People sign in: with a password, or at a proxy."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from tests.integration.web.conftest import sqlite_alone
from worker.audit import trail
from worker.db.session import writing
from worker.db.tables import web_session
from worker.web.app import PAGES, application
from worker.web.arrival import Entrance, networks_of
from worker.web.people import WebRole
from worker.web.signing_in import sessions, users
from worker.web.signing_in.attempts import OF_PAIR
from worker.web.signing_in.local import local_way
from worker.web.signing_in.proxy import ProxyOptions, proxy_way
from worker.web.signing_in.session_doors import SessionDoors
from worker.web.signing_in.way import Way
from worker.web.site import Site

KEY = b"k" * 32
LENGTHS = sessions.Lengths(whole=timedelta(hours=1), idle=timedelta(minutes=30))
PASSWORD = "a long password"


def browser_of(site: Site, way: Way, entrance: Entrance | None = None, address: str = "10.1.2.3") -> TestClient:
    app = application(site, way.doors, (*PAGES, *way.pages), outside=way.routes, entrance=entrance)
    return TestClient(app, "http://xrayq.example", follow_redirects=False, client=(address, 4567))


def told(database: Engine) -> list[tuple[str, str, str]]:
    """What the audit trail has: action, actor, reason."""
    return [(row.action, row.actor, row.detail.get("reason", "")) for row in trail.events(database)]


def token_in(text: str) -> str:
    (found,) = re.findall(r'name="csrf" value="(\w+)"', text)
    return str(found)


@pytest.fixture
def at_home(site: Site) -> TestClient:
    return browser_of(site, local_way(site, SessionDoors(site.database, KEY, LENGTHS), KEY))


def sign_in(browser: TestClient, name: str, password: str, to: str = "/reading") -> tuple[int, str]:
    """As a person does it. Status, and where to."""
    form = {"csrf": token_in(browser.get("/sign-in").text), "name": name, "password": password, "next": to}
    answer = browser.post("/sign-in", data=form)
    return answer.status_code, answer.headers.get("location", answer.text)


def test_a_password_lets_in_and_signing_out_lets_out(at_home: TestClient, database: Engine) -> None:
    users.add(database, "jones", WebRole.READER, PASSWORD, actor="operator:test")
    before = at_home.get("/reading?page=2").headers["location"]
    assert before == "/sign-in?next=%2Freading%3Fpage%3D2"
    assert 'value="/reading?page=2"' in at_home.get(before).text
    status, words = sign_in(at_home, "jones", "a long passwore")
    assert (status, "Name or password is wrong." in words) == (403, True)
    assert sign_in(at_home, "smith", PASSWORD)[0] == 403
    assert sign_in(at_home, " Jones ", PASSWORD) == (303, "/reading")
    first = at_home.cookies["xrayq-session"]
    page = at_home.get("/reading")
    assert "jones <small>reader</small>" in page.text
    assert at_home.get("/sign-in?next=/reading").headers["location"] == "/reading"
    out = at_home.post("/sign-out", data={"csrf": token_in(page.text)})
    assert out.headers["location"] == "/signed-out"
    assert out.headers["clear-site-data"] == '"cache"'
    assert "Signed out" in at_home.get("/signed-out").text
    at_home.cookies.set("xrayq-session", first, domain="xrayq.example")
    ended = at_home.get("/reading")
    assert (ended.status_code, ended.headers["clear-site-data"]) == (303, '"cache"')
    assert told(database)[1:] == [
        ("sign_in_failed", "operator:jones", "wrong_password"),
        ("sign_in_failed", "unknown", "unknown_name"),
        ("signed_in", "operator:jones", ""),
        ("signed_out", "operator:jones", ""),
    ]


def test_each_sign_in_has_a_new_session_and_ends_the_one_before(at_home: TestClient, database: Engine) -> None:
    users.add(database, "jones", WebRole.READER, PASSWORD, actor="operator:test")
    open_before = {"csrf": token_in(at_home.get("/sign-in").text), "name": "jones", "password": PASSWORD}
    form_cookie = at_home.cookies["xrayq-form"]
    sign_in(at_home, "jones", PASSWORD)
    first = at_home.cookies["xrayq-session"]
    token = token_in(at_home.get("/reading").text)
    at_home.cookies.set("xrayq-form", form_cookie, domain="xrayq.example", path="/")
    assert at_home.post("/sign-in", data=open_before).status_code == 303
    second = at_home.cookies["xrayq-session"]
    assert second != first
    assert at_home.post("/sign-out", data={"csrf": token}).status_code == 403
    for cookie, status in ((first, 303), (second, 200)):
        at_home.cookies.set("xrayq-session", cookie, domain="xrayq.example", path="/")
        assert at_home.get("/reading").status_code == status


@sqlite_alone
def test_a_session_ends_where_others_say_who_somebody_is(at_home: TestClient, site: Site, database: Engine) -> None:
    users.add(database, "jones", WebRole.READER, PASSWORD, actor="operator:test")
    sign_in(at_home, "jones", PASSWORD)
    for rules, status in (("", 200), ("('oidc', 'https://login.example')", 303)):
        other = browser_of(site, local_way(site, SessionDoors(database, KEY, LENGTHS, rules), KEY))
        other.cookies.update(at_home.cookies)
        assert other.get("/reading").status_code == status


@sqlite_alone
@pytest.mark.parametrize(
    "to",
    [
        *("//a.example", "https://a.example", "/\\a.example", "javascript:x", "reading", "/%0d\n"),
        *("//[", "http://[", "//a\uff0fb"),
    ],
)
def test_after_signing_in_nobody_goes_elsewhere(to: str, at_home: TestClient) -> None:
    assert 'name="next" value="/"' in at_home.get("/sign-in", params={"next": to}).text


@sqlite_alone
def test_who_guesses_waits_and_learns_nothing(at_home: TestClient, database: Engine) -> None:
    users.add(database, "jones", WebRole.READER, PASSWORD, actor="operator:test")
    assert [sign_in(at_home, "jones", f"guess {number}")[0] for number in range(OF_PAIR)] == [403] * OF_PAIR
    status, words = sign_in(at_home, "jones", PASSWORD)
    assert (status, "try again in 5 min" in words) == (429, True)
    assert sign_in(at_home, "smith\nadmin", "x")[0] == 403
    assert sign_in(at_home, "<b>", '"><script>')[1].count("&lt;b&gt;") == 1


def test_a_sign_in_that_no_form_of_ours_asked_for_is_none(at_home: TestClient, database: Engine) -> None:
    users.add(database, "jones", WebRole.READER, PASSWORD, actor="operator:test")
    form = {"name": "jones", "password": PASSWORD}
    csrf = token_in(at_home.get("/sign-in").text)
    assert at_home.post("/sign-in", data=form).status_code == 403
    assert at_home.post("/sign-in", json=form | {"csrf": csrf}).status_code == 403
    cross = {"sec-fetch-site": "cross-site"}
    assert at_home.post("/sign-in", data=form | {"csrf": csrf}, headers=cross).status_code == 403
    at_home.cookies.clear()
    assert "too old" in at_home.post("/sign-in", data=form | {"csrf": csrf}).text
    assert "xrayq-session" not in at_home.cookies


def test_without_a_database_nobody_learns_more_than_that(at_home: TestClient, database: Engine) -> None:
    at_home.get("/sign-in")
    with writing(database) as connection:
        web_session.drop(connection)
    users.add(database, "jones", WebRole.READER, PASSWORD, actor="operator:test")
    status, words = sign_in(at_home, "jones", PASSWORD)
    assert (status, "The database does not answer now" in words) == (503, True)


PROXY = Entrance(names=frozenset({"xrayq.example"}), proxies=networks_of(["10.9.0.0/24"]), only_proxies=True)
SAID = {"x-forwarded-user": "jürgen".encode(), "x-forwarded-groups": b"xray, readers"}


def behind(site: Site, address: str, entrance: Entrance = PROXY) -> TestClient:
    options = ProxyOptions(user="X-Forwarded-User", groups="X-Forwarded-Groups", roles=("readers:reader", "it:admin"))
    way = proxy_way(site, SessionDoors(site.database, KEY, LENGTHS), KEY, options)
    browser = browser_of(site, way, entrance, address)
    browser.base_url = browser.base_url.copy_with(scheme="https")  # as the browser sees it
    return browser


def enter(browser: TestClient, said: dict[str, bytes]) -> int:
    """Status of the page after the redirects that a browser follows."""
    return browser.get("/reading", headers=said, follow_redirects=True).status_code


def test_a_proxy_says_who_it_is_in_every_request(site: Site, database: Engine) -> None:
    browser = behind(site, "10.9.0.7")
    assert enter(browser, SAID) == 200
    assert browser.get("/reading", headers=SAID | {"x-forwarded-user": "JÜRGEN".encode()}).status_code == 200
    page = browser.get("/reading", headers=SAID).text
    assert "jürgen <small>reader</small>" in page
    csrf = {"csrf": token_in(page)}
    # Of somebody else, and of nobody, the same cookie opens nothing.
    for other in ({"x-forwarded-user": b"smith"}, {"x-forwarded-groups": b"it"}, {"x-forwarded-groups": b""}):
        assert browser.get("/reading", headers=SAID | other).status_code == 303, other
        assert browser.post("/sign-out", data=csrf, headers=SAID | other).status_code == 401, other
    assert browser.get("/reading").status_code == 303
    assert browser.get("/reading", headers=SAID).status_code == 200
    forged = [*SAID.items(), ("x-forwarded-groups", b"it")]
    assert browser.get("/reading", headers=forged).status_code == 303
    assert browser.post("/sign-out", data=csrf, headers=SAID).headers["location"] == "/signed-out"
    assert browser.get("/reading", headers=SAID).status_code == 303
    assert told(database) == [("signed_in", "operator:jürgen", ""), ("signed_out", "operator:jürgen", "")]


@sqlite_alone
def test_a_browser_that_keeps_no_cookies_begins_no_session(site: Site, database: Engine) -> None:
    browser = behind(site, "10.9.0.7")
    again = browser.get("/sign-in?next=/reading", headers=SAID).headers["location"]
    browser.cookies.clear()
    answer = browser.get(again, headers=SAID)
    assert (answer.status_code, "keeps no cookies" in answer.text) == (403, True)
    assert told(database) == [("sign_in_failed", "unknown", "no_cookies")]


@sqlite_alone
@pytest.mark.parametrize(
    ("said", "why", "words"),
    [
        ({}, "no_user", "did not say who you are"),
        ({"x-forwarded-user": b"kim"}, "no_role", "None of your groups"),
        ({"x-forwarded-user": b"kim", "x-forwarded-groups": b"xray"}, "no_role", "None of your groups"),
        (SAID | {"x-forwarded-user": b"relay"}, "bad_name", "cannot be used here"),
        (SAID | {"x-forwarded-user": b"operator:kim"}, "bad_name", "cannot be used here"),
        (SAID | {"x-forwarded-user": b"k" * 56}, "bad_name", "cannot be used here"),
    ],
)
def test_who_has_no_role_is_told_so(said: dict[str, bytes], why: str, words: str, site: Site, database: Engine) -> None:
    answer = behind(site, "10.9.0.7").get("/sign-in", headers=said)
    assert (answer.status_code, words in answer.text) == (403, True)
    assert told(database) == [("sign_in_failed", "unknown", why)]


@sqlite_alone
@pytest.mark.parametrize("address", ["10.9.1.7", "127.0.0.1", "::1", "::ffff:10.9.0.7", ""])
def test_a_header_from_elsewhere_counts_nothing(
    address: str, site: Site, database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    via = SAID | {"x-forwarded-for": b"10.9.0.7", "forwarded": b"for=10.9.0.7", "x-real-ip": b"10.9.0.7"}
    assert behind(site, address).get("/sign-in", headers=via).status_code == 403
    assert "did not come from the proxy" in caplog.text
    assert "jürgen" not in caplog.text
    # The second look, where others than the proxy are served.
    open_too = Entrance(names=PROXY.names, proxies=PROXY.proxies)
    browser = behind(site, address, open_too)
    assert enter(browser, via) == 403
    assert not browser.cookies
    assert told(database) == [("sign_in_failed", "unknown", "not_proxied")]


@sqlite_alone
def test_only_our_names_and_the_browsers_own_address(site: Site, database: Engine) -> None:
    browser = behind(site, "10.9.0.7")
    for host in ("elsewhere.example", "10.9.0.1", "", "xrayq.example.elsewhere", "[::1]", "xrayq.example@elsewhere"):
        assert browser.get("/sign-in", headers=SAID | {"host": host.encode()}).status_code == 421, host
    for host in ("xrayq.example", "XRAYQ.example:8443", "xrayq.example."):
        assert browser.get("/signed-out", headers={"host": host}).status_code == 200, host
    via = {"x-forwarded-for": b"6.6.6.6, 10.1.2.3, 10.9.0.9"}  # the first is the browser's own word
    browser.get("/sign-in", headers=SAID | via, follow_redirects=True)
    (event,) = trail.events(database)
    assert event.detail == {"role": "reader", "address": "10.1.2.3"}
