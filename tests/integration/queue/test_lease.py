"""Leases on both databases and both tables: who took a row has it, and who lost it changes nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests.phantoms import chest_pixels, write_film
from worker.db.session import reading, writing
from worker.queue import errands, lease
from worker.queue.errands import Kind
from worker.queue.lease import ERRANDS, OUTBOX, Claim, Work
from worker.receiving.ingest import ingest

NOW = datetime.now(UTC) + timedelta(days=1)
"""By then every row is due, however late this module's turn comes."""
UNTIL = NOW + timedelta(minutes=1)


@pytest.fixture(params=[OUTBOX, ERRANDS], ids=["outbox", "errands"])
def work(request: pytest.FixtureRequest, database: Engine, spool: Spool, tmp_path: Path) -> Work:
    """Three rows are due."""
    for number in range(3):
        if request.param is OUTBOX:
            film = write_film(tmp_path, f"film{number}", pixels=chest_pixels(64, 64))
            ingest(database, spool, store_file(film, spool, "XRAYQ"))
        else:
            with writing(database) as connection:
                errands.add(connection, Kind.MAIL, str(number), datetime.now(UTC))
    return request.param  # type: ignore[no-any-return]


def row_of(database: Engine, work: Work, claim: Claim) -> Any:
    with reading(database) as connection:
        return connection.execute(select(work.table).where(work.table.c.id == claim.row_id)).one()


def take_first(database: Engine, work: Work, now: datetime = NOW) -> Claim:
    with writing(database) as connection:
        (row,) = lease.oldest_due(connection, work, now, 1)
        claim = lease.take(connection, work, row.id, getattr(row, work.number.name), lease_until=UNTIL)
    assert claim is not None
    return claim


def test_a_row_that_is_held_is_not_due_until_its_lease_passes(database: Engine, work: Work) -> None:
    claims = [take_first(database, work) for _ in range(3)]
    assert len({claim.row_id for claim in claims}) == 3
    assert {claim.number for claim in claims} == {1}
    assert not lease.any_due(database, work, UNTIL - timedelta(seconds=1))
    assert lease.any_due(database, work, UNTIL)
    assert take_first(database, work, UNTIL) == Claim(row_id=claims[0].row_id, number=2)


def test_who_lost_a_row_changes_nothing_of_it(database: Engine, work: Work) -> None:
    lost, other = take_first(database, work), take_first(database, work)
    with writing(database) as connection:
        assert lease.take(connection, work, lost.row_id, 0, lease_until=UNTIL) is None, "its number is 1 by now"
        mine = lease.take(connection, work, lost.row_id, 1, lease_until=UNTIL)
    assert mine is not None
    before = row_of(database, work, mine)
    with writing(database) as connection:
        assert not lease.change(connection, work, lost, lease_until=None)
        assert not lease.remove(connection, work, lost)
    assert row_of(database, work, mine) == before
    with writing(database) as connection:
        assert lease.change(connection, work, mine, lease_until=None, next_attempt_at=UNTIL)
    assert (row_of(database, work, mine).lease_until, row_of(database, work, mine).next_attempt_at) == (None, UNTIL)
    with writing(database) as connection:
        assert lease.remove(connection, work, mine)
        assert lease.remove(connection, work, other)
        assert len(connection.execute(select(work.table)).all()) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_rows_that_another_has_locked_are_skipped(database: Engine, work: Work) -> None:
    with writing(database) as first, writing(database) as second:
        (mine,) = lease.oldest_due(first, work, NOW, 1)
        others = lease.oldest_due(second, work, NOW, 3)
    assert len(others) == 2
    assert mine.id not in {row.id for row in others}


def test_only_rows_of_the_wanted_kind(database: Engine, work: Work) -> None:
    wanted = work.table.c.kind == Kind.NIGHT
    assert not lease.any_due(database, work, NOW, wanted)
    with writing(database) as connection:
        assert lease.oldest_due(connection, work, NOW, 3, wanted) == []


def test_what_is_held_keeps_its_number_and_is_let_go_unless_it_was_taken(database: Engine, work: Work) -> None:
    with writing(database) as connection:
        row = lease.oldest_due(connection, work, NOW, 1)[0]
        number = getattr(row, work.number.name)
        lease.hold(connection, work, [row.id], NOW + timedelta(minutes=1))
        assert row.id not in {other.id for other in lease.oldest_due(connection, work, NOW, 9)}
        lease.let_go(connection, work, number, work.table.c.id == row.id)
        assert row.id in {other.id for other in lease.oldest_due(connection, work, NOW, 9)}
        until = NOW + timedelta(minutes=2)
        claim = lease.take(connection, work, row.id, number, lease_until=until)
        lease.let_go(connection, work, number, work.table.c.id == row.id)
    assert claim is not None
    assert row_of(database, work, claim).lease_until == until
