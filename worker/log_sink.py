"""Log lines without waiting for whoever reads them.

A pipe that nobody reads (`xrayq up | less`, a stuck log shipper) or a stopped terminal takes no more lines after some
64 KiB. Work must not wait for it: what is not taken at once goes into a queue, from which one thread writes. A full
queue drops the newest lines, counts them, and says how many they were when lines are taken again.
"""

import logging
import os
import select
import stat
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

MOST_LINES = 2000
FLUSH_SECONDS = 1.0
"""That the end of a process waits for lines not yet written."""
STUCK_SECONDS = 5.0
"""That one line may wait before the log counts as stuck."""
AGAIN_SECONDS = 0.01
RETRY_SECONDS = 5.0
"""After which a log that refused a line is tried again, when none comes."""


class Sink(logging.Handler):
    """Writes at once where that cannot wait, else in a thread of its own. The lines of a process keep their order."""

    def __init__(self, descriptor: int, *, most_lines: int = MOST_LINES) -> None:
        """
        Args:
            descriptor: written to, and not closed here. Where it blocks, as a file on a slow disk does, every line
                goes through the queue.
        """
        super().__init__()
        self.dropped = 0
        """Lines that were lost since the process began."""
        self._descriptor = descriptor
        self._at_once = not os.get_blocking(descriptor)
        self._most = most_lines
        # A line, somebody who waits for those before, or None: say here what was lost. Its `put` never waits.
        self._lines: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        self._counting = threading.RLock()
        self._waiting = 0
        self._unsaid = 0
        self._full = False
        self._fault = ""
        self._since: float | None = None
        self._gave_up = False
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._encoded(record)
        except Exception:  # noqa: BLE001 - of a library's line, say, whose arguments do not fit: not its caller's fault
            self._lost()
            if self._has_writer():
                self._lines.put(None)
            return
        if self._at_once and not (self._waiting or self._unsaid):
            with suppress(OSError):  # the thread finds it too, and says so
                line = line[_taken(self._descriptor, line) :]
        if line:
            self._put(line)

    def _put(self, line: bytes) -> None:
        if not self._has_writer():
            self._lost()
            return
        if self._full and self._waiting <= self._most // 2:
            self._full = False
            self._lines.put(None)
        if self._full or self._waiting >= self._most:
            self._full = True
            self._lost()
            return
        with self._counting:
            self._waiting += 1
        self._lines.put(line)

    def _has_writer(self) -> bool:
        """False where the system gives no thread; the next line tries again."""
        if self._writer is None:
            writer = threading.Thread(target=self._run, name="log", daemon=True)
            with suppress(RuntimeError):
                writer.start()
                self._writer = writer
        return self._writer is not None

    def flush(self) -> None:
        """Wait until all that was logged before is written: FLUSH_SECONDS at most, and only once where that failed."""
        if self._writer is None or not self._writer.is_alive():
            return
        written = threading.Event()
        self._lines.put(written)
        self._gave_up = not written.wait(0 if self._gave_up else FLUSH_SECONDS)

    @property
    def trouble(self) -> str:
        """What is wrong, "" while lines are taken."""
        since = self._since
        if self._fault:
            return f"the log cannot be written ({self._fault}), {self.dropped} lines lost"
        if since is not None and time.monotonic() - since > STUCK_SECONDS:
            return f"nobody has taken a log line for {time.monotonic() - since:.0f} s, {self.dropped} lines lost"
        return ""

    def _lost(self) -> None:
        with self._counting:
            self.dropped += 1
            self._unsaid += 1

    def _run(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=RETRY_SECONDS if self._fault else None)
            except Empty:
                line = None
            if isinstance(line, threading.Event):
                line.set()
                continue
            if line is not None:
                if not self._write(line):
                    self._lost()
                with self._counting:
                    self._waiting -= 1
            if line is None or (self._unsaid and not (self._full and self._waiting)):
                self._tell()

    def _tell(self) -> None:
        """A line in the place of those that were lost."""
        with self._counting:
            count = self._unsaid
        if count == 0:
            return
        record = logging.LogRecord("xrayq.log", logging.ERROR, __file__, 0, "log lines lost: %d", (count,), None)
        if self._write(self._encoded(record)):
            with self._counting:
                self._unsaid -= count

    def _write(self, line: bytes) -> bool:
        """However long it takes. False when it was refused: no space, no reader."""
        self._since = time.monotonic()
        try:
            while line:
                _wait_for_room(self._descriptor)
                taken = _taken(self._descriptor, line)
                line = line[taken:]
                if not taken:  # another process was quicker
                    time.sleep(AGAIN_SECONDS)
            self._fault = ""
        except OSError as error:
            self._fault = error.strerror or type(error).__name__
        finally:
            self._since = None
        return not self._fault

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")


def _taken(descriptor: int, line: bytes) -> int:
    """Bytes that were written. A pipe takes PIPE_BUF in one piece, unmixed with the lines of other processes."""
    try:
        return os.write(descriptor, line[: select.PIPE_BUF])
    except BlockingIOError:
        return 0


def _wait_for_room(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


def let_nobody_wait() -> None:
    """For a process that serves: what is written past our log waits for no reader either.

    Native libraries, Python's last words and child processes write to descriptor 2: it no longer blocks, and what is
    not taken is lost. Nothing of ours goes to descriptor 1; Celery's words do, so it leads nowhere.
    """
    if sys.stderr is not sys.__stderr__:  # a command typed inside another program, whose descriptors these are
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        kind = os.fstat(2).st_mode
        if stat.S_ISSOCK(kind):
            os.set_blocking(2, False)
        elif stat.S_ISFIFO(kind) or os.isatty(2):
            # Opened anew: the flag would hold for all who share what we were given, the shell among them.
            again = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            os.dup2(again, 2)
            os.close(again)
    except OSError:  # closed, or of another user: our own log waits in its thread all the same
        return
