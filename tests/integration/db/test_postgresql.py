"""Databases as they are found: roles with settings of their own, other encodings, a pooler, one that falls silent."""

import os
import pickle
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from dicom_gateway.errors import StoreUnavailable
from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests.integration.status.test_snapshot import options
from tests.nightly import FRIDAY, plan_for
from tests.phantoms import write_film
from tests.postgres import administer, freeze, frozen, own_server, pgbouncer, thaw
from tests.services import typed, wait_until
from worker.audit import score_digests, trail
from worker.audit.actions import Action
from worker.bundles.overview import overview
from worker.db import postgresql, schema
from worker.db.causes import cause
from worker.db.session import make_engine, reading, snapshot, writing
from worker.db.tables import audit_event, finding_score, instance, score
from worker.errors import Unhealthy
from worker.health import probes
from worker.health.outbox_metrics import OutboxCollector
from worker.health.probes import Probe
from worker.instances import count_by_reason, list_instances
from worker.monitoring.live_labels import against_labels
from worker.nightly.child import Order
from worker.receiving.ingest import ArrivalKind, ingest
from worker.status.snapshot import StatusReader

SECONDS = 1.0
"""After which the engines here give a database up."""
ITS_TIME = "7654ms"
"""Until our BEGIN has said ours, the server's is this: with a millisecond a busy one would give up the BEGIN itself."""
TIMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
ODD = (
    "timezone = 'America/St_Johns'",
    "bytea_output = escape",
    "extra_float_digits = -15",
    "standard_conforming_strings = off",
    "default_transaction_isolation = serializable",
    *(f"{name} = '{ITS_TIME}'" for name in TIMES),
    "synchronous_commit = off",
)
FLOAT = 0.12345678901234567


def put(database: Engine, spool: Spool, path: Path) -> tuple[ArrivalKind, int]:
    return ingest(database, spool, store_file(path, spool, "XRAYQ"))


