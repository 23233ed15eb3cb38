"""Errands on both databases: written once, taken by one, done once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from worker.db.session import reading, writing
from worker.db.tables import errand
from worker.queue import errands
from worker.queue.errands import Errand, Kind

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
LEASE = 60.0


def add(database: Engine, *keys: str, kind: Kind = Kind.MAIL, due: datetime = NOW) -> None:
    with writing(database) as connection:
        for key in keys:
            errands.add(connection, kind, key, due, {"text": key})


def take(database: Engine, *, after: float = 0.0, kinds: tuple[Kind, ...] = (Kind.MAIL,)) -> Errand | None:
    return errands.take(database, kinds, now=NOW + timedelta(seconds=after), lease_seconds=LEASE)


def taken(database: Engine, *, after: float = 0.0) -> Errand:
    found = take(database, after=after)
    assert found is not None
    return found


def finish(database: Engine, one: Errand) -> bool:
    with writing(database) as connection:
        return errands.finish(connection, one)


def count(database: Engine) -> int:
    with reading(database) as connection:
        return int(connection.execute(select(func.count()).select_from(errand)).scalar_one())


def test_one_row_for_each_kind_and_key(database: Engine) -> None:
    add(database, "1", "1", "2")
    add(database, "1", kind=Kind.WEBHOOK)
    assert count(database) == 3


def test_the_oldest_due_row_of_the_kinds_asked_for(database: Engine) -> None:
    add(database, "later", due=NOW + timedelta(seconds=5))
    add(database, "night", kind=Kind.NIGHT, due=NOW - timedelta(days=1))
    assert take(database) is None
    found = taken(database, after=5)
    assert (found.kind, found.key, found.payload, found.attempt) == (Kind.MAIL, "later", {"text": "later"}, 1)


def test_a_lease_keeps_others_away_until_it_passes(database: Engine) -> None:
    add(database, "1")
    first = taken(database)
    assert take(database, after=LEASE - 1) is None
    second = taken(database, after=LEASE)
    assert second.attempt == 2
    assert not finish(database, first), "whoever lost the lease must not end the errand"
    assert count(database) == 1
    assert finish(database, second)
    assert count(database) == 0


def test_waits_double_up_to_an_hour(database: Engine) -> None:
    add(database, "1")
    clock = 0.0
    for expected in (10.0, 20.0, 40.0):
        one = taken(database, after=clock)
        errands.postpone(database, one, now=NOW + timedelta(seconds=clock), first_wait=10.0)
        assert take(database, after=clock + expected - 1) is None
        clock += expected
    for _ in range(12):
        one = taken(database, after=clock)
        errands.postpone(database, one, now=NOW + timedelta(seconds=clock), first_wait=10.0)
        clock += errands.LONGEST_WAIT


def test_who_lost_the_lease_postpones_nothing(database: Engine) -> None:
    add(database, "1")
    first = taken(database)
    second = taken(database, after=LEASE)
    errands.postpone(database, first, now=NOW, first_wait=10.0)
    assert take(database, after=LEASE + 1) is None
    assert finish(database, second)


@pytest.mark.parametrize("workers", [4])
def test_each_is_taken_once_by_many_at_once(database: Engine, workers: int) -> None:
    keys = [str(number) for number in range(20)]
    add(database, *keys)

    def drain(_: int) -> list[str]:
        found = []
        while one := take(database):
            found.append(one.key)
        return found

    with ThreadPoolExecutor(workers) as pool:
        all_taken = [key for part in pool.map(drain, range(workers)) for key in part]
    assert sorted(all_taken, key=int) == keys


def test_what_is_set_aside_replaces_one_of_before(database: Engine) -> None:
    for text in ("first", "second"):
        add(database, "a")
        one = taken(database)
        with writing(database) as connection:
            assert errands.set_aside(connection, one, Kind.LOST_RESULT, {"text": text})
    with reading(database) as connection:
        (left,) = connection.execute(select(errand)).all()
    assert (left.kind, left.payload) == (Kind.LOST_RESULT, {"text": "second"})


def test_who_lost_the_row_sets_nothing_aside_and_keeps_what_was_there(database: Engine) -> None:
    add(database, "a")
    first = taken(database)
    with writing(database) as connection:
        assert errands.set_aside(connection, first, Kind.LOST_RESULT, {"text": "kept for a person"})
    add(database, "a")
    slow = taken(database)
    assert taken(database, after=LEASE + 1).id == slow.id, "its lease passed, and another has it"
    with writing(database) as connection:
        assert not errands.set_aside(connection, slow, Kind.LOST_RESULT, {"text": "too late"})
    with reading(database) as connection:
        left = {row.kind: row.payload for row in connection.execute(select(errand))}
    assert left == {Kind.LOST_RESULT: {"text": "kept for a person"}, Kind.MAIL: {"text": "a"}}
