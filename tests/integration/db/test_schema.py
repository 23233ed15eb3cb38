"""Migrations on both databases."""

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, make_url, select, text

from dicom_gateway.local import store_file
from dicom_gateway.peers import Connected
from dicom_gateway.spool import Spool
from tests.integration.studies.conftest import bundle, site, studies
from tests.integration.studies.studies import Studies, uid_of
from tests.phantoms import write_film
from tests.services import typed
from worker.alarms.acknowledge import acknowledge
from worker.db import schema
from worker.db.session import make_engine, reading, writing
from worker.db.tables import instance, metadata
from worker.errors import Unhealthy
from worker.peers import table
from worker.peers.leaving import reject_instance
from worker.receiving.ingest import ingest
from worker.reporting import acceptance
from worker.studies.closing import close_due

__all__ = ["bundle", "site", "studies"]


def test_migrations_make_the_tables_in_code(database: Engine) -> None:
    assert schema.current(database) == schema.head()
    assert schema.differences(database) == []
    assert set(metadata.tables) <= set(inspect(database).get_table_names())


def test_upgrade_twice_changes_nothing(database: Engine) -> None:
    assert schema.upgrade(database) == schema.head()


def test_what_alembic_writes_of_our_tables_needs_none_of_our_code(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        written = render_python_code(
            produce_migrations(context, metadata).upgrade_ops,
            render_item=schema.plain_type,
            migration_context=context,
        )
    engine.dispose()
    assert "sa.DateTime(timezone=True)" in written
    assert "worker" not in re.sub(r"comment='[^']*'", "", written)


def test_down_and_up_again(database: Engine) -> None:
    schema.downgrade(database, "base")
    assert set(inspect(database).get_table_names()) <= {"alembic_version"}
    assert schema.upgrade(database) == schema.head()
    assert schema.differences(database) == []


def test_an_alarm_of_the_release_before_stays_and_can_be_acknowledged(database: Engine) -> None:
    schema.downgrade(database, "0004")
    now = "2026-11-20 12:00:00+00:00"
    row = f"(rule, subject, value, threshold, text, raised_at) VALUES ('unaccounted', 'CR1', 2, 0, 'x', '{now}')"
    with database.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO alarm {row}")
    assert schema.upgrade(database) == schema.head()
    kept = acknowledge(database, "unaccounted", "CR1", why="lost", actor="operator:test")
    assert (kept.value, kept.about) == (2, None)
    schema.downgrade(database, "0004")  # the release before goes on with what it wrote
    with database.connect() as connection:
        assert connection.exec_driver_sql("SELECT rule, cleared_at FROM alarm").one() == ("unaccounted", None)


def test_a_device_that_is_silent_has_been_so_since_it_was_silenced(database: Engine) -> None:
    schema.downgrade(database, "0014")
    with database.begin() as connection:
        for title, state in (("CR1", "silent"), ("CR2", "accepted")):
            connection.exec_driver_sql(
                "INSERT INTO device (calling_ae, state, changed_at, changed_by, reason) "
                f"VALUES ('{title}', '{state}', '2026-11-01 06:00:00', 'operator:test', '')"
            )
    schema.upgrade(database)
    with reading(database) as connection:
        silent, accepted = acceptance.find(connection, "CR1"), acceptance.find(connection, "CR2")
    assert silent.silenced_at == silent.changed_at == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert accepted.silenced_at is None


def test_studies_of_the_release_before_become_what_the_relay_makes_of_them(studies: Studies) -> None:
    studies.film("repeated", "a")
    studies.film("repeated", "b", flag=False)
    studies.film("torn", flag=False, prediction_set=["normal", "covid19"])
    studies.film("sure", flag=False, prediction_set=["normal"])
    studies.film("corrected", "a", flag=False)
    studies.film("corrected", "b", flag=False)
    studies.film("corrected", "a", PatientID="PID-OTHER")
    studies.film("moved", "a")
    studies.film("moved", "a", StudyInstanceUID=uid_of("there"))
    studies.film("refused", "a", "failed")
    studies.film("refused", "b", "ineligible")
    studies.film("view", "a", "ineligible", reason="modality")
    studies.film("view", "b", "ineligible")
    studies.film("scoreless", state="reported")
    studies.dose("dose")
    studies.dose("dose and film")
    studies.film("dose and film")
    studies.film("waits", "a", "received")
    studies.film("waits", "b")
    studies.film("nowhere", StudyInstanceUID=None)
    assert studies.close() == 12
    made = {one.study_instance_uid: one for one in studies.all()}
    schema.downgrade(studies.database, "0015")
    schema.upgrade(studies.database)
    of_the_clock = ("id", "first_received_at", "last_received_at", "quiet_until", "complete_at", "changed_at")
    for one in studies.all():
        same = made.pop(one.study_instance_uid)
        assert replace(one, **{name: getattr(same, name) for name in of_the_clock}) == same
    assert not made
    assert len(studies.events()) == 11, "none of those that were there"
    assert close_due(studies.database) == 1, "the one that waits"


def test_connect_refuses_a_database_without_schema(database_url: str) -> None:
    make_engine(database_url).connect().close()
    with pytest.raises(Unhealthy, match="db upgrade"):
        schema.connect(database_url)


def test_a_dropped_column_is_seen(database: Engine) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE instance DROP COLUMN age_years")
    assert schema.differences(database)


def test_db_check_and_upgrade_commands(database_url: str) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return typed("db", *words, database_url=database_url)

    assert run("check").returncode == 5
    assert run("upgrade").returncode == 0
    checked = run("check")
    assert checked.returncode == 0
    assert schema.head() in checked.stdout


@pytest.mark.parametrize(
    ("set_by_somebody", "used"),
    [("off", "on"), ("on", "on"), ("local", "local"), ("remote_write", "remote_write"), ("remote_apply",) * 2],
)
def test_a_commit_outlives_a_crash_whatever_the_database_says(
    postgresql_url: str, set_by_somebody: str, used: str
) -> None:
    database = make_engine(postgresql_url)
    with writing(database) as connection:
        connection.execute(
            text(f"ALTER DATABASE {make_url(postgresql_url).database} SET synchronous_commit = {set_by_somebody}")
        )
    database.dispose()  # it holds for new connections
    for _ in range(2):  # the second one is the pool's, after a commit
        with writing(database) as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == used
    database.dispose()


def test_who_sent_before_is_a_peer_and_on_the_way_back_nothing_waits_for_a_person(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    schema.downgrade(database, "0016")
    with database.begin() as connection:
        for key, title, is_film in ((1, "CR1", True), (2, "CR1", True), (3, "LOCAL", True), (4, "SR1", False)):
            texts = dict.fromkeys(
                ("sop_class_uid", "transfer_syntax_uid", "study_instance_uid", "series_instance_uid", "digest"), ""
            ) | dict.fromkeys(("called_ae", "modality", "body_part", "view_position"), "")
            row = texts | {"id": key + 1000, "sop_instance_uid": f"1.{key}", "revision": 1, "size": 1}
            row |= {"calling_ae": title, "state": "scored", "received_at": "2026-11-01 06:00:00+00:00"}
            names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
            insert = text(f"INSERT INTO instance ({names}, is_film) VALUES ({values}, {is_film})")
            connection.execute(insert, row)
    schema.upgrade(database)
    with reading(database) as connection:
        peers = table.read(connection)
    assert list(peers) == ["CR1"], "no file of this machine, and nobody who sent no film"
    assert peers["CR1"].unlike(Connected(calling_ae="CR1", address="192.0.2.1")) is None
    assert peers["CR1"].unlike(Connected(calling_ae="CR1", address="2001:db8::1")) is None

    received = replace(store_file(write_film(tmp_path), spool, "XRAYQ"), calling_ae="CR2")  # type: ignore[type-var]
    stranger = Connected(calling_ae="CR2", address="192.0.2.1")
    _, held = ingest(database, spool, received, unknown=stranger)
    other = replace(store_file(write_film(tmp_path, "other"), spool, "XRAYQ"), calling_ae="CR2")  # type: ignore[type-var]
    _, rejected = ingest(database, spool, other, unknown=stranger)
    reject_instance(database, rejected, actor="operator:test")
    schema.downgrade(database, "0016")
    with database.connect() as connection:
        states = connection.execute(text("SELECT state FROM instance WHERE id = :id"), {"id": held}).scalars().all()
        queued = connection.execute(text("SELECT instance_id FROM outbox")).scalars().all()
    assert (states, queued) == (["received"], [held])

    schema.upgrade(database)
    with reading(database) as connection:
        assert list(table.read(connection)) == ["CR1"], "who sent into quarantine alone is still no peer"
        query = select(instance.c.id).where(instance.c.admitted.is_(False))
        assert connection.execute(query).scalars().all() == [rejected]
