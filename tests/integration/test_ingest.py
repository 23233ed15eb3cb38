"""The ingest transaction: new films, duplicates, revisions, races, a database that is away."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine, func, select

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool, promising
from tests.phantoms import chest_pixels, write_film
from worker.db.session import reading
from worker.db.tables import audit_event, instance, outbox
from worker.ingest import Outcome, ingest

T = TypeVar("T")


def take(database: Engine, spool: Spool, path: Path) -> tuple[Outcome, int]:
    return ingest(database, spool, store_file(path, spool, "XRAYQ"))


def count(database: Engine, table) -> int:  # type: ignore[no-untyped-def]
    with reading(database) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_one_film_is_an_instance_an_outbox_row_and_an_audit_event(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    outcome, instance_id = take(database, spool, write_film(tmp_path))
    assert outcome is Outcome.NEW
    with reading(database) as connection:
        row = connection.execute(select(instance)).one()
        assert (row.id, row.revision, row.state, row.view_position) == (instance_id, 1, "received", "PA")
        assert row.received_at.tzinfo is not None
        assert connection.execute(select(outbox.c.instance_id)).scalars().all() == [instance_id]
        assert connection.execute(select(audit_event.c.action)).scalars().all() == ["received"]


def test_no_patient_data_in_the_database(database: Engine, spool: Spool, tmp_path: Path) -> None:
    take(database, spool, write_film(tmp_path))
    with reading(database) as connection:
        stored = "".join(str(row) for table in (instance, audit_event) for row in connection.execute(select(table)))
    assert "SECRET" not in stored.upper()


def test_the_same_film_again_is_a_duplicate(database: Engine, spool: Spool, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    _, first = take(database, spool, film)
    assert take(database, spool, film) == (Outcome.DUPLICATE, first)
    assert (count(database, instance), count(database, outbox), count(database, audit_event)) == (1, 1, 2)


def test_another_patient_name_is_still_the_same_film(database: Engine, spool: Spool, tmp_path: Path) -> None:
    _, first = take(database, spool, write_film(tmp_path))
    assert take(database, spool, write_film(tmp_path, PatientName="Married^Person")) == (Outcome.DUPLICATE, first)


@pytest.mark.parametrize(
    "changed",
    [{"pixels": chest_pixels(seed=2)}, {"ViewPosition": "AP"}, {"WindowCenter": 900, "WindowWidth": 800}],
    ids=["pixels", "view", "window"],
)
def test_other_content_under_the_same_uid_is_the_next_revision(
    database: Engine, spool: Spool, tmp_path: Path, changed: dict[str, object]
) -> None:
    _, first = take(database, spool, write_film(tmp_path))
    outcome, second = take(database, spool, write_film(tmp_path, **changed))
    assert (outcome, second != first) == (Outcome.REVISION, True)
    with reading(database) as connection:
        assert connection.execute(select(instance.c.revision).order_by(instance.c.id)).scalars().all() == [1, 2]
    assert count(database, outbox) == 2


def at_once(run: Callable[[T], Outcome], each: Sequence[T]) -> list[Outcome]:
    together = threading.Barrier(len(each))

    def begin(one: T) -> Outcome:
        together.wait(timeout=30)
        return run(one)

    with ThreadPoolExecutor(len(each)) as threads:
        return list(threads.map(begin, each, timeout=60))


def test_many_associations_with_one_film_make_one_instance(database: Engine, spool: Spool, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    outcomes = at_once(lambda _: take(database, spool, film)[0], range(8))
    assert sorted(outcomes) == [Outcome.DUPLICATE] * 7 + [Outcome.NEW]
    assert count(database, instance) == 1


def test_many_contents_under_one_uid_at_once_are_all_kept(database: Engine, spool: Spool, tmp_path: Path) -> None:
    number = 12
    small = [chest_pixels(rows=64, columns=56, seed=seed) for seed in range(number)]
    films = [store_file(write_film(tmp_path, pixels=pixels), spool, "XRAYQ") for pixels in small]
    outcomes = at_once(lambda received: ingest(database, spool, received)[0], films)
    assert sorted(outcomes) == [Outcome.NEW] + [Outcome.REVISION] * (number - 1)
    with reading(database) as connection:
        revisions = connection.execute(select(instance.c.revision).order_by(instance.c.revision)).scalars().all()
    assert revisions == list(range(1, number + 1))


def test_a_duplicate_with_other_bytes_leaves_no_second_file(database: Engine, spool: Spool, tmp_path: Path) -> None:
    kept = store_file(write_film(tmp_path), spool, "XRAYQ")
    ingest(database, spool, kept)
    again = store_file(write_film(tmp_path, PatientName="Married^Person"), spool, "XRAYQ")
    assert ingest(database, spool, again)[0] is Outcome.DUPLICATE
    assert (kept.path.exists(), again.path.exists()) == (True, False)


def without_outbox(database: Engine) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE outbox")


def test_a_refused_film_leaves_the_spool(database: Engine, spool: Spool, tmp_path: Path) -> None:
    received = store_file(write_film(tmp_path), spool, "XRAYQ")
    without_outbox(database)
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    assert not received.path.exists()


def test_a_refused_film_stays_where_its_file_was_there_before(database: Engine, spool: Spool, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    store_file(film, spool, "XRAYQ")  # promised once, to a database that lost it
    received = store_file(film, spool, "XRAYQ")
    without_outbox(database)
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    assert received.path.exists()


def test_a_refused_film_stays_while_another_association_brings_the_same_one(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    received = store_file(write_film(tmp_path), spool, "XRAYQ")
    without_outbox(database)
    with promising(received.path), pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    assert received.path.exists()


def test_a_refused_film_stays_where_the_database_has_it_or_does_not_answer(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    received = store_file(write_film(tmp_path), spool, "XRAYQ")
    ingest(database, spool, received)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_event RENAME TO elsewhere")
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    assert received.path.exists()
    away = store_file(write_film(tmp_path, "other"), spool, "XRAYQ")
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE instance RENAME TO instance_elsewhere")
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, away)
    assert away.path.exists()


def test_a_film_whose_file_was_dropped_meanwhile_is_not_promised(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    received = store_file(write_film(tmp_path), spool, "XRAYQ")
    received.path.unlink()
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    assert count(database, instance) == 0


def test_a_database_that_is_away_is_storeunavailable(database: Engine, spool: Spool, tmp_path: Path) -> None:
    received = store_file(write_film(tmp_path), spool, "XRAYQ")
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE outbox")
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    assert count(database, instance) == 0  # all of the transaction, or nothing
