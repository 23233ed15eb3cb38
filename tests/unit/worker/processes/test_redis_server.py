import shutil
from pathlib import Path

import psutil
import pytest
import redis

from worker.errors import Unhealthy
from worker.processes.redis_server import LONGEST_SOCKET_PATH, RedisServer, find_binary, running_socket


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket))


@pytest.mark.parametrize("depth", [0, 12])
def test_private_server_from_start_to_stop(tmp_path: Path, depth: int) -> None:
    home = tmp_path.joinpath(*["folder"] * depth)
    server = RedisServer(home)
    assert running_socket(home) == ""
    server.start()
    try:
        assert len(str(server.socket)) <= LONGEST_SOCKET_PATH
        assert running_socket(home) == server.url == f"redis+socket://{server.socket}"
        with client(server) as connection:
            assert connection.ping()
            assert connection.config_get("port")["port"] == "0"
            assert connection.config_get("save")["save"] == ""
        assert server.socket.stat().st_mode & 0o077 == 0
        assert (home / "run").stat().st_mode & 0o077 == 0
        assert server.process is not None
        assert psutil.Process(server.process.pid).net_connections("inet") == []
    finally:
        server.stop()
    assert server.process.poll() is not None
    assert running_socket(home) == ""
    assert not server.socket.exists()
    server.stop()


def test_server_that_cannot_start_is_named(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(Unhealthy, match=r"did not start \(exit \d+\)"):
        server.start()
    assert running_socket(tmp_path) == ""


def test_binary_is_there() -> None:
    assert find_binary().is_file()


def test_the_systems_own_server_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "valkey-server").write_text("#!/bin/sh\n")
    (tmp_path / "valkey-server").chmod(0o755)
    assert find_binary() == tmp_path / "valkey-server"
