"""The audit trail's chain on both databases: several writers, and everything a person could do to a row."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, String, column, delete, insert, select, table, update
from sqlalchemy.exc import IntegrityError

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests.phantoms import write_film
from worker.audit import trail
from worker.db import schema
from worker.db.columns import Identifier, Timestamp
from worker.db.session import make_engine, reading, writing
from worker.db.tables import audit_event
from worker.receiving.ingest import ingest

TYPES = {"at": Timestamp(), "action": String(), "instance_id": Identifier, "actor": String(), "detail": JSON()}
OLD_EVENT = table("audit_event", *(column(name, kind) for name, kind in TYPES.items()))
"""As who knows nothing of the chain writes it."""


def append(database: Engine, count: int, actor: str = "test") -> None:
    for number in range(count):
        with writing(database) as connection:
            trail.record(
                connection, action="tested", instance_id=None, actor=actor, detail={"number": number, "x": 0.1}
            )


def old_event(detail: dict[str, Any] | None = None) -> dict[str, Any]:
    return trail.event(action="received", instance_id=None, actor="old", detail=detail) | {"at": datetime.now(UTC)}


def ids(database: Engine) -> list[int]:
    with reading(database) as connection:
        return list(connection.execute(select(audit_event.c.id).order_by(audit_event.c.id)).scalars())


def test_an_empty_trail_is_whole(database: Engine) -> None:
    assert trail.verify(database) == trail.ChainCheck(rows=0, head=trail.FIRST)


def test_what_the_service_writes_is_a_chain(database: Engine, spool: Spool, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    for _ in range(2):
        ingest(database, spool, store_file(film, spool, "XRAYQ"))
    verdict = trail.verify(database)
    assert verdict.whole
    assert verdict.rows == 2


def test_many_writers_make_one_chain(database: Engine) -> None:
    with ThreadPoolExecutor(6) as writers:
        list(writers.map(lambda number: append(database, 25, f"writer {number}"), range(6)))
    verdict = trail.verify(database)
    assert (verdict.whole, verdict.rows) == (True, 150)


def test_a_transaction_that_rolls_back_leaves_the_chain_whole(database: Engine) -> None:
    append(database, 2)
    event = trail.event(action="tested", instance_id=None, actor="test")
    with pytest.raises(TypeError), writing(database) as connection:
        trail.record_all(connection, [event, event | {"detail": {"no JSON": object()}}])
    append(database, 2)
    assert trail.verify(database).rows == 4


DEEDS: dict[str, Callable[[int], object]] = {
    "detail": lambda row: update(audit_event).where(audit_event.c.id == row).values(detail={"number": 99}),
    "actor": lambda row: update(audit_event).where(audit_event.c.id == row).values(actor="nobody"),
    "action": lambda row: update(audit_event).where(audit_event.c.id == row).values(action="untested"),
    "digest": lambda row: update(audit_event).where(audit_event.c.id == row).values(digest="0" * 64),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS.keys())
def test_an_altered_row_is_named(database: Engine, deed: Callable[[int], object]) -> None:
    append(database, 6)
    third = ids(database)[2]
    with writing(database) as connection:
        connection.execute(deed(third))  # type: ignore[call-overload]
    verdict = trail.verify(database)
    assert (verdict.whole, verdict.broken, verdict.rows) == (False, third, 2)


@pytest.mark.parametrize("place", [0, 2, -1], ids=["first", "middle", "last"])
def test_a_row_without_a_digest_is_no_row_of_the_chain(database: Engine, place: int) -> None:
    append(database, 6)
    row = ids(database)[place]
    values = {"digest": "", "previous": "", "actor": "nobody"}
    with writing(database) as connection:
        connection.execute(update(audit_event).where(audit_event.c.id == row).values(**values))
    verdict = trail.verify(database)
    assert (verdict.broken, verdict.fault) == (row, "it has no digest: it was altered, or written past xrayq")


def test_a_row_that_was_written_past_the_chain_is_named(database: Engine) -> None:
    append(database, 2)
    with writing(database) as connection:
        connection.execute(insert(OLD_EVENT), old_event())
    last = ids(database)[-1]
    append(database, 1)  # nothing stops, and the chain goes on
    verdict = trail.verify(database)
    assert (verdict.rows, verdict.broken) == (2, last)


@pytest.mark.parametrize("again", [False, True], ids=["empty", "begun anew"])
def test_a_trail_that_was_emptied_is_not_whole(database: Engine, spool: Spool, tmp_path: Path, again: bool) -> None:
    _, key = ingest(database, spool, store_file(write_film(tmp_path), spool, "XRAYQ"))
    with writing(database) as connection:
        connection.execute(delete(audit_event))
    if again:
        append(database, 2)
    verdict = trail.verify(database)
    assert (verdict.whole, verdict.rows) == (False, 2 * again)
    assert verdict.fault == f"it has no arrival of instance {key}: rows were removed"


def test_a_removed_row_is_noticed_at_the_next_one(database: Engine) -> None:
    append(database, 6)
    third, fourth = ids(database)[2:4]
    with writing(database) as connection:
        connection.execute(delete(audit_event).where(audit_event.c.id == third))
    assert trail.verify(database).broken == fourth


def test_a_cut_end_is_found_with_a_head_kept_elsewhere(database: Engine) -> None:
    append(database, 5)
    head = trail.verify(database).head
    with writing(database) as connection:
        connection.execute(delete(audit_event).where(audit_event.c.id == ids(database)[-1]))
    assert trail.verify(database).whole
    verdict = trail.verify(database, head=head[:16])
    assert not verdict.whole
    assert "end was cut" in verdict.fault


def test_an_old_head_is_still_in_the_chain(database: Engine) -> None:
    append(database, 2)
    head = trail.verify(database).head
    append(database, 3)
    assert trail.verify(database, head=head).whole


def test_a_fork_is_refused_by_the_database(database: Engine) -> None:
    append(database, 2)
    fork = trail.event(action="forked", instance_id=None, actor="test") | {"at": datetime.now(UTC)}
    with pytest.raises(IntegrityError), writing(database) as connection:
        connection.execute(insert(audit_event), fork | {"previous": trail.FIRST, "digest": "1" * 64})


def test_events_come_in_chunks_and_as_json(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "CHUNK", 3)
    append(database, 7)
    rows = [json.loads(json.dumps(trail.as_dict(row))) for row in trail.events(database)]
    assert [row["detail"]["number"] for row in rows] == list(range(7))
    assert rows[1]["previous"] == rows[0]["digest"]


def test_rows_of_a_release_before_are_chained_by_the_migration(database_url: str) -> None:
    database = make_engine(database_url)
    schema.upgrade(database, "0002")
    rows = [old_event({"é": n, "x": 0.1}) for n in range(5)]
    with writing(database) as connection:
        connection.execute(insert(OLD_EVENT), rows)
    schema.upgrade(database)
    append(database, 1)
    verdict = trail.verify(database)
    assert (verdict.whole, verdict.rows) == (True, 6)
    database.dispose()
