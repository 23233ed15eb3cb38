"""A worker that lives and consumes nothing (celery issue 10205): seen, and mended without a person.

`xrayq up` is given a Redis here instead of starting its own, so that a test can take it away and bring it back.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.endpoints import ready, request, samples
from tests.phantoms import write_film
from tests.services import Xrayq, child, environment, free_port, kill, process, typed_in, wait_until
from worker.processes.redis_server import RedisServer
from worker.queue.broker import PROBE_TASK, make_app

pytestmark = pytest.mark.e2e

STALL_SECONDS = 10.0
UNREADY_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running `xrayq up`."""

    pid: int
    folder: Path
    relay: int
    """HTTP port."""
    worker: int
    redis: RedisServer
    xrayq: Xrayq

    def score_one_more(self, name: str) -> None:
        """Submit a new film and wait until every film is scored."""
        code, _, err = self.xrayq("submit", str(write_film(self.folder, name)))
        assert code == 0, err

        def scored() -> bool:
            views = json.loads(self.xrayq("instance", "list", "--json")[1])
            return {view["state"] for view in views} == {"scored"}

        wait_until(scored, 60, f"a score of {name}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("consuming")
    home, relay, worker = str(folder / "home"), free_port(), free_port()
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    env = environment(
        home=home,
        port=str(free_port()),
        redis_url=redis.url,
        stall_seconds=f"{STALL_SECONDS:g}",
        relay_http_port=str(relay),
        worker_http_port=str(worker),
    )
    with (
        typed_in(folder, home=home, config=os.devnull, spool_reserve_mib="16") as xrayq,
        process("up", env, folder / "log") as up,
    ):
        yield Service(pid=up.pid, folder=folder, relay=relay, worker=worker, redis=redis, xrayq=xrayq)
    redis.stop()


def until(port: int, wanted: bool, seconds: float = 60.0) -> float:
    """Wait until it is ready, or is not; how long that took, seconds."""
    began = time.monotonic()
    wait_until(lambda: ready(port) is wanted, seconds, "ready" if wanted else "unready")
    return time.monotonic() - began


@contextmanager
def timed() -> Iterator[list[float]]:
    took: list[float] = []
    began = time.monotonic()
    yield took
    took.append(time.monotonic() - began)


@pytest.mark.slow
def test_redis_killed_under_relay_and_worker(service: Service) -> None:
    until(service.worker, True)
    until(service.relay, True)
    service.score_one_more("before")
    with timed() as scrape:
        found = samples(service.worker)
    assert found["xrayq_films_total", "scored", ""] >= 1
    films = found["xrayq_score_probability_count", "pneumonia"]
    assert films == found["xrayq_decode_seconds_count",] == found["xrayq_batch_films_sum",] >= 1
    assert found["xrayq_flags_total", "normal"] == 0
    assert found["xrayq_commit_seconds_count",] == found["xrayq_inference_seconds_count",] >= 1
    assert [value for (name, *_), value in found.items() if name == "xrayq_engine_info"] == [1]
    # The relay counts after it has published, and the film may be scored before.
    wait_until(lambda: samples(service.relay)["xrayq_published_films_total",] >= 1)

    worker = child(service.pid, "worker")
    assert service.redis.process is not None
    kill(service.redis.process.pid)
    service.redis.process.wait()
    unready = until(service.worker, False, UNREADY_SECONDS), until(service.relay, False, UNREADY_SECONDS)
    assert max(unready) < UNREADY_SECONDS
    assert "redis" in request(service.relay, "/readyz").failing

    def silent() -> bool:
        return samples(service.worker)["xrayq_since_consumed_seconds",] > 1.5 * STALL_SECONDS

    wait_until(silent, 60, "more than is a stall while Redis answers")
    assert set(request(service.worker, "/readyz").failing) == {"consuming", "redis"}
    assert request(service.worker, "/healthz").status == request(service.relay, "/healthz").status == 200

    service.redis.start()
    again = until(service.worker, True), until(service.relay, True)
    service.score_one_more("after")
    assert child(service.pid, "worker") == worker, "it waited, it did not end itself"
    print(
        f"unready after {unready[0]:.1f} s (worker), {unready[1]:.1f} s (relay); ready again after {again[0]:.1f} s, "
        f"{again[1]:.1f} s; a scrape took {scrape[0] * 1e3:.0f} ms"
    )


@pytest.mark.slow
def test_a_worker_that_consumes_nothing_ends_itself_and_the_next_one_scores(service: Service) -> None:
    until(service.worker, True)
    stalled = child(service.pid, "worker")
    app = make_app(service.redis.url, visibility_seconds=60)
    (queues,) = app.control.inspect(timeout=5, limit=1).active_queues().values()
    names = [queue["name"] for queue in queues]
    assert any(name.startswith(f"{PROBE_TASK}.") for name in names)
    for name in names:
        app.control.cancel_consumer(name)
    unready = until(service.worker, False, UNREADY_SECONDS)
    assert unready < UNREADY_SECONDS
    assert set(request(service.worker, "/readyz").failing) == {"consuming"}
    with timed() as gone:
        wait_until(lambda: child(service.pid, "worker") not in (stalled, None), 30, "another worker")
    again = until(service.worker, True)
    service.score_one_more("by the next worker")
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        left = [name for name in client.keys(f"{PROBE_TASK}*") if client.ttl(name) < 0]
    assert left == [], "queues of probes stay in Redis for ever"
    log = (service.folder / "log").read_text()
    assert f"consumed nothing for {STALL_SECONDS:g} s while Redis answers" in log
    assert "ended, will restart role=worker exit_code=5" in log
    print(f"unready after {unready:.1f} s; another worker {gone[0]:.1f} s later, ready {again:.1f} s after that")
