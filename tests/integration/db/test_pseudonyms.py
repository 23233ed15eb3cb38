"""Accession Numbers as keyed digests: one key for all processes, and what a release before left, on both databases."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model.findings import FINDINGS
from tests.integration.monitoring.test_labels import csv, film, found, imported
from tests.phantoms import write_film
from worker.db import schema
from worker.db.pseudonyms import MARK, accession_digest, digest_key, keyed, plain_digest, rekey
from worker.db.session import make_engine, reading, writing
from worker.db.tables import instance, metadata, secret, truth
from worker.monitoring.labels import import_labels
from worker.receiving.ingest import ingest

KEYED = re.compile(r"k:[0-9a-f]{62}")
EARLY = datetime(2026, 11, 1, tzinfo=UTC)


def plain(database: Engine, keys: list[int], number: str) -> None:
    """As a gateway of the release before writes it."""
    with writing(database) as connection:
        row = {"accession_digest": hashlib.sha256(number.encode()).hexdigest()}
        connection.execute(update(instance).where(instance.c.id.in_(keys)).values(row))


def plain_label(database: Engine, number: str, label: str, read_on: date, reader: str = "dr1") -> None:
    row = {"sop_instance_uid": "", "accession_digest": plain_digest(number), "reader": reader, "label": label}
    with writing(database) as connection:
        connection.execute(insert(truth), row | {"read_on": read_on, "imported_at": EARLY})


def digests(database: Engine) -> list[str]:
    with reading(database) as connection:
        return [
            value
            for table in (instance, truth)
            for value in connection.execute(select(table.c.accession_digest)).scalars()
            if value
        ]


def test_every_process_has_the_same_key(database: Engine, database_url: str) -> None:
    engines = [make_engine(database_url) for _ in range(8)]
    with ThreadPoolExecutor(len(engines)) as threads:
        keys = set(threads.map(digest_key, engines, timeout=60))
    for engine in engines:
        engine.dispose()
    (key,) = keys
    assert len(key) == 32
    with reading(database) as connection:
        assert bytes.fromhex(connection.execute(select(secret.c.value)).scalar_one()) == key


def test_a_digest_cannot_be_tried_without_the_key() -> None:
    one, other = accession_digest(b"one key", "A7"), accession_digest(b"another", "A7")
    assert KEYED.fullmatch(one)
    assert one != other
    assert accession_digest(b"one key", "") == ""
    assert accession_digest(b"one key", "A8") != one
    assert keyed(b"one key", plain_digest("A7")) == one


def test_a_received_film_has_a_keyed_digest_and_its_labels_find_it(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    _, key = ingest(database, spool, store_file(write_film(tmp_path), spool, "XRAYQ"))
    (digest,) = digests(database)
    assert KEYED.fullmatch(digest)
    with reading(database) as connection:
        stored = "".join(str(row) for table in metadata.tables.values() for row in connection.execute(select(table)))
    assert plain_digest("ACC-SECRET") not in stored
    assert imported(database, csv(tmp_path, ",ACC-SECRET,normal,dr1,2026-11-01")).without_film == 0
    assert found(database) == {key: "normal"}


def test_films_and_labels_of_the_release_before_are_found(database: Engine, tmp_path: Path) -> None:
    """Films and labels under plain digests, some of them written while both releases run."""
    old, new = film(database, uid="1.1"), film(database, uid="1.2", accession="A7")
    both, other = film(database, uid="1.3"), film(database, uid="1.4")
    plain(database, [old], "A7")
    plain(database, [both, other], "A8")
    plain_label(database, "A8", "covid19", date(2026, 11, 1))
    assert found(database) == {both: "covid19", other: "covid19"}, "one plain digest finds the other"
    path = csv(tmp_path, ",A7,pneumonia,dr1,2026-11-02", ",A8,covid19,dr1,2026-11-01")
    result = imported(database, path)
    assert (result.new, result.unchanged, result.without_film) == (1, 1, 0)
    expected = {old: "pneumonia", new: "pneumonia", both: "covid19", other: "covid19"}
    assert found(database) == expected
    assert all(map(KEYED.fullmatch, digests(database)))
    late = film(database, uid="1.5")
    plain(database, [late], "A7")  # its gateway is not updated yet
    assert rekey(database) == 1
    assert found(database) == expected | {late: "pneumonia"}
    assert rekey(database) == 0


def test_a_database_of_the_release_before_goes_on(database: Engine, tmp_path: Path) -> None:
    schema.downgrade(database, "0006")
    columns = [column for column in instance.columns if not (column.nullable or column.server_default is not None)]
    row = {column.name: "1.2" for column in columns} | {
        "revision": 1,
        "size": 1,
        "received_at": EARLY,
        "state": "scored",
    }
    del row["id"]
    with writing(database) as connection:
        connection.execute(insert(instance), row | {"accession_digest": plain_digest("A7")})
    plain_label(database, "A7", "covid19", date(2026, 11, 1), reader="dr2")
    assert schema.upgrade(database) == schema.head()
    assert imported(database, csv(tmp_path, ",A7,covid19,dr1,2026-11-02")).without_film == 0
    assert found(database) == {1: "covid19"}
    with reading(database) as connection:
        assert len(connection.execute(select(truth.c.id)).all()) == 2
    assert all(map(KEYED.fullmatch, digests(database)))


def test_the_later_of_two_readings_under_both_digests_is_kept(database: Engine, tmp_path: Path) -> None:
    first, second = film(database, uid="1.1", accession="A1"), film(database, uid="1.2", accession="A2")
    imported(database, csv(tmp_path, ",A1,normal,dr1,2026-11-05", ",A2,normal,dr1,2026-11-05"))
    plain_label(database, "A1", "covid19", date(2026, 11, 6))
    plain_label(database, "A2", "covid19", date(2026, 11, 4))
    plain_label(database, "A2", "normal", date(2026, 11, 4), reader="dr2")
    rekey(database)
    assert found(database) == {first: "covid19", second: "normal"}
    with reading(database) as connection:
        assert len(connection.execute(select(truth.c.id)).all()) == 3


def test_many_plain_digests_are_rekeyed_in_short_transactions(database: Engine) -> None:
    keys = [film(database, uid=f"1.{number}") for number in range(30)]
    for key in keys:
        plain(database, [key], f"A{key // 2}")
    assert rekey(database) == 30
    assert len(set(digests(database))) == len({key // 2 for key in keys})
    assert all(one.startswith(MARK) for one in digests(database))


def test_without_its_key_an_installation_goes_on(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    """The film is received and its digest is a new one: only labels by the number no longer find the older film."""
    older, newer = write_film(tmp_path, "older"), write_film(tmp_path, "newer")
    _, first = ingest(database, spool, store_file(older, spool, "XRAYQ"))
    with writing(database) as connection:
        connection.execute(delete(secret))
    again = make_engine(database_url)
    try:
        _, second = ingest(again, spool, store_file(newer, spool, "XRAYQ"))
        assert ingest(again, spool, store_file(older, spool, "XRAYQ"))[1] == first
        import_labels(again, csv(tmp_path, ",ACC-SECRET,normal,dr1,2026-11-01"), FINDINGS, "operator:test")
        assert found(again) == {second: "normal"}
    finally:
        again.dispose()
