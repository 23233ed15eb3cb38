"""The nightly identity on both databases: what holds it, and everything that breaks it."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, insert, select, text, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests import days
from tests.phantoms import chest_pixels, write_film
from worker.alarms import ledger, night_rules
from worker.audit import trail, unaccounted
from worker.audit.reconciliation import Sender, Why, reconcile
from worker.db.session import reading, writing
from worker.db.span import Span
from worker.db.tables import audit_event, instance, outbox, score
from worker.instances import reject, requeue
from worker.nightly import published
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import faults
from worker.nightly.page.page import render
from worker.receiving.ingest import ingest

TODAY = Span(start=datetime.now(UTC) - timedelta(hours=1), end=datetime.now(UTC) + timedelta(hours=1))


def sent(database: Engine, spool: Spool, folder: Path, name: str, ae: str = "CR1", seed: int = 1) -> int:
    film = write_film(folder, name, pixels=chest_pixels(rows=64, columns=64, seed=seed))
    return ingest(database, spool, replace(store_file(film, spool, "XRAYQ"), calling_ae=ae))[1]


def ended(database: Engine, key: int, state: str, reason: str | None = None) -> None:
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id == key).values(state=state, reason=reason))
        connection.execute(delete(outbox).where(outbox.c.instance_id == key))
        if state == "scored":
            row = {"instance_id": key, "bundle_digest": "b", "engine": "e", "software_version": "0"}
            connection.execute(insert(score), row | {"scored_at": datetime.now(UTC)})
        detail = {"bundle": "b"} if state == "scored" else {"reason": reason}
        trail.record(connection, action=state, instance_id=key, actor="worker", detail=detail)


def found(database: Engine, span: Span = TODAY) -> list[Sender]:
    with reading(database) as connection:
        return reconcile(connection, span, unaccounted.of_day(connection, span))


def named(database: Engine) -> dict[int, str]:
    with reading(database) as connection:
        return {one.id: one.why.value for one in unaccounted.of_day(connection, TODAY)}


@pytest.fixture
def films(database: Engine, spool: Spool, tmp_path: Path) -> list[int]:
    """Six films of CR1, each at its own end, and one of CR2."""
    keys = [sent(database, spool, tmp_path, f"film{number}") for number in range(6)]
    for key, state, reason in zip(
        keys,
        ("scored", "scored", "ineligible", "failed", "failed"),
        (None, None, "view", "truncated", "no_pixel_data"),
        strict=False,
    ):
        ended(database, key, state, reason)
    sent(database, spool, tmp_path, "film0")  # a duplicate
    revision = sent(database, spool, tmp_path, "film1", seed=2)
    reject(database, revision, "operator:test")
    sent(database, spool, tmp_path, "other", ae="CR2")
    return keys


def test_every_film_is_accounted_for(database: Engine, films: list[int]) -> None:
    one, other = found(database)
    assert one.as_dict() == {
        "calling_ae": "CR1",
        "received": 7,
        "revisions": 1,
        "duplicates": 1,
        "scored": 2,
        "ineligible": {"operator": 1, "view": 1},
        "failed": {"no_pixel_data": 1, "truncated": 1},
        "pending": 1,
        "quarantined": 0,
        "lost": 0,
        "other_objects": 0,
        "difference": 0,
    }
    assert named(database) == {}
    assert (other.calling_ae, other.received, other.pending, other.difference) == ("CR2", 1, 1, 0)


def test_another_day_has_none_of_them(database: Engine, films: list[int]) -> None:
    assert found(database, Span(start=TODAY.end, end=TODAY.end + timedelta(days=1))) == []


def test_a_film_that_waits_for_nobody_is_a_difference(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(delete(outbox).where(outbox.c.instance_id == films[5]))
    one = found(database)[0]
    assert (one.pending, one.lost, one.difference) == (0, 1, 1)
    assert named(database) == {films[5]: "waits without a place in the queue"}


def test_a_score_that_was_removed_is_a_difference(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(delete(score).where(score.c.instance_id == films[0]))
    one = found(database)[0]
    assert (one.scored, one.lost, one.difference) == (1, 1, 1)
    assert named(database) == {films[0]: "called scored, and has no score"}


def remove(database: Engine, key: int) -> None:
    """As somebody who owns the database can: past its foreign keys."""
    if database.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as connection:
            connection.execute("DELETE FROM instance WHERE id = ?", (key,))
        return
    with writing(database) as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(delete(instance).where(instance.c.id == key))


def test_an_instance_that_was_removed_is_a_difference(database: Engine, films: list[int]) -> None:
    remove(database, films[2])
    one = found(database)[0]
    assert (one.received, one.lost, one.difference) == (7, 1, 1)
    assert named(database) == {films[2]: "arrived by the audit trail, and its row is gone"}
    assert trail.verify(database).whole


def test_a_sender_whose_only_film_was_removed_is_told(database: Engine, films: list[int]) -> None:
    with reading(database) as connection:
        (key,) = connection.execute(select(instance.c.id).where(instance.c.calling_ae == "CR2")).scalars()
    remove(database, key)
    assert [(one.calling_ae, one.received, one.difference) for one in found(database)] == [("CR1", 7, 0), ("CR2", 1, 1)]


@pytest.mark.parametrize("state", ["scored", "ineligible", "failed"])
def test_a_state_that_the_trail_does_not_tell_of_is_a_difference(
    database: Engine, films: list[int], state: str
) -> None:
    """Set by hand on the film that waits, with everything else that would make it look right."""
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id == films[5]).values(state=state, reason="view"))
        connection.execute(delete(outbox).where(outbox.c.instance_id == films[5]))
        row = {"instance_id": films[5], "bundle_digest": "b", "engine": "e", "software_version": "0"}
        connection.execute(insert(score), row | {"scored_at": datetime.now(UTC)})
    one = found(database)[0]
    assert (one.received, one.lost, one.difference) == (7, 1, 1)
    assert named(database) == {films[5]: "its state is not the one that the audit trail tells of"}


def test_a_dead_letter_may_be_requeued_scored_or_rejected(database: Engine, films: list[int]) -> None:
    requeue(database, films[3], "operator:test")
    assert named(database) == {}
    ended(database, films[3], "scored")
    reject(database, films[4], "operator:test")
    assert named(database) == {}
    one = found(database)[0]
    assert (one.scored, one.failed, one.difference) == (3, {}, 0)


def test_rows_without_a_digest_are_nobodys_word(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        of_film = audit_event.c.instance_id == films[5]
        connection.execute(update(audit_event).where(of_film).values(previous="", digest=""))
    assert found(database)[0].difference == -1
    assert named(database) == {films[5]: "has no arrival in the audit trail"}


def test_an_arrival_that_was_removed_is_a_difference(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(delete(audit_event).where(audit_event.c.instance_id == films[3]))
    assert found(database)[0].difference == -1
    assert named(database) == {films[3]: "has no arrival in the audit trail"}


# of earlier days

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def one_film(database: Engine, spool: Spool, tmp_path: Path) -> int:
    """That waits since NOON."""
    key = sent(database, spool, tmp_path, "film")
    with writing(database) as connection:
        connection.execute(update(instance).values(received_at=NOON))
    return key


def night_of(database: Engine, days_later: int) -> tuple[list[str], list[tuple[str, str]]]:
    """A night as the relay makes it: what is wrong with films of earlier days, and how the alarms changed."""
    day = DAY + timedelta(days=days_later)
    report = night_report(database, day, NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT))
    broken = night_rules.conditions(report.facts)
    detail = {"date": day.isoformat(), "digest": "", "files": {}, "difference": report.difference, "anchor": None}
    with writing(database) as connection:
        changes = ledger.settle(connection, night_rules.looked_at(report.facts), broken, ())
        detail |= {"alarms": sorted({one.rule for one in broken})}
        trail.record(connection, action=published.ACTION, instance_id=None, actor="relay", detail=detail)
    render(report)
    why = [film.why for film in report.unaccounted_before]
    assert bool(faults(report)) == bool(why or report.difference)
    return why, [(one.rule, one.state) for one in changes]


def test_an_alarm_stands_as_long_as_its_film_is_lost(database: Engine, one_film: int) -> None:
    with writing(database) as connection:
        connection.execute(delete(outbox))
    assert night_of(database, 0) == ([], [("unaccounted", "raised")])
    assert night_of(database, 1) == ([Why.NO_ROW], [])
    assert night_of(database, 40) == ([Why.NO_ROW], [])
    ended(database, one_film, "scored")
    assert night_of(database, 41) == ([], [("unaccounted", "cleared")])


def test_a_film_that_is_lost_after_its_own_report_is_found(database: Engine, one_film: int) -> None:
    assert night_of(database, 0) == ([], [])
    assert night_of(database, 30) == ([], [])
    with writing(database) as connection:
        connection.execute(delete(outbox))
    assert night_of(database, 31) == ([Why.NO_ROW], [("unaccounted", "raised")])


def test_a_film_that_is_changed_after_its_own_report_is_found_and_not_forgotten(
    database: Engine, one_film: int
) -> None:
    """Beyond the days that every night looks at again, as long as the alarm stands."""
    assert night_of(database, 0) == ([], [])
    with writing(database) as connection:
        connection.execute(update(instance).values(state="ineligible", reason="view"))
        connection.execute(delete(outbox))
    assert night_of(database, 7) == ([Why.OTHER_STATE], [("unaccounted", "raised")])
    assert night_of(database, 8) == ([Why.OTHER_STATE], [])
    assert night_of(database, 28) == ([Why.OTHER_STATE], [])
    with writing(database) as connection:
        trail.record(connection, action="ineligible", instance_id=one_film, actor="worker")
    assert night_of(database, 29) == ([], [("unaccounted", "cleared")])


def test_a_film_that_ends_after_its_own_report_is_no_difference(database: Engine, one_film: int) -> None:
    assert night_of(database, 0) == ([], [])
    ended(database, one_film, "scored")
    assert night_of(database, 1) == ([], [])


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 23), 24)]
)
def test_a_day_is_as_long_as_its_zone_says(day: date, hours: int) -> None:
    span = Span.of_day(day, ZoneInfo("Europe/Berlin"))
    assert span.end - span.start == timedelta(hours=hours)
    assert span.start.astimezone(ZoneInfo("Europe/Berlin")).hour == 0
