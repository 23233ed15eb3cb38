"""Probe messages through a real Redis: each comes back, and nothing of them stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.services import environment
from worker.errors import PublishError
from worker.processes.redis_server import RedisServer
from worker.queue.broker import PROBE_EXPIRES, PROBE_TASK, add_probe_queue, make_app, prober

ROOT = Path(__file__).parents[3]
PROBES = 20
CONSUMER = """
import gc, json, os, signal, sys, threading
from kombu.transport.redis import QoS
from worker.queue import broker

app = broker.make_app(sys.argv[1], visibility_seconds=60)
probe = broker.prober(app, broker.add_probe_queue(app))
back = threading.Semaphore(0)

def drive():
    for _ in range(int(sys.argv[2])):
        probe()
        if not back.acquire(timeout=20):
            break
    else:
        kept = [len(one._delivered) + len(one._dirty) for one in gc.get_objects() if isinstance(one, QoS)]
        print(json.dumps(kept), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=drive, daemon=True).start()
broker.consume(app, print, concurrency=2, seen=back.release)
"""
FAILING = """
import os, signal, sys, threading
from worker.queue import broker

app = broker.make_app(sys.argv[1], visibility_seconds=60)
failed = threading.Event()

def score(claims):
    failed.set()
    raise ValueError("DETAIL: Doe^Jane")

def drive():
    broker.publisher(app)({1: 0})
    failed.wait(20)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=drive, daemon=True).start()
broker.consume(app, score, concurrency=1)
"""


@pytest.fixture
def client(redis_server: RedisServer) -> "redis.Redis[bytes]":
    return redis.Redis(unix_socket_path=str(redis_server.socket))


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        env=environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_every_probe_comes_back_and_nobody_keeps_it(redis_server: RedisServer, client: "redis.Redis[bytes]") -> None:
    ran = run(CONSUMER, redis_server.url, str(PROBES))
    kept = json.loads(ran.stdout.splitlines()[0])
    assert kept, ran.stderr
    assert set(kept) == {0}, "kombu counts messages that no one acknowledges"
    assert [key for key in client.keys("*") if PROBE_TASK.encode() in key or b"unacked" in key] == []


def test_a_task_that_fails_logs_its_type_alone(redis_server: RedisServer) -> None:
    """The text may be a database's, with a row in it."""
    ran = run(FAILING, redis_server.url)
    assert "score task failed" in ran.stderr
    assert "Doe" not in ran.stderr + ran.stdout


def test_what_nobody_takes_goes_by_itself(redis_server: RedisServer, client: "redis.Redis[bytes]") -> None:
    app = make_app(redis_server.url, visibility_seconds=60)
    name = add_probe_queue(app)
    prober(app, name)()
    assert client.llen(name) == 1
    assert 0 < client.ttl(name) <= PROBE_EXPIRES


def test_a_redis_that_is_away_is_said_so(redis_server: RedisServer) -> None:
    app = make_app(redis_server.url, visibility_seconds=60)
    probe = prober(app, add_probe_queue(app))
    probe()
    redis_server.stop()
    with pytest.raises(PublishError):
        probe()
    redis_server.start()
    probe()
