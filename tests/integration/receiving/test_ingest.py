"""The ingest transaction: new films, duplicates, revisions, races, a database that is away."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydicom import uid
from sqlalchemy import Engine, event, func, select

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool, promising
from tests.phantoms import chest_film, chest_pixels, write_film
from worker.audit import trail
from worker.db import schema
from worker.db.postgresql import left, not_counted
from worker.db.session import limited, make_engine, reading, writing
from worker.db.tables import audit_event, instance, metadata, outbox
from worker.receiving.ingest import ArrivalKind, ingest

T = TypeVar("T")


def take(database: Engine, spool: Spool, path: Path) -> tuple[ArrivalKind, int]:
    return ingest(database, spool, store_file(path, spool, "XRAYQ"))


def events(database: Engine) -> list[tuple[str, dict[str, Any]]]:
    with reading(database) as connection:
        rows = connection.execute(select(audit_event.c.action, audit_event.c.detail).order_by(audit_event.c.id)).all()
    return [(row.action, row.detail) for row in rows]


def count(database: Engine, table) -> int:  # type: ignore[no-untyped-def]
    with reading(database) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_one_film_is_an_instance_an_outbox_row_and_an_audit_event(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    outcome, instance_id = take(database, spool, write_film(tmp_path))
    assert outcome is ArrivalKind.NEW
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
    assert take(database, spool, film) == (ArrivalKind.DUPLICATE, first)
    assert (count(database, instance), count(database, outbox), count(database, audit_event)) == (1, 1, 2)


def test_another_patient_name_is_still_the_same_film(database: Engine, spool: Spool, tmp_path: Path) -> None:
    _, first = take(database, spool, write_film(tmp_path))
    assert take(database, spool, write_film(tmp_path, PatientName="Married^Person")) == (ArrivalKind.DUPLICATE, first)
    action, detail = events(database)[-1]
    assert (action, detail["demographics_changed"]) == ("duplicate", ["PatientName"])


IDENTITIES: dict[str, Any] = {
    "PatientID": "PID-SECRET-2",
    "AccessionNumber": "ACC-SECRET-2",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.4",
    "Laterality": "L",
    "PatientBirthDate": "19800102",
}


@pytest.mark.parametrize("keyword", IDENTITIES)
def test_another_identity_is_the_next_revision(database: Engine, spool: Spool, tmp_path: Path, keyword: str) -> None:
    """A correction of a wrong patient or study must never be dropped as the same film."""
    _, first = take(database, spool, write_film(tmp_path))
    outcome, second = take(database, spool, write_film(tmp_path, **{keyword: IDENTITIES[keyword]}))
    assert (outcome, second != first) == (ArrivalKind.REVISION, True)
    action, detail = events(database)[-1]
    assert (action, detail["identity_changed"], detail["before"]) == ("revision", [keyword], first)
    with reading(database) as connection:
        rows = connection.execute(select(instance).order_by(instance.c.id)).all()
        stored = "".join(str(row) for table in metadata.tables.values() for row in connection.execute(select(table)))
    assert [row.identity_changed for row in rows] == [None, [keyword]]
    assert (rows[0].accession_digest == rows[1].accession_digest) is (keyword != "AccessionNumber")
    assert "SECRET" not in stored.upper()
    assert "19800102" not in stored
    again = take(database, spool, write_film(tmp_path, **{keyword: IDENTITIES[keyword]}))
    assert again == (ArrivalKind.DUPLICATE, second)
    assert take(database, spool, write_film(tmp_path))[0] is ArrivalKind.REVISION, "the newest one counts"


def test_an_earlier_film_that_cannot_be_read_is_another_one(database: Engine, spool: Spool, tmp_path: Path) -> None:
    kept = store_file(write_film(tmp_path), spool, "XRAYQ")
    ingest(database, spool, kept)
    kept.path.unlink()
    outcome, _ = take(database, spool, write_film(tmp_path, InstitutionName="Elsewhere"))
    assert outcome is ArrivalKind.REVISION
    assert events(database)[-1][1]["identity_changed"] == ["unknown"]


def test_another_coding_is_compared_once_and_outside_of_transactions(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    """Another film is received while two are decoded."""
    asked = []

    def same_picture(one: Path, other: Path) -> bool:
        asked.append((one, other))
        return take(database, spool, write_film(tmp_path, "meanwhile"))[0] in (ArrivalKind.NEW, ArrivalKind.DUPLICATE)

    film = chest_film()
    name = film.SOPInstanceUID
    first = store_file(save(film, tmp_path / "one.dcm"), spool, "XRAYQ")
    coded = in_syntax(film, uid.JPEGLSLossless)
    coded.SOPInstanceUID = name
    second = store_file(save(coded, tmp_path / "other.dcm"), spool, "XRAYQ")
    _, kept = ingest(database, spool, first)
    assert ingest(database, spool, second, same_picture) == (ArrivalKind.DUPLICATE, kept)
    assert asked == [(first.path, second.path)]
    assert not second.path.exists()
    second = store_file(tmp_path / "other.dcm", spool, "XRAYQ")
    assert ingest(database, spool, second)[0] is ArrivalKind.REVISION, "nothing can decode here"
    assert events(database)[-1][1]["identity_changed"] == []


def test_a_comparison_does_not_use_up_the_databases_time(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    """A child may decode for ten seconds, and the database be given up after two. Then another one writes."""
    seconds, holding = 2.0, threading.Event()

    def hold() -> None:
        with writing(database) as connection:
            trail.record(connection, action="noted", instance_id=None, actor="another")
            holding.set()
            threading.Event().wait(0.3)

    def same_picture(_one: Path, _other: Path) -> bool:
        threading.Event().wait(1.5 * seconds)
        threading.Thread(target=hold).start()
        return holding.wait(10)

    film = chest_film()
    coded = in_syntax(film, uid.JPEGLSLossless)
    coded.SOPInstanceUID = film.SOPInstanceUID
    _, kept = take(database, spool, save(film, tmp_path / "one.dcm"))
    impatient = make_engine(database_url, seconds)
    received = store_file(save(coded, tmp_path / "other.dcm"), spool, "XRAYQ")
    assert ingest(impatient, spool, received, same_picture) == (ArrivalKind.DUPLICATE, kept)
    impatient.dispose()


def test_what_is_not_counted_is_given_back_and_no_more(database: Engine) -> None:
    with limited(database):
        before = left(1000.0)
        with not_counted():
            assert left(1000.0) == 1000.0
            threading.Event().wait(0.2)
        assert before - 0.15 < left(1000.0) <= before
    assert left(1000.0) == 1000.0


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, "", "study 7", "1.2." + 70 * "3"], ids=["missing", "empty", "words", "long"])
def test_a_film_of_no_study_is_kept(
    database: Engine, spool: Spool, tmp_path: Path, keyword: str, value: str | None
) -> None:
    outcome, key = take(database, spool, write_film(tmp_path, **{keyword: value}))
    assert outcome is ArrivalKind.NEW
    column = instance.c.study_instance_uid if keyword == "StudyInstanceUID" else instance.c.series_instance_uid
    with reading(database) as connection:
        assert connection.execute(select(column).where(instance.c.id == key)).scalar_one() == ""


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
    assert (outcome, second != first) == (ArrivalKind.REVISION, True)
    with reading(database) as connection:
        assert connection.execute(select(instance.c.revision).order_by(instance.c.id)).scalars().all() == [1, 2]
    assert count(database, outbox) == 2


def at_once(run: Callable[[T], ArrivalKind], each: Sequence[T]) -> list[ArrivalKind]:
    together = threading.Barrier(len(each))

    def begin(one: T) -> ArrivalKind:
        together.wait(timeout=30)
        return run(one)

    with ThreadPoolExecutor(len(each)) as threads:
        return list(threads.map(begin, each, timeout=60))


def test_many_associations_with_one_film_make_one_instance(database: Engine, spool: Spool, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    outcomes = at_once(lambda _: take(database, spool, film)[0], range(8))
    assert sorted(outcomes) == [ArrivalKind.DUPLICATE] * 7 + [ArrivalKind.NEW]
    assert count(database, instance) == 1


def test_many_contents_under_one_uid_at_once_are_all_kept(database: Engine, spool: Spool, tmp_path: Path) -> None:
    number = 12
    small = [chest_pixels(rows=64, columns=56, seed=seed) for seed in range(number)]
    films = [store_file(write_film(tmp_path, pixels=pixels), spool, "XRAYQ") for pixels in small]
    outcomes = at_once(lambda received: ingest(database, spool, received)[0], films)
    assert sorted(outcomes) == [ArrivalKind.NEW] + [ArrivalKind.REVISION] * (number - 1)
    with reading(database) as connection:
        revisions = connection.execute(select(instance.c.revision).order_by(instance.c.revision)).scalars().all()
    assert revisions == list(range(1, number + 1))


LOOKS = 3
"""At the instances before one is inserted: of the revision and of the newest film, and the first, outside."""


def after_look(number: int, database: Engine, rival: Callable[[], object]) -> list[str]:
    """Let `rival` commit after so many looks at the instances. What this returns is empty until that was done."""
    looks: list[str] = []
    done: list[str] = []

    def look(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not done and statement.startswith("SELECT") and "FROM instance" in statement:
            looks.append(statement)
            if len(looks) == number:
                done.append(statement)
                rival()

    event.listen(database, "after_cursor_execute", look)
    return done


@pytest.mark.parametrize("look", range(1, LOOKS + 1))
def test_a_film_that_comes_between_two_looks_is_not_overlooked(
    postgresql_url: str, spool: Spool, tmp_path: Path, look: int
) -> None:
    """Of SQLite's writers one at a time looks, so there is no between."""
    database = make_engine(postgresql_url)
    schema.upgrade(database)
    film, other = write_film(tmp_path), save(chest_film(PatientID="PID-SECRET-2"), tmp_path / "other.dcm")
    done = after_look(look, database, lambda: take(database, spool, film))
    assert take(database, spool, film)[0] is ArrivalKind.DUPLICATE
    assert (len(done), count(database, instance)) == (1, 1)
    done = after_look(look, database, lambda: take(database, spool, other))
    # After the last look it is as if ours had come first: a duplicate of what was the newest then.
    expected = ArrivalKind.DUPLICATE if look == LOOKS else ArrivalKind.REVISION
    assert take(database, spool, film)[0] is expected
    with reading(database) as connection:
        rows = connection.execute(
            select(instance.c.revision, instance.c.identity_changed).order_by(instance.c.id)
        ).all()
    revisions = [(1, None), (2, ["PatientID"]), (3, ["PatientID"])]
    assert [tuple(row) for row in rows] == revisions[: 2 if look == LOOKS else 3]
    assert done
    database.dispose()


