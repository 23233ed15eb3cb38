"""The endpoints of gateway and relay, made from settings as their commands do, with real databases, films and Redis.

The worker's are in tests/e2e/test_consuming.py.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, make_url, update

from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.local import store_file
from dicom_gateway.options import GatewayOptions
from dicom_gateway.scp import Gateway
from dicom_gateway.scu import echo, send
from dicom_gateway.spool import Spool
from tests.endpoints import Reply, request, samples
from tests.phantoms import write_film
from tests.postgres import administer
from tests.protocol.raw import DX, Peer, context_item, request_body
from tests.protocol.raw import request as association_request
from tests.services import free_port, wait_until
from worker.db.session import writing
from worker.db.tables import alarm, instance
from worker.db.tables import outbox as outbox_table
from worker.health.outbox_metrics import OutboxCollector
from worker.health.probes import Turns
from worker.metrics import MOST_TITLES, OTHER, GatewayMetrics, RelayMetrics, Titles
from worker.processes import endpoints
from worker.processes.redis_server import RedisServer
from worker.queue import errands, outbox
from worker.queue.broker import make_app, publisher
from worker.queue.outbox import RelayOptions, relay_once
from worker.receiving.ingest import ingest
from worker.settings import Settings

SCRAPE_SECONDS = 2.0
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
OPTIONS = RelayOptions(batch_size=2, max_in_flight=4, lease_seconds=60, poll_seconds=0.05)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def served(database: Engine, spool: Spool, port: int) -> Iterator[Gateway]:
    """A gateway that lets only CR1 in, and its endpoint on `port`."""
    settings = Settings(gateway_http_port=port, host="127.0.0.1", calling_aes=("CR1",))
    metrics = GatewayMetrics(own_title="OWN", calling_aes=settings.calling_aes)
    options = GatewayOptions(host="127.0.0.1", port=0, calling_aes=("CR1", "OWN"))
    gateway = Gateway(options, spool, lambda received: ingest(database, spool, received) and None, metrics)
    gateway.start()
    endpoints.gateway(settings, metrics, gateway, database, spool, "OWN")
    yield gateway
    gateway.stop(grace=0)


def unready(port: int, check: str) -> str:
    """What the check says; the others are well."""
    reply: Reply = wait_until(lambda: _unready(port), 10, f"{check} to be unready")  # type: ignore[arg-type,return-value]
    assert set(reply.failing) == {check}
    return reply.failing[check]


def _unready(port: int) -> Reply | None:
    reply = request(port, "/readyz")
    return reply if reply.status == 503 else None


def ready_again(port: int) -> None:
    wait_until(lambda: request(port, "/readyz").status == 200, 10, "it to be ready again")


@contextmanager
def gone(database: Engine) -> Iterator[None]:
    """The file is moved away, or the server lets nobody in."""
    if database.dialect.name == "sqlite":
        file = Path(str(database.url.database))
        file.rename(file.with_suffix(".away"))
        yield
        file.with_suffix(".away").rename(file)
        return
    admin, name = make_url(database.url).set(drivername="postgresql", database="postgres"), database.url.database

    def let_in(allowed: bool) -> None:
        administer(
            admin.render_as_string(hide_password=False),
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS {str(allowed).lower()}",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )

    let_in(False)
    yield
    let_in(True)


def test_gateway_counts_peers_and_not_its_own_probe(served: Gateway, port: int, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(film.read_bytes()[:-1000])
    sent = [one.status for one in send("127.0.0.1", served.port, [film, cut], called_ae="XRAYQ", calling_ae="CR1")]
    assert sent == [0, 0xC001]
    with pytest.raises(PeerUnavailable):
        echo("127.0.0.1", served.port, called_ae="XRAYQ", calling_ae="STRANGER")
    with Peer(served.port) as peer:
        worklist = context_item(1, b"1.2.840.10008.5.1.4.31", b"1.2.840.10008.1.2")
        peer.send(association_request(request_body(worklist + context_item(3, DX.encode()), b"", calling=b"CR1")))
        peer.receive()
    assert request(port, "/readyz").status == request(port, "/healthz").status == 200
    wait_until(lambda: len([key for key in samples(port) if key[0] == "xrayq_contexts_refused_total"]) == 2, 5, "both")
    began = time.monotonic()
    found = samples(port)
    assert time.monotonic() - began < SCRAPE_SECONDS
    stores = {key: value for key, value in found.items() if key[0] == "xrayq_c_stores_total"}
    assert stores == {("xrayq_c_stores_total", "CR1", "0x0000"): 1, ("xrayq_c_stores_total", "CR1", "0xC001"): 1}
    outcomes = {key[1:]: value for key, value in found.items() if key[0] == "xrayq_associations_total"}
    assert outcomes.pop(("CR1", "aborted"), 1) == 1, "the peer of raw bytes"
    assert outcomes == {("CR1", "accepted"): 2, (OTHER, "rejected_calling_ae"): 1}  # the log names it
    contexts = {key[1:]: value for key, value in found.items() if key[0] == "xrayq_contexts_refused_total"}
    assert contexts == {("CR1", "abstract_syntax"): 1, ("CR1", "transfer_syntax"): 1}
    received = found["xrayq_received_bytes_total", "CR1"]
    assert 0 < film.stat().st_size + cut.stat().st_size - received < 2000  # less their meta headers
    assert found["xrayq_c_store_response_seconds_count",] == 2
    assert found["xrayq_spool_free_bytes",] > found["xrayq_spool_reserve_bytes",] == 1 << 20
    wait_until(lambda: samples(port)["xrayq_associations_open",] == 0, 5, "the releases")


@one_database
def test_gateway_with_a_spool_that_cannot_take_a_film(served: Gateway, port: int, spool: Spool) -> None:
    ready_again(port)
    reserve, spool.reserve_bytes = spool.reserve_bytes, 1 << 60
    assert "GiB free, below the reserve of 1,073,741,824.0 GiB" in unready(port, "spool")
    spool.reserve_bytes = reserve
    ready_again(port)
    incoming = spool.root / "incoming"
    shutil.rmtree(incoming)
    incoming.touch()  # what root cannot write either
    assert unready(port, "spool") == "the spool cannot be written"
    incoming.unlink()
    incoming.mkdir()
    ready_again(port)


def test_gateway_with_the_database_gone(served: Gateway, port: int, database: Engine) -> None:
    ready_again(port)
    with gone(database):
        assert "database" in unready(port, "database")
        assert request(port, "/healthz").status == 200
    ready_again(port)


@one_database
def test_gateway_that_has_ended(served: Gateway, port: int) -> None:
    served.stop(grace=0)
    assert unready(port, "c-echo") == "no answer to C-ECHO"
    wait_until(lambda: request(port, "/healthz").status == 503, 5, "the listener to have ended")


def test_strangers_cannot_fill_prometheus_with_titles() -> None:
    titles = Titles(known=("CR1",))
    strangers = [f"STRANGER{number}" for number in range(MOST_TITLES + 50)]
    for stranger in strangers:
        titles.add(stranger)
    assert len({titles.if_known(stranger) for stranger in strangers}) == MOST_TITLES + 1
    assert titles.if_known("ONE MORE") == OTHER
    assert (titles.if_known("CR1"), titles.if_known("STRANGER0")) == ("CR1", "STRANGER0")


def test_only_a_film_that_is_kept_makes_a_title_a_label() -> None:
    metrics = GatewayMetrics(own_title="OWN")
    for calling_ae in ("SCAN1", "CR9"):
        metrics.accepted(calling_ae)
    metrics.stored("SCAN1", 0xC001, 1, 0.0)
    metrics.stored("CR9", 0xA900, 1, 0.0)
    metrics.kept("CR9")
    for status in (0x0000, 0xA900):
        metrics.stored("CR9", status, 1, 0.0)
    stores = {
        (one.labels["calling_ae"], one.labels["status"]): one.value
        for family in metrics.registry.collect()
        for one in family.samples
        if one.name == "xrayq_c_stores_total"
    }
    assert stores == {(OTHER, "0xC001"): 1, (OTHER, "0xA900"): 1, ("CR9", "0x0000"): 1, ("CR9", "0xA900"): 1}


@pytest.fixture
def films(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """Five waiting films of which the relay has leased two, one dead letter, an errand and an open alarm."""
    now = datetime.now(UTC)
    for number in range(6):
        ingest(database, spool, store_file(write_film(tmp_path, f"film{number}"), spool, "XRAYQ"))
    outbox.lease_batch(database, OPTIONS, datetime.now(UTC))
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id == 6).values(state="failed", reason="corrupt_pixels"))
        connection.execute(outbox_table.delete().where(outbox_table.c.instance_id == 6))
        errands.add(connection, errands.Kind.MAIL, "one", now)
        common = {"subject": "", "value": 1.0, "threshold": 1.0, "text": "", "raised_at": now}
        connection.execute(insert(alarm).values(rule="backlog", **common))
        connection.execute(insert(alarm).values(rule="drift", cleared_at=now, **common))


@pytest.mark.usefixtures("films")
def test_relay_shows_the_outbox(database: Engine, redis_server: RedisServer, port: int) -> None:
    with relaying(database, redis_server, port) as turn:
        turn()
        found = samples(port)
        assert found["xrayq_database_up",] == 1
        assert (found["xrayq_outbox_films", "waiting"], found["xrayq_outbox_films", "leased"]) == (1, 4)
        assert 0 < found["xrayq_oldest_waiting_film_seconds",] < 120
        assert found["xrayq_dead_letters",] == 1
        kinds = {key[1]: value for key, value in found.items() if key[0] == "xrayq_errands"}
        assert kinds == {kind.value: int(kind is errands.Kind.MAIL) for kind in errands.Kind}
        rules = {key[1] for key, value in found.items() if key[0] == "xrayq_alarms_open" and value}
        assert rules == {"backlog"}
        assert found["xrayq_alarms_acknowledged", "backlog"] == 0
        assert (found["xrayq_published_messages_total",], found["xrayq_published_films_total",]) == (1, 2)


def test_relay_without_a_database_scrapes_and_says_so(database: Engine, redis_server: RedisServer, port: int) -> None:
    with relaying(database, redis_server, port) as turn:
        turn()
        ready_again(port)
        with gone(database):
            assert "database" in unready(port, "database")
            found = [sample for family in OutboxCollector(database).collect() for sample in family.samples]
            assert [(sample.name, sample.value) for sample in found] == [("xrayq_database_up", 0)]
        ready_again(port)


@one_database
def test_relay_is_unready_without_redis_and_ready_again(database: Engine, redis_server: RedisServer, port: int) -> None:
    with relaying(database, redis_server, port) as turn:
        assert set(request(port, "/readyz").failing) == {"loop"}
        turn()
        ready_again(port)
        redis_server.stop()
        assert unready(port, "redis") == "Redis: no such socket"
        redis_server.start()
        ready_again(port)


def test_a_loop_that_stands_still_says_for_how_long() -> None:
    turns = Turns()
    turns.turned("OperationalError")
    assert turns.alive(5) == "the loop turned 0 s ago, OperationalError"
    with pytest.raises(Exception, match="never yet: the outbox was read, OperationalError"):
        turns.succeeding(5)
    turns.turned()
    assert turns.succeeding(5) == "the outbox was read 0 s ago"
    with pytest.raises(Exception, match="the loop turned 0 s ago"):
        turns.alive(-1)


@contextmanager
def relaying(database: Engine, redis_server: RedisServer, port: int) -> Iterator[Callable[[], None]]:
    """A relay's endpoint, and a function that turns its loop once."""
    app, metrics, turns = make_app(redis_server.url, visibility_seconds=60), RelayMetrics(), Turns()
    endpoints.relay(Settings(relay_http_port=port), metrics, turns, database, app)
    publish = endpoints.counted(publisher(app), metrics)

    def turn() -> None:
        relay_once(database, publish, OPTIONS)
        turns.turned()

    yield turn
