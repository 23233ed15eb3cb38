"""Reports of the night at the web page: what is given out is what the audit trail has the digest of."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update
from starlette.testclient import TestClient

from tests.integration.monitoring.test_labels import film
from tests.integration.web.conftest import OneVisitor
from tests.integration.web.test_reading import drawn, given
from tests.nightly import recorded
from worker.db.session import reading, writing
from worker.db.tables import audit_event, instance
from worker.nightly import published
from worker.web.app import application
from worker.web.people import Person, WebRole
from worker.web.site import Site

DAY = date(2026, 11, 20)
CONTENT = {
    published.PAGE: b"<p>All well</p><script>alert(1)</script>",
    published.REPORT: b"{}",
    published.INSTANCES: b"id,sop_instance_uid\n",
    published.REFUSED: b"what\n",
}


@pytest.fixture
def folder(database: Engine, tmp_path: Path) -> Path:
    """Of a report that was made."""
    folder = published.folder_of(tmp_path / "reports", DAY)
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    recorded(database, DAY, published.digest_of(folder), published.digests_of(folder))
    return folder


@pytest.fixture
def browser(site: Site, doors: OneVisitor, folder: Path) -> TestClient:
    options = replace(site.options, reports=folder.parent)
    return TestClient(application(replace(site, options=options), doors), follow_redirects=False)


def test_a_report_is_given_out_as_made_and_in_a_sandbox(browser: TestClient, folder: Path) -> None:
    (folder.parent / "secret").write_text("elsewhere")
    assert "as made" in browser.get("/reports").text
    answer = browser.get("/reports/2026-11-20/report.html")
    assert answer.content == CONTENT[published.PAGE]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; ")
    assert "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    answer = browser.get("/reports/2026-11-20/refused.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="2026-11-20-refused.csv"'
    for path in ("2026-11-21/report.html", "2026-11-20/..%2f..%2fsecret", "2026-11-20/nothing", "..%2fx/report.html"):
        assert browser.get(f"/reports/{path}").status_code == 404, path


def test_what_was_changed_is_said_and_not_shown(browser: TestClient, folder: Path) -> None:
    (folder / published.PAGE).write_bytes(b"<p>Nothing was lost</p>")
    shown = browser.get("/reports").text
    assert "changed since" in shown
    assert "2026-11-20" in shown[shown.index('role="alert"') :]
    answer = browser.get("/reports/2026-11-20/report.html")
    assert answer.status_code == 409
    assert "Nothing was lost" not in answer.text
    assert browser.get("/reports/2026-11-20/report.json").status_code == 200
    (folder / published.PAGE).unlink()
    assert browser.get("/reports/2026-11-20/report.html").status_code == 404


def test_uids_are_for_readers_and_the_trail_says_who_took_them(
    browser: TestClient, doors: OneVisitor, database: Engine
) -> None:
    doors.person = Person(name="vic", role=WebRole.VIEWER)
    assert "instances.csv</a>" not in browser.get("/reports").text
    for name in ("instances.csv", "instances%2ecsv"):
        assert browser.get(f"/reports/2026-11-20/{name}").status_code == 403
    doors.person = Person(name="rae", role=WebRole.READER)
    at = "/reports/2026-11-20/instances.csv"
    assert browser.head(at).status_code == 200
    assert browser.get(at, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert browser.get(at).content == CONTENT[published.INSTANCES]
    with reading(database) as connection:
        taken = connection.execute(select(audit_event).where(audit_event.c.action == "report_taken")).all()
    assert [(row.actor, row.detail) for row in taken] == [
        ("operator:rae", {"date": "2026-11-20", "file": "instances.csv"})
    ]


@pytest.mark.parametrize(("received", "ended", "status"), [(20, 21, 409), (19, 20, 409), (19, 19, 200)])
def test_a_report_is_kept_from_whoever_is_to_label_a_film_of_it(
    browser: TestClient, doors: OneVisitor, database: Engine, received: int, ended: int, status: int
) -> None:
    first = film(database, uid="1.1", flags=("covid19",))
    second = film(database, uid="1.1", revision=2, flags=("covid19",))  # of another day
    with writing(database) as connection:
        for key, days in ((first, (received, ended)), (second, (22, 22))):
            begin, end = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in days)
            times = update(instance).where(instance.c.id == key).values(received_at=begin, finished_at=end)
            connection.execute(times)
    drawn(database, [first])
    told = ("report.html", "report.json", "instances.csv")
    answers = [browser.get(f"/reports/2026-11-20/{name}") for name in told]
    assert [answer.status_code for answer in answers] == [status] * 3
    assert ("Label your drawn films first" in answers[0].text) == (status == 409)
    assert browser.get("/reports/2026-11-20/refused.csv").status_code == 200
    doors.person = Person(name="vic", role=WebRole.VIEWER)
    assert browser.get("/reports/2026-11-20/report.json").status_code == 200
    doors.person = Person(name="alex", role=WebRole.READER)
    assert given(browser, second, "covid19") == 303
    assert [browser.get(f"/reports/2026-11-20/{name}").status_code for name in told] == [200, 200, 200]
