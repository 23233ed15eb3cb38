"""A file that a process holds locked and touches as it works: a health check sees whether one runs, and whether it is
stuck."""

import contextlib
import fcntl
import os
import time
from pathlib import Path


class Heartbeat:
    """Held by one process from here to its end, however it ends. Several processes may hold the same file."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be written."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        os.utime(self._descriptor)

    def beat(self) -> None:
        """Never fails: a disk that takes no touch stops no work, and the health check sees the file grow old."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)


def relay_beat(home: Path) -> Path:
    return home / "run" / "relay.beat"


def last_beat(path: Path) -> float | None:
    """Seconds since a process touched the file; None when no process holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return max(0.0, time.time() - os.fstat(descriptor).st_mtime)
    else:
        return None
    finally:
        os.close(descriptor)
