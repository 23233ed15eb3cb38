"""Labels given on the web page: what is hidden before, what is kept, and that no label follows the score."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Engine, insert, select
from starlette.testclient import TestClient

from tests.integration.monitoring.test_labels import film
from tests.integration.web.conftest import CSRF, OneVisitor
from worker.db.session import reading, writing
from worker.db.tables import audit_event, label_sample, truth
from worker.monitoring.readings import queue_of
from worker.web.people import Person, WebRole

FLAG = 'class="flag"'


def drawn(database: Engine, keys: Iterable[int]) -> None:
    rows = [{"draw": "one", "instance_id": key, "drawn_at": datetime.now(UTC)} for key in keys]
    with writing(database) as connection:
        connection.execute(insert(label_sample), rows)


def given(browser: TestClient, key: int, label: str) -> int:
    return browser.post(f"/reading/{key}/label", data={"csrf": CSRF, "label": label}).status_code


def test_a_drawn_film_shows_its_score_after_the_label_and_not_before(browser: TestClient, database: Engine) -> None:
    first, second, other = (film(database, uid=f"1.{number}", flags=("covid19",)) for number in range(3))
    drawn(database, [second, first])
    assert browser.get("/reading/next").headers["location"] == f"/reading/{second}"
    before = browser.get(f"/reading/{second}").text
    assert FLAG not in before
    assert "Probability" not in before
    assert given(browser, second, "covid19") == 303
    assert FLAG in browser.get(f"/reading/{second}").text
    assert browser.get("/reading/next").headers["location"] == f"/reading/{first}"
    assert "counts in no live rate" in browser.get(f"/reading/{other}").text
    with reading(database) as connection:
        kept = connection.execute(select(truth.c.sop_instance_uid, truth.c.label, truth.c.reader)).all()
        events = connection.execute(select(audit_event).order_by(audit_event.c.id)).all()
    assert kept == [("1.1", "covid19", "alex")]
    assert [(row.instance_id, row.action, row.actor, row.detail) for row in events] == [
        (second, "labelled", "operator:alex", {"label": "covid19", "blind": True}),
        (second, "film_viewed", "operator:alex", {}),
    ]


def test_nobody_changes_a_label_after_the_score(browser: TestClient, database: Engine) -> None:
    key = film(database, uid="1.1", flags=("covid19",))
    drawn(database, [key])
    assert given(browser, key, "normal") == 303
    assert given(browser, key, "covid19") == 409
    assert given(browser, 77, "normal") == 404
    with reading(database) as connection:
        assert connection.execute(select(truth.c.label)).scalars().all() == ["normal"]


def test_what_is_no_finding_is_no_label(browser: TestClient, database: Engine) -> None:
    key = film(database, uid="1.1")
    assert given(browser, key, "hernia") == 409
    assert given(browser, key, "") == 409


def test_each_reader_has_a_queue_and_a_file_of_labels_counts(
    browser: TestClient, doors: OneVisitor, database: Engine
) -> None:
    keys = [film(database, uid=f"1.{number}") for number in range(3)]
    drawn(database, keys)
    assert given(browser, keys[0], "normal") == 303
    doors.person = Person(name="kim", role=WebRole.READER)
    assert "3 of 3 drawn films wait" in browser.get("/reading").text
    row = {"sop_instance_uid": "1.2", "accession_digest": "", "reader": "kim", "label": "normal"}
    row |= {"read_on": datetime.now(UTC).date(), "imported_at": datetime.now(UTC)}
    with writing(database) as connection:
        connection.execute(insert(truth).values(row))
    with reading(database) as connection:
        assert queue_of(connection, "kim").waiting == (keys[0], keys[1])
        assert queue_of(connection, "alex").waiting == (keys[1], keys[2])
