"""A database whose clock is not the hosts': nothing that two processes compare may be of a host's clock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.engine.ort import OrtEngine
from tests.integration.scoring.test_task import BrokenEngine, make_scoring
from tests.phantoms import write_film
from worker.alarms import ledger
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.bundles import roles
from worker.db import schema
from worker.db.session import database_time, make_engine, reading, time_of, writing
from worker.db.tables import alarm, audit_event, errand, instance, outbox, score, truth
from worker.instances import reject, requeue
from worker.monitoring.labels import import_labels
from worker.queue import errands
from worker.queue.errands import Kind
from worker.queue.outbox import Claims, RelayOptions, relay_once
from worker.receiving.ingest import ingest
from worker.scoring.decoding import DecodePool

OPTIONS = RelayOptions(batch_size=4, max_in_flight=8, lease_seconds=30, poll_seconds=0.01)
NEAR = timedelta(minutes=20)


@pytest.fixture(params=[-1, 1], ids=["an hour behind", "an hour ahead"])
def hours(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def skewed(postgresql_url: str, hours: int) -> Iterator[Engine]:
    """PostgreSQL whose clock_timestamp() is that far from this host's."""
    engine = make_engine(postgresql_url)
    schema.upgrade(engine)
    with writing(engine) as connection:
        connection.execute(text("CREATE SCHEMA skewed"))
        connection.execute(
            text(
                "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
                f"$$ SELECT pg_catalog.clock_timestamp() + interval '{hours} hours' $$"
            )
        )
        name = engine.url.database
        connection.execute(text(f'ALTER DATABASE "{name}" SET search_path = public, skewed, pg_catalog'))
    engine.dispose()
    yield engine
    engine.dispose()


@pytest.fixture
def film(skewed: Engine, spool: Spool, tmp_path: Path) -> int:
    return ingest(skewed, spool, store_file(write_film(tmp_path), spool, "XRAYQ"))[1]


def far(moment: datetime, hours: int) -> bool:
    return abs(moment - datetime.now(UTC) - timedelta(hours=hours)) < NEAR


def test_the_time_is_the_databases(skewed: Engine, hours: int) -> None:
    assert far(time_of(skewed), hours)


def test_sqlites_is_the_hosts(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with reading(make_engine(f"sqlite:///{tmp_path / 'one.db'}")) as connection:
        assert before <= database_time(connection) <= datetime.now(UTC)


def test_a_film_is_due_at_once_and_leased_by_that_clock(skewed: Engine, film: int, hours: int) -> None:
    published: list[Claims] = []
    assert relay_once(skewed, published.append, OPTIONS) == 1
    assert relay_once(skewed, published.append, OPTIONS) == 0, "the lease holds"
    assert published == [{film: 0}]
    with reading(skewed) as connection:
        times = select(outbox.c.next_attempt_at, outbox.c.lease_until, instance.c.received_at)
        row = connection.execute(times.join(instance, instance.c.id == outbox.c.instance_id)).one()
    assert all(far(moment, hours) for moment in row)


def test_a_worker_claims_postpones_and_ends_by_that_clock(skewed: Engine, film: int, spool: Spool, hours: int) -> None:
    bundle = bundles.load(bundles.REFERENCE)
    decoders = DecodePool(processes=1, timeout=30, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=4_000_000)
    try:
        make_scoring(skewed, spool, bundle, BrokenEngine(), decoders).run({film: 0})
        with reading(skewed) as connection:
            assert far(connection.execute(select(outbox.c.next_attempt_at)).scalar_one(), hours)
        scoring = make_scoring(skewed, spool, bundle, OrtEngine(bundle, threads=1), decoders)
        assert scoring._begin({film: 1})[0]
        with reading(skewed) as connection:
            lease = connection.execute(select(outbox.c.lease_until)).scalar_one()
        assert far(lease, hours)
        scoring.run({film: 2})
    finally:
        decoders.close()
    with reading(skewed) as connection:
        row = connection.execute(select(instance.c.state, instance.c.received_at, instance.c.finished_at)).one()
        scored_at = connection.execute(select(score.c.scored_at)).scalar_one()
    assert row.state == "scored"
    assert row.received_at < row.finished_at == scored_at
    assert far(scored_at, hours)


def test_what_a_person_does_is_of_that_clock(skewed: Engine, film: int, hours: int) -> None:
    with writing(skewed) as connection:
        connection.execute(update(instance).values(state="failed", reason="truncated_pixels"))
        connection.execute(outbox.delete())
    requeue(skewed, film, "operator:test")
    assert relay_once(skewed, lambda _: None, OPTIONS) == 1
    reject(skewed, film, "operator:test")
    with reading(skewed) as connection:
        times = [
            *connection.execute(select(instance.c.finished_at)).scalars(),
            *connection.execute(select(audit_event.c.at)).scalars(),
        ]
    assert len(times) == 4
    assert all(far(moment, hours) for moment in times)


def test_alarms_and_their_errands_too(skewed: Engine, hours: int) -> None:
    condition = Condition(rule="dead_letters", value=2, threshold=1, text="Two.")
    with writing(skewed) as connection:
        ledger.settle(connection, {"dead_letters"}, [condition], (Kind.MAIL,))
    with reading(skewed) as connection:
        raised = connection.execute(select(alarm.c.raised_at)).scalar_one()
        due = connection.execute(select(errand.c.next_attempt_at)).scalar_one()
    assert far(raised, hours)
    assert far(due, hours)
    assert errands.take(skewed, (Kind.MAIL,), now=time_of(skewed), lease_seconds=30)


def test_times_rise_along_the_chain(skewed: Engine, film: int) -> None:
    """Made in one order and written in the other."""
    first, second = (trail.event(action="tested", instance_id=film, actor=name) for name in ("first", "second"))
    for one in (second, first):
        with writing(skewed) as connection:
            trail.record_all(connection, [one])
    with reading(skewed) as connection:
        times = list(connection.execute(select(audit_event.c.at).order_by(audit_event.c.id)).scalars())
    assert times == sorted(times)
    assert trail.verify(skewed).whole


def test_bundles_labels_and_references_are_of_the_databases_time(skewed: Engine, hours: int, tmp_path: Path) -> None:
    new = roles.by_settings(None)
    roles.activate(skewed, new, default=None, actor="operator:test")
    file = tmp_path / "labels.csv"
    file.write_text("sop_instance_uid,accession_number,reader,label,read_on\n1.2.3,,A,normal,2026-01-02\n")
    import_labels(skewed, file, ("normal",), "operator:test")
    with reading(skewed) as connection:
        live, _ = roles.in_service(connection)
        assert live is not None
        assert live.changed_at is not None
        assert far(live.changed_at, hours)
        assert far(connection.execute(select(truth.c.imported_at)).scalar_one(), hours)