@pytest.mark.parametrize(
    ("of", "settings"),
    [
        ("ROLE {0}", ("datestyle = German", "intervalstyle = sql_standard", "client_encoding = LATIN1", *ODD)),
        ("DATABASE {0}", ("datestyle = SQL, DMY", "client_encoding = SQL_ASCII", *ODD)),
        ("ROLE {0} IN DATABASE {0}", ("datestyle = Postgres, MDY", "search_path = other, public")),
    ],
)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_settings_of_a_role_or_a_database_change_nothing(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path, of: str, settings: tuple[str, ...]
) -> None:
    role = str(make_url(database_url).database)
    administer(
        database_url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        *(f"ALTER {of.format(role)} SET {setting}" for setting in settings),
    )
    theirs = make_engine(make_url(database_url).set(username=role).render_as_string(hide_password=False))
    try:
        before = datetime.now(UTC)
        _, instance_id = put(theirs, spool, write_film(tmp_path))
        with writing(theirs) as connection:
            durable = connection.execute(text("SHOW synchronous_commit")).scalar_one()
            assert ITS_TIME not in [connection.execute(text(f"SHOW {name}")).scalar_one() for name in TIMES]
            trail.record(connection, action="noted", instance_id=None, actor="Grüße, Łódź", detail={"text": "Łódź"})
            connection.execute(insert(score), _score(instance_id, before))
            connection.execute(insert(finding_score), _finding(FLOAT))
            (kept,) = score_digests.stored(connection, score.c.instance_id == instance_id)
            told = {"bundle": kept.bundle, score_digests.IN_DETAIL: kept.digest}
            trail.record(connection, action=Action.SCORED, instance_id=instance_id, actor="worker", detail=told)
        with snapshot(theirs) as connection:
            came = connection.execute(select(instance.c.received_at)).scalar_one()
            assert connection.execute(select(finding_score.c.probability)).scalar_one() == FLOAT
            assert "Grüße, Łódź" in connection.execute(select(audit_event.c.actor)).scalars().all()
        assert abs((came - before).total_seconds()) < 60
        assert (came.utcoffset(), durable) == (UTC.utcoffset(None), "on")
        assert trail.verify(theirs).whole
        assert probes.database(theirs)
        assert typed("status", "--once", database_url=database_url).returncode in (0, 5)
        assert schema.differences(theirs) == []
    finally:
        theirs.dispose()
        administer(database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def _score(instance_id: int, at: datetime) -> dict[str, object]:
    return {
        "id": 1,
        "instance_id": instance_id,
        "bundle_digest": "0" * 64,
        "engine": "none",
        "software_version": "0",
        "scored_at": at,
    }


def _finding(probability: float) -> dict[str, object]:
    return {"score_id": 1, "finding": "x", "logit": 0.0, "probability": probability, "flag": False}


@pytest.fixture
def own(postgresql: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database with another encoding."""
    name = f"test_{request.param.lower()}"
    made = f"ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    administer(postgresql, f"CREATE DATABASE {name} {made}")
    yield make_url(postgresql).set(database=name).render_as_string(hide_password=False)
    administer(postgresql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("own", ["SQL_ASCII"], indirect=True)
def test_a_database_without_an_encoding_works(own: str, spool: Spool, tmp_path: Path) -> None:
    assert typed("db", "upgrade", database_url=own).stdout == f"schema {schema.head()}\n"
    database = schema.connect(own)
    put(database, spool, write_film(tmp_path, BodyPartExamined="CHEST"))
    with writing(database) as connection:
        trail.record(connection, action="noted", instance_id=None, actor="Łódź", detail={"text": "Łódź"})
    assert trail.verify(database).whole
    with reading(database) as connection:
        noted = connection.execute(select(audit_event).where(audit_event.c.action == "noted")).one()
    assert (noted.actor, noted.detail) == ("Łódź", {"text": "Łódź"})
    database.dispose()
    assert "ok     database  answers" in typed("doctor", database_url=own).stdout


@pytest.mark.parametrize("own", ["LATIN2", "EUC_JP"], indirect=True)
def test_an_encoding_that_cannot_keep_every_character_is_named(own: str) -> None:
    name = make_url(own).database
    for words in (("db", "upgrade"), ("doctor",)):
        done = typed(*words, database_url=own)
        assert done.returncode == 5
        assert f"the encoding {str(name).removeprefix('test_').upper()}" in done.stdout + done.stderr
        assert "UTF8" in done.stdout + done.stderr


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_became_read_only_is_named(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    """As managed ones do when their disk fills; connections that are open already notice with the next transaction."""
    name, film = make_url(database_url).database, write_film(tmp_path)
    administer(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.dispose()
    with pytest.raises(StoreUnavailable):
        put(database, spool, film)
    with pytest.raises(Unhealthy, match="takes no rows: it is read-only"):
        probes.database(database)
    for words in (("doctor",), ("status", "--once")):
        done = typed(*words, database_url=database_url)
        assert done.returncode == 5
        assert "read-only" in done.stdout
    administer(database_url, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    database.dispose()
    assert put(database, spool, film)[0] is ArrivalKind.NEW


@pytest.mark.parametrize("command", ["gateway", "relay", "worker", "up"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_process_starts_that_could_write_nothing(
    database: Engine, database_url: str, tmp_path: Path, command: str
) -> None:
    administer(database_url, f"ALTER DATABASE {make_url(database_url).database} SET default_transaction_read_only = on")
    done = typed(command, database_url=database_url, redis_url="redis://127.0.0.1:1", home=str(tmp_path / "home"))
    assert done.returncode == 5
    assert len([one for one in done.stderr.splitlines() if "takes no rows: it is read-only" in one]) == 1
    assert "listening" not in done.stdout + done.stderr


@pytest.mark.parametrize("granted", ["ALL ON ALL SEQUENCES", "ALL ON ALL TABLES"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_role_without_the_right_to_insert_is_named(database: Engine, database_url: str, granted: str) -> None:
    """Who grants the tables and forgets their sequences, or lets a role only read."""
    role = str(make_url(database_url).database)
    rights = f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", f"GRANT {granted} IN SCHEMA public TO {role}"
    administer(database_url, f"CREATE ROLE {role} LOGIN", *rights)
    theirs = make_url(database_url).set(username=role).render_as_string(hide_password=False)
    try:
        with pytest.raises(Unhealthy, match="takes no rows: its user may not do that"):
            schema.connect(theirs, writes=True)
        reader = schema.connect(theirs)
        with pytest.raises(Unhealthy, match="takes no rows: its user may not do that"):
            probes.database(reader)
        reader.dispose()
    finally:
        administer(database_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_reads_whole_tables_has_the_time_of_a_report(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path
) -> None:
    put(database, spool, write_film(tmp_path))
    for table in ("instance", "score", "deployment"):
        slowed(database_url, table, SECONDS * 1.2)
    impatient = make_engine(database_url, SECONDS)
    assert len(list_instances(impatient)) == 1
    assert count_by_reason(impatient) == [("received", None, 1)]
    assert overview(impatient, None) == []
    assert against_labels(impatient, None).performance is None
    with pytest.raises(DBAPIError):
        OutboxCollector(impatient)._read.ask()()  # a scrape has another time, and its reader must not hang for long
    impatient.dispose()
    watched = StatusReader(replace(options(database_url, spool.root), database_seconds=SECONDS))
    assert watched.look().database == "does not answer: it took too long"


def slowed(url: str, table: str, seconds: float) -> None:
    """Each look at the table takes so long."""
    administer(
        url,
        f"ALTER TABLE {table} RENAME TO quick_{table}",
        f"CREATE VIEW {table} AS SELECT * FROM quick_{table} WHERE (SELECT pg_sleep({seconds})) IS NOT NULL",
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_report_whose_statement_takes_too_long_counts_as_an_attempt_of_its_day(
    database: Engine, database_url: str, tmp_path: Path
) -> None:
    """Else it is tried for ever, and nobody is told. The settings' time reaches the child."""
    slowed(database_url, "alarm", 12)  # within the 18 s that a statement has by default
    plan, folder = plan_for(database_url, tmp_path), tmp_path / "new"
    folder.mkdir()
    order = Order(
        database_url=database_url,
        database_seconds=2.0,
        day=FRIDAY,
        options=plan.options,
        folder=folder,
        summary=tmp_path / "summary",
        parent=os.getpid(),
    )
    code = "from worker.db import postgresql; postgresql.LONG = 1; from worker.nightly.child import main; exit(main())"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(order), capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"it took too long\n", b"")


@pytest.fixture
def pooled(postgresql_url: str) -> Iterator[Engine]:
    """Behind PgBouncer in transaction mode, with two connections for all of us; the database would forget commits."""
    administer(postgresql_url, f"ALTER DATABASE {make_url(postgresql_url).database} SET synchronous_commit = off")
    with pgbouncer(postgresql_url) as url:
        engine = make_engine(url)
        schema.upgrade(engine)
        yield engine
        engine.dispose()


def test_a_pooler_in_transaction_mode(pooled: Engine, spool: Spool, tmp_path: Path) -> None:
    """Eight at once on two server connections: whatever a session kept would meet another's."""
    film = write_film(tmp_path)
    header = store_file(film, spool, "XRAYQ")

    def work(number: int) -> str:
        uid = f"1.2.3.{number}"
        ingest(pooled, spool, replace(header, header=replace(header.header, sop_instance_uid=uid)))
        with snapshot(pooled) as connection:
            rows = connection.execute(select(instance.c.id), execution_options={"yield_per": 2})
            assert rows.all()
        with writing(pooled) as connection:
            return str(connection.execute(text("SHOW synchronous_commit")).scalar_one())

    with ThreadPoolExecutor(8) as threads:
        durable = set(threads.map(work, range(40)))
    assert durable == {"on"}
    assert len(list_instances(pooled)) == 40
    assert trail.verify(pooled).whole
    with reading(pooled) as connection:
        prepared = connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
        left_over = connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar_one()
    assert (prepared, left_over) == (0, 0)


def test_a_host_that_vanishes_is_noticed_however_long_its_statement_may_take(pooled: Engine) -> None:
    with snapshot(pooled) as connection:
        session: Any = connection.connection.driver_connection
        with socket.fromfd(session.fileno(), socket.AF_INET, socket.SOCK_STREAM) as ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that may be frozen."""
    with own_server() as url:
        schema.upgrade(make_engine(url))
        yield url


@pytest.fixture
def impatient(server: str) -> Iterator[Engine]:
    engine = make_engine(server, SECONDS)
    yield engine
    engine.dispose()


def bounded(began: float) -> bool:
    """A busy machine has its share; 40 films one after the other would take four times as long."""
    return time.monotonic() - began < 10 * SECONDS


def test_a_silent_server_is_given_up_and_comes_back(
    server: str, impatient: Engine, spool: Spool, tmp_path: Path
) -> None:
    """More films at once than there are connections: none waits longer than one, and none is left half done."""
    film = write_film(tmp_path)
    first = store_file(film, spool, "XRAYQ")

    def accept(number: int) -> str:
        began, header = time.monotonic(), replace(first.header, sop_instance_uid=f"1.2.3.{number}")
        try:
            ingest(impatient, spool, replace(first, header=header))
        except StoreUnavailable:
            return "refused in time" if bounded(began) else "refused late"
        return "accepted"

    def taken(number: int) -> bool:
        """A busy machine may refuse it too; then it is sent again."""
        return wait_until(lambda: accept(number) == "accepted", 10, "the film to be taken")

    def all_at_once(do: Callable[[int], Any], numbers: range) -> Counter[Any]:
        with ThreadPoolExecutor(len(numbers)) as threads:
            return Counter(threads.map(do, numbers))

    def probe() -> list[bool]:
        return [one.ok for one in Probe({"database": lambda: probes.database(impatient)})()]

    all_at_once(taken, range(8))
    with frozen(server):
        assert all_at_once(accept, range(8, 48)) == {"refused in time": 40}
        began = time.monotonic()
        assert probe() == [False]
        for use in (reading, writing, snapshot):
            with pytest.raises(SQLAlchemyError), use(impatient) as connection:
                connection.execute(text("SELECT 1"))
        assert time.monotonic() - began < 30 * SECONDS
        with pytest.raises(Unhealthy, match="it is silent"):
            schema.connect(server, SECONDS)
    wait_until(lambda: probe() == [True], 10, "the database to answer")
    all_at_once(taken, range(8, 16))
    patient = make_engine(server)
    with reading(patient) as connection:
        rows = connection.execute(select(instance.c.sop_instance_uid)).scalars().all()
    assert len(rows) == len(set(rows)) == 16
    assert trail.verify(patient).whole
    patient.dispose()


def test_nobody_knows_what_became_of_a_commit(server: str, impatient: Engine, spool: Spool, tmp_path: Path) -> None:
    """The commit is on its way when the server freezes, and is done when it goes on: the bytes must be there then."""
    film = write_film(tmp_path, SOPInstanceUID="1.2.826.0.1.3680043.8.498.7")
    stopped: list[int] = []
    event.listen(impatient, "commit", lambda _: stopped.extend(freeze(server)), once=True)
    try:
        with pytest.raises(StoreUnavailable):
            put(impatient, spool, film)
    finally:
        thaw(stopped)
    received = store_file(film, spool, "XRAYQ")
    assert not received.fresh, "its bytes are still there"
    outcome, key = ingest(impatient, spool, received)
    with reading(impatient) as connection:
        digest = connection.execute(select(instance.c.digest).where(instance.c.id == key)).scalar_one()
    assert outcome in (ArrivalKind.DUPLICATE, ArrivalKind.NEW)
    assert spool.path_of(digest).exists()


def test_a_slow_statement_is_ended_and_a_slow_report_is_not(impatient: Engine) -> None:
    slow = text(f"SELECT pg_sleep({SECONDS * 2})")
    with pytest.raises(DBAPIError) as ended, reading(impatient) as connection:
        connection.execute(slow)
    assert (cause(ended.value), ended.value.connection_invalidated) == ("it took too long", False)
    with snapshot(impatient) as connection:
        connection.execute(slow)
    with pytest.raises(DBAPIError), reading(impatient) as connection:  # the same connection is as short as before
        connection.execute(slow)


def test_a_lock_that_is_never_given_back_holds_nobody_longer(spool: Spool, tmp_path: Path) -> None:
    """SQLite: another process stands still inside of its transaction. Each film waits once, not for those before it."""
    url = f"sqlite:///{tmp_path / 'xrayq.db'}"
    schema.upgrade(make_engine(url))
    database, film = make_engine(url, SECONDS), write_film(tmp_path)
    received = store_file(film, spool, "XRAYQ")

    def accept(number: int) -> bool:
        began, header = time.monotonic(), replace(received.header, sop_instance_uid=f"1.2.3.{number}")
        with pytest.raises(StoreUnavailable):
            ingest(database, spool, replace(received, header=header))
        return bounded(began)

    holder = sqlite3.connect(tmp_path / "xrayq.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(accept, range(8))) == {True}
    holder.rollback()
    assert put(database, spool, film)[0] is ArrivalKind.NEW
    holder.close()
    database.dispose()


def test_a_reader_after_a_writer_has_its_whole_time(tmp_path: Path) -> None:
    """SQLite: how long to wait for a lock stays with a connection, and a writer may have had little left."""
    url = f"sqlite:///{tmp_path / 'xrayq.db'}"
    database = make_engine(url, 7.0)
    asked = text("PRAGMA busy_timeout")
    fresh = database.raw_connection()
    assert fresh.cursor().execute("PRAGMA busy_timeout").fetchone() == (7000,)
    fresh.close()
    with postgresql.limited(0.5), writing(database) as connection:
        assert connection.execute(asked).scalar_one() <= 500
    for use in (reading, snapshot):
        with use(database) as connection:
            assert connection.execute(asked).scalar_one() == 7000
    database.dispose()


def test_how_long_a_connection_was_waited_for_is_said(tmp_path: Path) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}", 7.0)
    with (
        writing(database),
        ThreadPoolExecutor(1) as thread,
        pytest.raises(NoConnection, match=r"within 0\.\d+ s$"),
    ):
        thread.submit(_write_in, database, 0.2).result()
    database.dispose()


def _write_in(database: Engine, seconds: float) -> None:
    with postgresql.limited(seconds), writing(database):
        pass


@pytest.fixture(scope="module")
def guarded(server: str) -> str:
    """The same server, which wants a password of one role, and lets another not in."""
    folder = Path(str(make_url(server).query["host"]))
    rules = folder / "pg_hba.conf"
    rules.write_text(f"local all wanted scram-sha-256\nlocal all barred reject\n{rules.read_text()}")
    names = ("wanted", "barred", "crowded", "poor")
    administer(
        server,
        "SELECT pg_reload_conf()",
        *(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'" for name in names),
        "ALTER ROLE crowded CONNECTION LIMIT 0",
        "REVOKE ALL ON SCHEMA public FROM public",
    )
    return server


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": "wanted", "password": "WRONG"}, "the password is wrong"),
        ({"username": "wanted"}, "it wants a password, and none is given"),
        ({"username": "barred"}, "it does not let this user in from here (pg_hba.conf)"),
        ({"username": "nobody_knows"}, "there is no such user"),
        ({"username": "crowded"}, "it has no connection free: too many are open"),
        ({"username": "poor"}, "its search_path names no schema that its user may use"),
        ({"database": "nowhere"}, "there is no such database"),
        ({"host": "no-such-host.invalid", "query": {}}, "its host name is unknown"),
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "nobody listens there (connection refused)"),
        ({"query": {"host": "/nowhere"}}, "nobody listens there (no such socket)"),
        ({"query": {"host": "/nowhere", "sslmode": "sometimes"}}, "sslmode in its URL is none of PostgreSQL's"),
    ],
)
def test_the_cause_is_named(guarded: str, changes: dict[str, Any], words: str) -> None:
    url = make_url(guarded).set(**changes)
    given = url.render_as_string(hide_password=False)
    place = f"database {url.database} at {url.host or url.query['host']}"
    with pytest.raises(Unhealthy) as found:
        schema.upgrade(make_engine(given))
    assert str(found.value).startswith(place)
    assert words in str(found.value)
    assert "WRONG" not in str(found.value)


@pytest.mark.parametrize("command", [("db", "upgrade"), ("doctor",), ("status", "--once"), ("relay",), ("db", "check")])
def test_each_command_names_the_cause_in_one_line(guarded: str, command: tuple[str, ...]) -> None:
    url = make_url(guarded).set(username="wanted", password="WRONG-ONE").render_as_string(hide_password=False)
    done = typed(*command, database_url=url, redis_url="redis://127.0.0.1:1")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 5
    assert "database postgres at /tmp/" in said
    assert "the password is wrong" in said
    assert "Traceback" not in said
    assert "WRONG-ONE" not in said


def test_an_endpoint_names_the_cause_and_no_host(guarded: str) -> None:
    url = make_url(guarded).set(username="wanted", password="WRONG-ONE")
    (found,) = Probe({"database": lambda: probes.database(make_engine(url.render_as_string(hide_password=False)))})()
    assert found.text == "the database does not answer: the password is wrong"


def test_a_pooler_that_takes_no_transactions_is_named(postgresql_url: str) -> None:
    with pgbouncer(postgresql_url, "statement") as url, pytest.raises(Unhealthy, match="it should be transaction"):
        schema.connect(url)


def test_a_pooler_that_cannot_reach_its_server_or_has_no_connection_free(server: str) -> None:
    with pgbouncer(server) as url:
        elsewhere = make_url(url).set(username="stranger").render_as_string(hide_password=False)
        with pytest.raises(Unhealthy, match="it does not let this user in"):
            schema.connect(elsewhere)
        encrypted = make_url(url).update_query_dict({"sslmode": "require"}).render_as_string(hide_password=False)
        with pytest.raises(Unhealthy, match=r"an encrypted connection is wanted \(sslmode\)"):
            schema.connect(encrypted)
        with frozen(server):
            began = time.monotonic()
            with pytest.raises(Unhealthy, match="it is silent"):
                schema.connect(url, SECONDS)
            assert bounded(began)
        wait_until(lambda: probes.database(make_engine(url, 20)), 10, "the pooler to connect anew")
