"""The relay on both databases: leases, batches, skipped rows, a broker that is away."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests.phantoms import chest_pixels, write_film
from worker.db.session import reading, writing
from worker.db.tables import outbox
from worker.errors import PublishError
from worker.queue import lease
from worker.queue.outbox import Claims, LowTurn, RelayOptions, lease_batch, relay_once
from worker.receiving.ingest import ingest
from worker.states import Priority

OPTIONS = RelayOptions(batch_size=4, max_in_flight=8, lease_seconds=30, poll_seconds=0.01)


@pytest.fixture
def waiting(database: Engine, spool: Spool, tmp_path: Path) -> list[int]:
    pixels = chest_pixels(64, 64)
    films = [write_film(tmp_path, f"film{number}", pixels=pixels) for number in range(10)]
    return [ingest(database, spool, store_file(film, spool, "XRAYQ"))[1] for film in films]


def now() -> datetime:
    return datetime.now(UTC)


def test_rows_are_leased_oldest_first_up_to_the_limit_in_flight(database: Engine, waiting: list[int]) -> None:
    assert list(lease_batch(database, OPTIONS, now())) == waiting[:4]
    assert list(lease_batch(database, OPTIONS, now())) == waiting[4:8]
    assert list(lease_batch(database, OPTIONS, now())) == []  # two left, but eight are in flight


def test_a_part_batch_waits_while_workers_are_busy(database: Engine, waiting: list[int]) -> None:
    roomy = RelayOptions(batch_size=8, max_in_flight=100, lease_seconds=30, poll_seconds=0.01)
    assert list(lease_batch(database, roomy, now())) == waiting[:8]
    assert list(lease_batch(database, roomy, now())) == []
    with writing(database) as connection:
        connection.execute(outbox.delete().where(outbox.c.instance_id == waiting[0]))
    assert list(lease_batch(database, roomy, now())) == waiting[8:]


def test_films_of_a_backfill_wait_for_every_live_one_and_one_is_on_its_way(
    database: Engine, waiting: list[int]
) -> None:
    old, live, later = waiting[:6], waiting[6:], now() + timedelta(seconds=10)
    with writing(database) as connection:
        low = {"priority": Priority.BACKFILL.value}
        connection.execute(update(outbox).where(outbox.c.instance_id.in_(old)).values(**low))
    assert list(lease_batch(database, OPTIONS, now())) == live
    assert list(lease_batch(database, OPTIONS, now())) == [], "live ones are with the workers"
    with writing(database) as connection:
        connection.execute(outbox.delete().where(outbox.c.instance_id.in_(live[1:])))
        connection.execute(update(outbox).where(outbox.c.instance_id == live[0]).values(next_attempt_at=later))
        connection.execute(update(outbox).values(lease_until=None))
    assert list(lease_batch(database, OPTIONS, now())) == old[:1]
    assert list(lease_batch(database, OPTIONS, now())) == []
    assert list(lease_batch(database, OPTIONS, later)) == live[:1], "the one on its way keeps no live one back"


def test_where_live_films_never_end_one_of_a_backfill_goes_ahead_each_minute(
    database: Engine, waiting: list[int]
) -> None:
    old, live, turn, begun = waiting[:2], waiting[2:], LowTurn(), now()
    with writing(database) as connection:
        low = {"priority": Priority.BACKFILL.value}
        connection.execute(update(outbox).where(outbox.c.instance_id.in_(old)).values(**low))

    def leased(seconds: float) -> list[int]:
        """The leases of before have passed, so live films wait again."""
        return list(lease_batch(database, OPTIONS, begun + timedelta(seconds=seconds), turn))

    assert leased(0) == live[:4]
    assert leased(59) == live[:4]
    assert leased(62) == old[:1]
    assert leased(63) == live[4:7], "and then live ones again"
    assert leased(95) == live[:4]
    assert leased(130) == old[:1], "its lease has passed too"


def test_a_lease_that_passes_is_published_again(database: Engine, waiting: list[int]) -> None:
    first = list(lease_batch(database, OPTIONS, now()))
    assert list(lease_batch(database, OPTIONS, now() + timedelta(seconds=31))) == first


def test_a_row_is_not_due_before_its_time(database: Engine, waiting: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(update(outbox).values(next_attempt_at=now() + timedelta(hours=1)))
    assert list(lease_batch(database, OPTIONS, now())) == []


def test_a_suspect_travels_alone(database: Engine, waiting: list[int]) -> None:
    with writing(database) as connection:
        connection.execute(update(outbox).where(outbox.c.instance_id == waiting[1]).values(attempts=2))
    assert list(lease_batch(database, OPTIONS, now())) == [waiting[1]]


def test_a_broker_that_is_away_gives_the_lease_back(database: Engine, waiting: list[int]) -> None:
    def refuse(claims: Claims) -> None:
        raise PublishError("away")

    with pytest.raises(PublishError):
        relay_once(database, refuse, OPTIONS)
    with reading(database) as connection:
        assert set(connection.execute(select(outbox.c.lease_until)).scalars()) == {None}


def test_a_broker_that_took_a_message_and_did_not_say_so(database: Engine, waiting: list[int]) -> None:
    """A worker has its first film by then: that one's lease is the worker's."""
    until = now() + timedelta(minutes=5)

    def take_and_hang_up(claims: Claims) -> None:
        with writing(database) as connection:
            row_id = connection.execute(select(outbox.c.id).where(outbox.c.instance_id == waiting[0])).scalar_one()
            assert lease.take(connection, lease.OUTBOX, row_id, claims[waiting[0]], lease_until=until)
        raise PublishError("away")

    with pytest.raises(PublishError):
        relay_once(database, take_and_hang_up, OPTIONS)
    with reading(database) as connection:
        held = connection.execute(select(outbox.c.instance_id).where(outbox.c.lease_until == until)).scalars().all()
        free = connection.execute(select(outbox.c.instance_id).where(outbox.c.lease_until.is_(None))).scalars().all()
    assert (held, sorted(free)) == (waiting[:1], waiting[1:])


def test_several_relays_never_lease_a_row_twice(database: Engine, waiting: list[int]) -> None:
    small = RelayOptions(batch_size=1, max_in_flight=100, lease_seconds=30, poll_seconds=0.01)
    leased: list[int] = []
    start = threading.Barrier(4)

    def drain() -> None:
        start.wait()
        for _ in range(20):
            leased.extend(lease_batch(database, small, now()))

    threads = [threading.Thread(target=drain, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(leased) == waiting
