"""The worklist: who stands first, what filters and a search find, and what a blind reader does not learn."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update
from starlette.testclient import TestClient

from tests.integration.monitoring.test_labels import film
from tests.integration.web.conftest import CSRF, OneVisitor, sqlite_alone
from tests.integration.web.test_film import events_of
from tests.integration.web.test_reading import drawn
from tests.services import wait_until
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import writing
from worker.db.tables import instance, truth
from worker.errors import Busy
from worker.monitoring.readings import HIDDEN
from worker.web import watching, worklist, worklist_views
from worker.web.people import Person, WebRole
from worker.web.site import Site
from worker.web.watching import Changes
from worker.web.worklist_films import WorklistPage, films_of
from worker.web.worklist_filters import Filters


def shown(browser: TestClient, path: str = "/") -> list[int]:
    answer = browser.get(path)
    assert answer.status_code == 200
    return [int(key) for key in re.findall(r'<tr id="film-(\d+)"', answer.text)]


def changed(database: Engine, key: int, **values: object) -> None:
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id == key).values(values))
        trail.record(connection, action=Action.REQUEUED, instance_id=key, actor="operator:test")


def test_flags_stand_first_and_filters_find_what_they_say(browser: TestClient, database: Engine) -> None:
    plain, flagged, other = (
        film(database, uid="1.1", flags=()),
        film(database, uid="1.2", flags=("covid19",)),
        film(database, uid="1.3", flags=()),
    )
    assert shown(browser)[0] == flagged
    assert shown(browser, "/?flag=any") == shown(browser, "/?flag=covid19") == [flagged]
    assert sorted(shown(browser, "/?flag=none")) == [plain, other]
    assert shown(browser, "/?flag=pneumonia") == []
    assert "Clear the filters" in browser.get("/?flag=pneumonia").text
    changed(database, other, state="failed", reason="corrupt_pixels")
    assert shown(browser, "/?state=failed") == shown(browser, "/?reason=corrupt_pixels") == [other]
    assert shown(browser, "/?since=2999-01-01") == []
    assert len(shown(browser, "/?since=yesterday&state=%27&page=x&order=drop&ae=%00&flag=a%00")) == 3
    row: dict[str, object] = {"sop_instance_uid": "1.1", "accession_digest": "", "reader": "kim", "label": "normal"}
    row |= {"read_on": datetime.now(UTC).date(), "imported_at": datetime.now(UTC)}
    with writing(database) as connection:
        connection.execute(insert(truth).values(row))
        trail.record(connection, action=Action.LABELS_IMPORTED, instance_id=None, actor="operator:test")
    assert shown(browser, "/?label=any") == shown(browser, "/?label=normal") == [plain]
    assert sorted(shown(browser, "/?label=none")) == [flagged, other]


def test_only_the_newest_revision_stands_there(browser: TestClient, database: Engine) -> None:
    first, second = film(database, uid="1.1", flags=("covid19",)), film(database, uid="1.2", flags=())
    changed(database, second, sop_instance_uid="1.1", revision=2)
    assert shown(browser) == [second]
    assert first not in shown(browser, "/?flag=any")


def test_order_filter_and_row_tell_a_blind_reader_nothing(
    browser: TestClient, doors: OneVisitor, database: Engine
) -> None:
    flagged, newer = film(database, uid="1.1", flags=("covid19",)), film(database, uid="1.2", flags=())
    drawn(database, [flagged])
    assert flagged not in shown(browser, "/?flag=any") + shown(browser, "/?flag=none") + shown(browser, "/?unsure=no")
    rows = browser.get("/").text
    assert HIDDEN in rows
    assert 'class="flag"' not in rows
    assert shown(browser) == [newer, flagged]
    doors.person = Person(name="alex", role=WebRole.VIEWER)  # who cannot give a label
    assert shown(browser, "/?flag=any") == [flagged]


def test_a_search_puts_no_number_and_no_uid_into_a_url(browser: TestClient, database: Engine) -> None:
    key = film(database, uid="1.2.3")
    digest = accession_digest(digest_key(database), "A 17")
    changed(database, key, accession_digest=digest, study_instance_uid="1.2.77")

    def place(text: str) -> str | None:
        location: str | None = browser.post("/search", data={"csrf": CSRF, "text": text}).headers.get("location")
        return location

    assert place("1.2.3") == f"/film/{key}"
    assert place("A 17") == f"/?number={key}"
    assert events_of(database, key)[1:] == [("film_viewed", "operator:alex")]
    assert place("1.2.77") == f"/?study={key}"
    assert shown(browser, f"/?number={key}") == shown(browser, f"/?study={key}") == [key]
    assert browser.post("/search", data={"csrf": CSRF, "text": "A 18"}).status_code == 404
    assert browser.post("/search", data={"text": "A 17"}).status_code == 403


@sqlite_alone
def test_a_slow_view_holds_up_no_other(browser: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, held = Event(), Event()

    def slow_films(connection: Any, filters: Filters, *others: Any) -> WorklistPage:
        if filters.flag == "any":
            begun.set()
            assert held.wait(60)
        return films_of(connection, filters, *others)

    monkeypatch.setattr(worklist, "films_of", slow_films)
    monkeypatch.setattr(worklist_views, "SECONDS", 0.2)
    with ThreadPoolExecutor(4) as threads:
        try:
            slow = threads.submit(browser.get, "/?flag=any")
            assert begun.wait(30)
            assert threads.submit(browser.get, "/").result(30).status_code == 200
            second = threads.submit(browser.get, "/?flag=any").result(30)
            assert (second.status_code, worklist.BUSY in second.text) == (503, True)
        finally:
            held.set()
        assert slow.result(30).status_code == 200
    assert browser.get("/?flag=any").status_code == 200


def test_views_that_are_made_are_bounded() -> None:
    """Three are made, others wait for their turn, and who comes beside those is sent away; a fault is not kept."""
    views, held = worklist_views.Views(), Event()
    made: list[int] = []

    def make(number: int) -> str:
        made.append(number)
        assert held.wait(60)
        if number == 0:
            raise ValueError
        return str(number)

    with ThreadPoolExecutor(worklist_views.ASKING + 5) as threads:
        try:
            asked = [threads.submit(views.get, 0, partial(make, 0))]
            wait_until(lambda: made == [0])
            others = range(1, worklist_views.ASKING + 5)
            asked += [threads.submit(views.get, key, partial(make, key)) for key in others]
            wait_until(lambda: sum(isinstance(one.done() and one.exception(), Busy) for one in asked) >= 5)
            assert len(made) == worklist_views.AT_ONCE
        finally:
            held.set()
    assert [one for one in asked if isinstance(one.exception(), ValueError)] == [asked[0]]
    assert views.get(0, lambda: "again") == "again"


def test_streams_are_bounded(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_STREAMS", 3)
    monkeypatch.setattr(watching, "OF_ONE", 2)
    changes = Changes(database)
    asked = [changes.enter(whose) for whose in ("first", "first", "first", "second", "third")]
    assert asked == [True, True, False, True, False]
    changes.leave("first")
    assert changes.enter("third")
    for whose in ("first", "second", "third"):
        changes.leave(whose)
    assert [changes.enter(None) for _ in range(4)] == [True, True, True, False], "where nobody signs in, all are one"
    for _ in range(3):
        changes.leave(None)
