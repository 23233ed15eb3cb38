"""A log that nobody reads: the service receives and scores, says so, and stops when it is told to."""

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_gateway.scu import send
from tests.endpoints import ready, request, samples
from tests.phantoms import chest_pixels, write_film
from tests.services import children, environment, free_port, listening, settings_of, typed_in, wait_until
from worker.db.session import make_engine
from worker.instances import list_instances

pytestmark = pytest.mark.e2e

FILMS = 24
STOPS_WITHIN = 10.0
"""Seconds from SIGTERM to the end, times PATIENCE on a busy machine."""


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that takes not one byte more."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    assert not select.select([], [writing], [], 0)[1]
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.slow
def test_a_log_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    """As `xrayq up 2>&1 | less` does, with less at rest."""
    port, gateway_http, worker_http = free_port(), free_port(), free_port()
    home = tmp_path / "home"
    env = environment(
        home=str(home), port=str(port), gateway_http_port=str(gateway_http), worker_http_port=str(worker_http)
    )
    pixels = chest_pixels()
    films = [write_film(tmp_path, f"{number:02}", pixels=pixels) for number in range(FILMS)]
    with full_pipe() as (reading, writing):
        command = [sys.executable, "-m", "worker.cli", "up"]
        up = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing)
        try:
            wait_until(lambda: listening(port), 30, "the gateway")
            sent = [one.status for one in send("127.0.0.1", port, films, called_ae="XRAYQ", timeout=30)]
            assert sent == [0] * FILMS
            database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
            wait_until(lambda: Counter(one.state for one in list_instances(database)) == {"scored": FILMS}, 60)
            database.dispose()
            for at in (gateway_http, worker_http):
                wait_until(lambda at=at: "nobody has taken a log line" in request(at, "/readyz").body, 20)  # type: ignore[misc]
                assert ready(at), "a process that works is not taken out of service for its log"
                assert samples(at)["xrayq_log_lines_dropped_total",] == 0
            with typed_in(tmp_path, **settings_of(env)) as xrayq:
                code, out, err = xrayq("status", "--once")
                assert (code, "gateway: nobody has taken a log line" in err) == (5, True), out + err
                assert xrayq("health", "gateway")[0] == 0
            family = [one.pid for one in children(up.pid)]
            up.send_signal(signal.SIGTERM)
            wait_until(lambda: up.poll() is not None, STOPS_WITHIN, "the end of up")
            assert up.returncode == 0
            wait_until(lambda: not [pid for pid in family if Path(f"/proc/{pid}").exists()], 5, "the end of them all")
        finally:
            if up.poll() is None:
                up.kill()
                up.wait()
        assert os.read(reading, 8192) == b"." * 4096
