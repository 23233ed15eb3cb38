"""The page of a film: what it shows, what it keeps from a blind reader, and that no look goes without its event."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text, update
from starlette.testclient import TestClient

from tests.integration.monitoring.test_labels import film
from tests.integration.web.conftest import CSRF, OneVisitor
from tests.integration.web.test_reading import FLAG, drawn, given
from worker.db.session import reading, writing
from worker.db.tables import audit_event, instance
from worker.monitoring.readings import HIDDEN
from worker.web import looks
from worker.web.people import Person, WebRole


def events_of(database: Engine, key: int) -> list[tuple[str, str]]:
    columns = (audit_event.c.action, audit_event.c.actor)
    with reading(database) as connection:
        rows = connection.execute(select(*columns).where(audit_event.c.instance_id == key).order_by(audit_event.c.id))
        return [(row.action, row.actor) for row in rows]


def test_every_revision_of_a_drawn_film_is_hidden_until_the_label_is_in(
    browser: TestClient, doors: OneVisitor, database: Engine
) -> None:
    first = film(database, uid="1.1", flags=("covid19",))
    second = film(database, uid="1.1", revision=2, flags=("covid19",))
    drawn(database, [second])
    for key in (first, second):
        shown = browser.get(f"/film/{key}").text
        assert HIDDEN in shown
        assert FLAG not in shown
    doors.person = Person(name="kim", role=WebRole.VIEWER)  # who cannot give a label
    assert FLAG in browser.get(f"/film/{first}").text
    doors.person = Person(name="alex", role=WebRole.READER)
    assert given(browser, first, "covid19") == 303
    for key in (first, second):
        shown = browser.get(f"/film/{key}").text
        assert HIDDEN not in shown
        assert FLAG in shown


def test_a_look_is_one_event_of_a_person_in_ten_minutes(
    browser: TestClient, doors: OneVisitor, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = film(database, uid="1.1"), film(database, uid="1.2")
    for path in (f"/film/{key}", f"/film/{key}", f"/film/{other}"):
        assert browser.get(path).status_code == 200
    doors.person = Person(name="kim", role=WebRole.VIEWER)
    browser.get(f"/film/{key}")
    assert events_of(database, key) == [("film_viewed", "operator:alex"), ("film_viewed", "operator:kim")]
    assert events_of(database, other) == [("film_viewed", "operator:alex")]
    monkeypatch.setattr(looks, "ONE_LOOK", timedelta(0))
    browser.get(f"/film/{key}")
    assert len(events_of(database, key)) == 3


def test_what_cannot_be_recorded_is_not_shown(browser: TestClient, database: Engine) -> None:
    key = film(database, uid="1.1", flags=("covid19",))
    with writing(database) as connection:
        connection.execute(text("ALTER TABLE audit_event RENAME TO audit_event_away"))
    answer = browser.get(f"/film/{key}")
    assert answer.status_code == 503
    assert FLAG not in answer.text


def test_a_film_that_is_not_there_is_told_so(browser: TestClient) -> None:
    assert browser.get("/film/77").status_code == 404
    assert browser.get("/film/99999999999999999999").status_code == 404


def test_an_operator_requeues_a_dead_letter(browser: TestClient, doors: OneVisitor, database: Engine) -> None:
    key = film(database, uid="1.1")
    with writing(database) as connection:
        connection.execute(update(instance).values(state="failed", reason="decoder_timeout", study_instance_uid="1.2"))
    assert "XRAYQ_DECODE_TIMEOUT" in browser.get(f"/film/{key}").text
    doors.person = Person(name="kim", role=WebRole.READER)
    assert "Requeue" not in browser.get(f"/film/{key}").text
    assert browser.post(f"/film/{key}/requeue", data={"csrf": CSRF}).status_code == 403
    doors.person = Person(name="alex", role=WebRole.OPERATOR)
    assert browser.post(f"/film/{key}/requeue", data={"csrf": CSRF}).headers["location"] == f"/film/{key}"
    assert ("requeued", "operator:alex") in events_of(database, key)
    assert browser.post(f"/film/{key}/requeue", data={"csrf": CSRF}).status_code == 409
