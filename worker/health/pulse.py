"""Whether a worker consumes, found out by consuming: a connection that looks whole may bring nothing any more.

After a restart of Redis a Celery worker can live on and take no message (celery issue 10205). So it sends itself a
probe message every few seconds. When none comes back it is not ready; when none has come for `stall_seconds` although
Redis takes them, it ends itself, and whoever started it starts another.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from worker.errors import PublishError, Unhealthy

T = TypeVar("T")

log = logging.getLogger("xrayq.worker")

LONGEST_SILENCE = 15.0
"""Seconds without a sign of life, after which a worker is not ready."""
WATCH_SILENCE = 60.0
"""Seconds after which the watch itself counts as standing still."""
PROBES_PER_SILENCE = 3
GRACE_SECONDS = 10.0
"""From SIGTERM to the end without further ado. Films in flight come back when their leases pass."""


class Pulse:
    """Signs of life: a probe that was executed, a score task that began or ended."""

    def __init__(self, *, stall_seconds: float, longest_task: float) -> None:
        """
        Args:
            longest_task: seconds for which a score task keeps its leases; after that it is not taken for work.
        """
        self.stall_seconds = stall_seconds
        self.longest_silence = min(LONGEST_SILENCE, stall_seconds)
        self.threads = 1
        """Tasks that run at once."""
        self.gave_up = False
        """Ending, because it consumed nothing."""
        self._longest_task = longest_task
        self._lock = threading.Lock()
        self._begun: dict[int, float] = {}
        self._seen: float | None = None
        self._broker_since: float | None = None
        self._why = ""
        self._watched: float | None = None

    def seen(self) -> None:
        self._seen = time.monotonic()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around a score task."""
        self.seen()
        with self._lock:
            self._begun[threading.get_ident()] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._begun[threading.get_ident()]
            self.seen()

    def around(self, task: Callable[[T], None]) -> Callable[[T], None]:
        """The same score task, with its begin and end as signs of life."""

        def run(message: T) -> None:
            with self.working():
                task(message)

        return run

    @property
    def busy(self) -> bool:
        """Every thread is in a score task, so no probe can be executed."""
        since = time.monotonic() - self._longest_task
        with self._lock:
            return sum(begun > since for begun in self._begun.values()) >= self.threads

    @property
    def silence(self) -> float | None:
        """Seconds since the last sign of life; 0 while busy, None before the first."""
        if self.busy:
            return 0.0
        return None if self._seen is None else time.monotonic() - self._seen

    def consuming(self) -> str:
        """Raises Unhealthy."""
        silence = self.silence
        if silence is None:
            raise Unhealthy("starting: nothing consumed yet")
        if silence > self.longest_silence:
            away = "" if self._broker_since else f": Redis takes no message{self._why}"
            raise Unhealthy(f"nothing consumed for {silence:.0f} s{away}")
        return f"consumed {silence:.0f} s ago"

    def watched(self) -> str:
        """Raises Unhealthy when the watch itself stands still."""
        if self._watched is None:
            return "starting"
        age = time.monotonic() - self._watched
        if age > WATCH_SILENCE:
            raise Unhealthy(f"the watch has not turned for {age:.0f} s")
        return f"the watch turned {age:.0f} s ago"

    def stalled(self, probe: Callable[[], None]) -> bool:
        """Send a probe. Whether nothing has been consumed for `stall_seconds`, though Redis took every probe."""
        before, self._watched = self._watched, time.monotonic()
        if self.busy:
            return False
        try:
            probe()
        except PublishError as error:
            self._broker_since, self._why = None, f" ({error})"
            return False
        now = time.monotonic()
        if self._broker_since is None or before is None or now - before > self.longest_silence:
            self._broker_since = now  # Redis, or this whole machine, stood still: nobody could have consumed
        return now - max(self._seen or 0.0, self._broker_since) > self.stall_seconds


def watch(pulse: Pulse, probe: Callable[[], None]) -> None:
    """Probe from now on, in a thread; end this process when it stalls.

    Args:
        probe: publishes one probe message, or raises PublishError.
    """

    def stalled() -> bool:
        try:
            return pulse.stalled(probe)
        except Exception as error:  # noqa: BLE001 - the thread's edge: without it nobody would look any more
            log.error("cannot probe", extra={"reason": type(error).__name__})
            return False

    def run() -> None:
        while not stalled():
            time.sleep(pulse.longest_silence / PROBES_PER_SILENCE)
        pulse.gave_up = True
        log.error(f"consumed nothing for {pulse.stall_seconds:g} s while Redis answers: ending, to be started anew")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(Unhealthy.exit_code)

    threading.Thread(target=run, name="watch", daemon=True).start()
