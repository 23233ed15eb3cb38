"""A heartbeat lives exactly as long as its process, and ages when the process is stuck."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import wait_until
from worker.checks import HERE, STALE_SECONDS
from worker.errors import Unhealthy
from worker.heartbeat import Heartbeat, last_beat, relay_beat
from worker.settings import Settings

HOLD = """
import sys, time
from pathlib import Path
from worker.heartbeat import Heartbeat
held = Heartbeat(Path(sys.argv[1]))
time.sleep(60)
"""


@pytest.fixture
def beat(tmp_path: Path) -> Path:
    return relay_beat(tmp_path / "home")


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_nobody_holds_it(beat: Path) -> None:
    assert last_beat(beat) is None
    beat.parent.mkdir(parents=True)
    beat.touch()
    assert last_beat(beat) is None


def test_it_ends_with_its_process_however_that_ends(beat: Path) -> None:
    holders = [subprocess.Popen([sys.executable, "-c", HOLD, str(beat)]) for _ in range(2)]
    try:
        wait_until(lambda: last_beat(beat) is not None, 20, "a first beat")
        holders[0].kill()
        holders[0].wait()
        wait_until(lambda: last_beat(beat) is not None, 20, "the other's beat")
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
    assert last_beat(beat) is None
    assert beat.stat().st_mode & 0o077 == 0


def test_a_stuck_relay_is_named(beat: Path) -> None:
    settings = Settings(home=beat.parents[1])
    held = Heartbeat(beat)
    assert HERE["relay"](settings) == "read the outbox 0 s ago"
    age(beat, STALE_SECONDS + 5)
    with pytest.raises(Unhealthy, match="has not read the outbox for 35 s"):
        HERE["relay"](settings)
    held.beat()
    assert HERE["relay"](settings) == "read the outbox 0 s ago"
