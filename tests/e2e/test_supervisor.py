"""How `xrayq up` keeps its processes up, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bundles import small_bundle
from tests.services import child, children, environment, free_port, kill, listening, wait_until
from worker.errors import ConfigurationError
from worker.processes.up import LONGEST_PAUSE, LONGEST_PAUSE_ELSE, ROLES, Child, Pause

pytestmark = pytest.mark.e2e

START_SECONDS = 5.0
"""Of a gateway, times PATIENCE on a busy machine."""


@contextmanager
def up(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`xrayq up`, of which nothing is left in the end. Nothing is scored: a small bundle will do."""
    bundle = home.parent / "bundles" / "small"
    if not bundle.exists():
        assert small_bundle(bundle.parent).path == bundle
    env = environment(home=str(home), port=str(port), bundle=str(bundle))
    command = [sys.executable, "-m", "worker.cli", "up"]
    log = home.parent / "up.log"
    with log.open("ab") as output:
        started = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    family: set[int] = set()
    try:
        yield started
        family = {one.pid for one in children(started.pid)}
    finally:
        if started.poll() is None:
            started.terminate()
            started.wait(timeout=60)
        for pid in family:
            kill(pid)
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_a_gateway_that_is_killed_six_times_is_back_within_seconds_each_time(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path / "home", port) as started:
        for _ in range(6):
            wait_until(lambda: listening(port), LONGEST_PAUSE["gateway"] + START_SECONDS, "the gateway")
            kill(wait_until(lambda: child(started.pid, "gateway"), 10))
        wait_until(lambda: listening(port), LONGEST_PAUSE["gateway"] + START_SECONDS, "the gateway")


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_steady_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pause, waits = Pause(longest=4.0), []
    assert pause.over
    for _ in range(6):
        pause.started()
        pause.fell()
        waits.append(pause.due - time.monotonic())
    assert waits == pytest.approx([0.5, 1, 2, 4, 4, 4], abs=0.3)
    assert not pause.over
    monkeypatch.setattr("worker.processes.up.STEADY_SECONDS", -1.0)
    pause.started()
    pause.fell()
    assert pause.due - time.monotonic() == pytest.approx(0.5, abs=0.3)
    assert LONGEST_PAUSE["gateway"] <= 3 < LONGEST_PAUSE_ELSE


def test_settings_that_a_process_refuses_at_its_first_start_end_it_all_and_later_do_not() -> None:
    leaves = [sys.executable, "-c", f"raise SystemExit({ConfigurationError.exit_code})"]
    one = Child(role="relay", command=leaves, pause=Pause(longest=1))

    def ended() -> None:
        one.start(dict(os.environ))
        assert one.process is not None
        one.process.wait(timeout=60)

    ended()
    with pytest.raises(ConfigurationError, match="the relay cannot start with these settings"):
        one.look()
    ended()
    one.look()
    assert (one.process, one.ends) == (None, 2)


@pytest.mark.slow
def test_it_ends_in_the_middle_of_a_start(tmp_path: Path) -> None:
    """Whichever process has just begun; and nothing stale is in the way of the next start in the same home."""
    port = free_port()
    for role in ROLES:
        stopped_at_the_start_of(role, tmp_path / "home", port)
    with up(tmp_path / "home", port):
        wait_until(lambda: listening(port), 30, "the gateway")


def stopped_at_the_start_of(role: str, home: Path, port: int) -> None:
    with up(home, port) as started:
        wait_until(lambda: child(started.pid, role), 30, f"a {role} that has just begun")
        family = [one.pid for one in children(started.pid)]
        started.send_signal(signal.SIGTERM)
        wait_until(lambda: started.poll() is not None, 10, "its end")
        assert started.returncode == 0
        wait_until(lambda: not [pid for pid in family if Path(f"/proc/{pid}").exists()], 10, "the end of them all")


def test_a_second_ctrl_c_does_not_wait_for_a_process_that_hangs(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path / "home", port) as started:
        wait_until(lambda: listening(port), 30, "the gateway")
        relay = wait_until(lambda: child(started.pid, "relay"), 10)
        os.kill(relay, signal.SIGSTOP)
        started.send_signal(signal.SIGINT)
        wait_until(lambda: not listening(port), 10, "the end of the gateway")
        assert started.poll() is None
        started.send_signal(signal.SIGINT)
        wait_until(lambda: started.poll() is not None, 5, "its end")
        assert started.returncode == 0
        assert not Path(f"/proc/{relay}").exists()
    assert "did not end, killed role=relay" in (tmp_path / "up.log").read_text()
