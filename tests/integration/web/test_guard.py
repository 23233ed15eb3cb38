"""In front of every page: who asks, and is a form one of ours."""

import pytest
from sqlalchemy import Engine
from starlette.responses import Response
from starlette.testclient import TestClient

from tests.integration.web.conftest import CSRF, OneVisitor, sqlite_alone
from worker.web.app import application
from worker.web.page import Ask, Page
from worker.web.people import Person, WebRole
from worker.web.site import Site


def test_a_role_that_is_too_low_is_told_which_it_needs(browser: TestClient, doors: OneVisitor) -> None:
    doors.person = Person(name="kim", role=WebRole.VIEWER)
    answer = browser.get("/reading")
    assert answer.status_code == 403
    assert "needs the role reader; yours is viewer" in answer.text


@pytest.mark.parametrize("shown", ["", "token-of-another", CSRF + "x", "ü"])
def test_a_form_of_another_site_changes_nothing(shown: str, browser: TestClient, database: Engine) -> None:
    assert browser.post("/reading/1/label", data={"csrf": shown, "label": "normal"}).status_code == 403


@pytest.mark.parametrize(
    ("content", "type"),
    [
        (b"csrf=" + CSRF.encode() + b"&a=" + b"b" * (64 << 10), "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"csrf=%s" % CSRF.encode() + b"&a=1" * 1001, "application/x-www-form-urlencoded"),
        (b"csrf=\xff", "application/x-www-form-urlencoded"),
    ],
)
def test_what_is_no_form_of_ours_is_not_read(content: bytes, type: str, browser: TestClient) -> None:
    assert browser.post("/reading/1/label", content=content, headers={"content-type": type}).status_code == 413


def test_every_answer_tells_the_browser_to_load_nothing_from_elsewhere(browser: TestClient) -> None:
    for path in ("/", "/reading/77", "/static/page.css", "/nowhere"):
        headers = browser.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")


@sqlite_alone
@pytest.mark.parametrize("path", ["/film/" + "9" * 5000, f"/film/{2**63}", "/film/0"])
def test_a_number_that_is_no_key_is_no_page(path: str, browser: TestClient) -> None:
    assert browser.get(path).status_code == 404


@sqlite_alone
def test_an_origin_that_is_no_address_is_not_ours(browser: TestClient) -> None:
    form, origin = {"csrf": CSRF, "label": "normal"}, {"origin": "http://["}
    assert browser.post("/reading/1/label", data=form, headers=origin).status_code == 403


@sqlite_alone
def test_what_nobody_foresaw_is_in_the_log_and_quotes_nothing(
    site: Site, doors: OneVisitor, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(ask: Ask) -> Response:
        raise ValueError(f"no such patient: {ask.query('q')}")

    page = Page(path="/fails", least=WebRole.VIEWER, answer=fails)
    answer = TestClient(application(site, doors, (page,))).get("/fails?q=DOE")
    assert (answer.status_code, "This page failed" in answer.text) == (500, True)
    assert answer.headers["x-content-type-options"] == "nosniff"
    (record,) = caplog.records
    assert record.__dict__["reason"].startswith("ValueError worker/web/guard.py:")
    assert "DOE" not in answer.text + caplog.text + str(record.__dict__)