def test_identities_under_one_uid_at_once_are_all_kept(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """Each twice: the second of a patient is a duplicate only where no other patient came between."""
    small = chest_pixels(rows=64, columns=56)
    patients = [f"PID-SECRET-{number}" for number in range(6)]
    films = [store_file(write_film(tmp_path, pixels=small, PatientID=one), spool, "XRAYQ") for one in patients]
    outcomes = at_once(lambda received: ingest(database, spool, received)[0], films * 2)
    counts = Counter(outcomes)
    assert counts[ArrivalKind.NEW] == 1
    assert counts[ArrivalKind.REVISION] >= len(patients) - 1
    with reading(database) as connection:
        rows = connection.execute(select(instance).order_by(instance.c.revision)).all()
    assert {row.digest for row in rows} == {one.digest for one in films}, "no patient's film is lost"
    assert [row.revision for row in rows] == list(range(1, len(rows) + 1))
    assert [row.identity_changed for row in rows] == [None, *[["PatientID"]] * (len(rows) - 1)]
    assert len(rows) == counts[ArrivalKind.NEW] + counts[ArrivalKind.REVISION]


def test_a_correction_after_a_commit_that_was_lost_is_a_first_film(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    """Nothing was promised for the one before: the sender brings it again, then it is the correction."""
    wrong, right = write_film(tmp_path / "", "wrong"), chest_film("wrong", PatientID="PID-SECRET-2")
    received = store_file(wrong, spool, "XRAYQ")
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE outbox RENAME TO elsewhere")
    with pytest.raises(StoreUnavailable):
        ingest(database, spool, received)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO outbox")
    corrected = save(right, tmp_path / "right.dcm")
    assert take(database, spool, corrected)[0] is ArrivalKind.NEW
    assert take(database, spool, wrong)[0] is ArrivalKind.REVISION
    assert take(database, spool, corrected)[0] is ArrivalKind.REVISION
    assert [detail.get("identity_changed") for _, detail in events(database)] == [None, ["PatientID"], ["PatientID"]]


def test_a_duplicate_with_other_bytes_leaves_no_second_file(database: Engine, spool: Spool, tmp_path: Path) -> None:
    kept = store_file(write_film(tmp_path), spool, "XRAYQ")
    ingest(database, spool, kept)
    again = store_file(write_film(tmp_path, PatientName="Married^Person"), spool, "XRAYQ")
    assert ingest(database, spool, again)[0] is ArrivalKind.DUPLICATE
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
