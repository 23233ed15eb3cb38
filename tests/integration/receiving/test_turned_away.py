"""A Redis that does not do what it is asked for: who asked learns why, and a worker does not end as if all was well."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.services import environment, free_port, typed
from worker.db import schema
from worker.db.session import make_engine
from worker.errors import PublishError
from worker.processes.redis_server import RedisServer
from worker.queue import broker

Client = Any  # redis.Redis, whose types differ between releases
REFUSES: dict[str, Callable[[Client], object]] = {
    "it is a read-only replica": lambda client: client.replicaof("127.0.0.1", free_port()),
    "its memory is full, see maxmemory": lambda client: client.config_set("maxmemory", "1"),
    "its user may not do this, see its ACL": lambda client: client.execute_command(
        "ACL", "SETUSER", "default", "-lpush"
    ),
    "it wants a password": lambda client: client.config_set("requirepass", "SECRET"),
}


def client(server: RedisServer) -> Client:
    return redis.Redis(unix_socket_path=str(server.socket))


@pytest.mark.parametrize("why", REFUSES)
def test_whoever_publishes_learns_why(redis_server: RedisServer, why: str) -> None:
    REFUSES[why](client(redis_server))
    publish = broker.publisher(broker.make_app(redis_server.url, visibility_seconds=10))
    with pytest.raises(PublishError, match=why):
        publish({1: 0})


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://127.0.0.1:1/0", "connection refused"),
        ("redis://:SECRET@no-such-host.invalid/0", "no such host|cannot be looked up"),
        ("redis+socket:///nowhere/redis.sock", "no such socket"),
    ],
)
def test_a_redis_that_is_not_there_is_told_from_others(url: str, why: str) -> None:
    with pytest.raises(PublishError, match=f"^({why})$"):
        broker.answers(broker.make_app(url, visibility_seconds=10))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:SECRET@cache:6380/2", "cache:6380/2"),
        ("rediss://cache", "cache:6379"),
        ("redis+socket:///run/redis.sock", "/run/redis.sock"),
    ],
)
def test_an_address_has_no_password(url: str, shown: str) -> None:
    assert broker.address(url) == shown


def test_doctor_names_address_and_cause(tmp_path: Path) -> None:
    done = typed("doctor", home=str(tmp_path), redis_url="redis://user:SECRET@127.0.0.1:1/3")
    assert "Redis at 127.0.0.1:1/3: connection refused; check it and XRAYQ_REDIS_URL" in done.stdout
    assert "cannot ask for workers: connection refused" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr


@pytest.mark.parametrize("why", ["it is a read-only replica", "its memory is full, see maxmemory"])
def test_a_worker_that_is_turned_away_ends_with_an_exit_code_and_one_line(
    redis_server: RedisServer, tmp_path: Path, why: str
) -> None:
    """Celery issue 7946: it ended with exit code 0, and nobody started it anew."""
    home = tmp_path / "home"
    home.mkdir()
    schema.upgrade(make_engine(f"sqlite:///{home / 'xrayq.db'}"))
    REFUSES[why](client(redis_server))
    env = environment(home=str(home), redis_url=redis_server.url)
    command = [sys.executable, "-m", "worker.cli", "worker"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 5, done.stderr
    assert done.stderr.splitlines()[-1] == f"xrayq: Redis turned this worker away: {why}"
    assert "Unrecoverable" not in done.stderr
