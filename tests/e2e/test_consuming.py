"""A worker that lives and consumes nothing (celery issue 10205): seen, and mended without a person."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.endpoints import ready, request, samples
from tests.phantoms import write_film
from tests.services import Xrayq, child, environment, free_port, kill, process, typed_in, wait_until
from worker.db import schema
from worker.db.session import make_engine
from worker.instances import list_instances
from worker.queue import PROBE_TASK, make_app
from worker.redis_server import RedisServer

pytestmark = pytest.mark.e2e

STALL_SECONDS = 5.0
UNREADY_SECONDS = 30.0


def score_one_more(xrayq: Xrayq, folder: Path, name: str) -> None:
    """Submit a new film and wait for its score."""
    code, _, err = xrayq("submit", str(write_film(folder, name)))
    assert code == 0, err

    def scored() -> bool:
        views = json.loads(xrayq("instance", "list", "--json")[1])
        return {view["state"] for view in views} == {"scored"}

    wait_until(scored, 60, f"a score of {name}")


def until_unready(port: int) -> float:
    began = time.monotonic()
    wait_until(lambda: not ready(port), UNREADY_SECONDS, "it to be unready")
    return time.monotonic() - began


def until_ready(port: int) -> float:
    began = time.monotonic()
    wait_until(lambda: ready(port), 60, "it to be ready")
    return time.monotonic() - began


def test_redis_killed_under_relay_and_worker(redis_server: RedisServer, tmp_path: Path) -> None:
    home, worker_port, relay_port = tmp_path / "home", free_port(), free_port()
    settings = {
        "home": str(home),
        "redis_url": redis_server.url,
        "stall_seconds": f"{STALL_SECONDS:g}",
        "worker_http_port": str(worker_port),
        "relay_http_port": str(relay_port),
    }
    env = environment(**settings)
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    home.mkdir()
    schema.upgrade(database)
    with ExitStack() as stack:
        xrayq = stack.enter_context(typed_in(tmp_path, home=str(home), config=os.devnull, spool_reserve_mib="16"))
        stack.enter_context(process("relay", env, tmp_path / "log"))
        worker = stack.enter_context(process("worker", env, tmp_path / "log"))
        until_ready(worker_port)
        until_ready(relay_port)
        score_one_more(xrayq, tmp_path, "before")
        began = time.monotonic()
        after = samples(worker_port)
        print(f"a scrape took {(time.monotonic() - began) * 1e3:.0f} ms")
        assert after["xrayq_films_total", "scored", ""] == 1
        assert after["xrayq_score_probability_count", "pneumonia"] == 1
        assert after["xrayq_decode_seconds_count",] == after["xrayq_commit_seconds_count",] == 1
        assert after["xrayq_inference_seconds_count",] == after["xrayq_batch_films_sum",] == 1
        assert [value for (name, *_), value in after.items() if name == "xrayq_engine_info"] == [1]
        published = samples(relay_port)
        assert published["xrayq_published_films_total",] == published["xrayq_published_messages_total",] == 1

        assert redis_server.process is not None
        kill(redis_server.process.pid)
        redis_server.process.wait()
        unready = until_unready(worker_port), until_unready(relay_port)
        assert {"consuming", "redis"} >= set(request(worker_port, "/readyz").failing) >= {"redis"}
        assert "redis" in request(relay_port, "/readyz").failing

        def silent() -> bool:
            return samples(worker_port)["xrayq_since_consumed_seconds",] > 1.5 * STALL_SECONDS

        wait_until(silent, 60, "more than is a stall while Redis answers")
        assert set(request(worker_port, "/readyz").failing) == {"consuming", "redis"}
        assert request(worker_port, "/healthz").status == request(relay_port, "/healthz").status == 200

        redis_server.start()
        again = until_ready(worker_port), until_ready(relay_port)
        score_one_more(xrayq, tmp_path, "after")
        assert worker.poll() is None, "it waited, it did not end itself"
        print(
            f"unready after {unready[0]:.1f} s (worker), {unready[1]:.1f} s (relay); "
            f"ready again after {again[0]:.1f} s, {again[1]:.1f} s"
        )
    assert len(list_instances(database)) == 2
    database.dispose()


def test_a_worker_that_consumes_nothing_ends_itself_and_the_next_one_scores(tmp_path: Path) -> None:
    home, port, http_port = tmp_path / "home", free_port(), free_port()
    env = environment(
        home=str(home), port=str(port), stall_seconds=f"{STALL_SECONDS:g}", worker_http_port=str(http_port)
    )
    with (
        typed_in(tmp_path, home=str(home), config=os.devnull, spool_reserve_mib="16") as xrayq,
        process("up", env, tmp_path / "log") as up,
    ):
        until_ready(http_port)
        first = child(up.pid, "worker")
        app = make_app((home / "run" / "redis.url").read_text().strip(), visibility_seconds=60)
        (queues,) = app.control.inspect(timeout=5, limit=1).active_queues().values()
        names = {queue["name"] for queue in queues}
        assert any(name.startswith(f"{PROBE_TASK}.") for name in names)
        for name in names:
            app.control.cancel_consumer(name)
        unready = until_unready(http_port)
        gone = time.monotonic()
        wait_until(lambda: child(up.pid, "worker") not in (first, None), 30, "another worker")
        gone = time.monotonic() - gone
        again = until_ready(http_port)
        score_one_more(xrayq, tmp_path, "after")
        with app.connection_for_read() as connection:
            client = connection.default_channel.client
            left = [name for name in client.keys(f"{PROBE_TASK}*") if client.ttl(name) < 0]
        assert left == [], "queues of probes stay in Redis for ever"
        print(f"unready after {unready:.1f} s; another worker {gone:.1f} s later, ready {again:.1f} s after that")
    assert "consumed nothing for 5 s while Redis answers" in (tmp_path / "log").read_text()
