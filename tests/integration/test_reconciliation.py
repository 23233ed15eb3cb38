"""The nightly identity on both databases: what holds it, and everything that breaks it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, insert, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests.phantoms import chest_pixels, write_film
from worker.audit.reconciliation import Sender, Span, reconcile, unaccounted
from worker.db.session import reading, writing
from worker.db.tables import audit_event, instance, outbox, score
from worker.ingest import ingest
from worker.instances import reject

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


def found(database: Engine, span: Span = TODAY) -> list[Sender]:
    with reading(database) as connection:
        return reconcile(connection, span)


def named(database: Engine) -> dict[int, str]:
    with reading(database) as connection:
        return {one["id"]: one["why"] for one in unaccounted(connection, TODAY)}


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
        "lost": 0,
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


def test_an_instance_that_was_removed_leaves_a_difference_where_its_arrival_stays(
    database: Engine, films: list[int]
) -> None:
    with writing(database) as connection:  # its foreign keys keep a plain DELETE away
        connection.execute(
            update(audit_event).where(audit_event.c.instance_id == films[2]).values(instance_id=films[0])
        )
        connection.execute(delete(instance).where(instance.c.id == films[2]))
    assert found(database)[0].difference == 1


def test_an_arrival_that_was_removed_is_a_difference(database: Engine, films: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(delete(audit_event).where(audit_event.c.instance_id == films[3]))
    assert found(database)[0].difference == -1
    assert named(database) == {films[3]: "has no arrival in the audit trail"}


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 23), 24)]
)
def test_a_day_is_as_long_as_its_zone_says(day: date, hours: int) -> None:
    span = Span.of_day(day, ZoneInfo("Europe/Berlin"))
    assert span.end - span.start == timedelta(hours=hours)
    assert span.start.astimezone(ZoneInfo("Europe/Berlin")).hour == 0
