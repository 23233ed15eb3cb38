"""Log lines into real pipes, full ones among them."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.services import wait_until
from worker import log_sink
from worker.log_sink import Sink

FULL = 65536
"""Bytes that a pipe holds."""


@contextmanager
def pipe(*, blocking: bool) -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    try:
        yield reading, writing
    finally:
        os.close(reading)


def fill(writing: int) -> None:
    """Not one byte more."""
    blocking = os.get_blocking(writing)
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * FULL)
    os.set_blocking(writing, blocking)


def log_to(descriptor: int, *, most_lines: int = log_sink.MOST_LINES) -> tuple[Sink, logging.Logger]:
    sink, log = Sink(descriptor, most_lines=most_lines), logging.Logger("test")
    log.addHandler(sink)
    return sink, log


def lines(reading: int, last: str) -> list[str]:
    """All up to the last one."""
    text = b""
    while not text.endswith(f"{last}\n".encode()):
        assert select.select([reading], [], [], 20)[0], text[-200:]
        text += os.read(reading, FULL)
    return text.decode().lstrip(".").splitlines()


@pytest.mark.parametrize("blocking", [True, False])
def test_every_line_arrives_in_order(blocking: bool) -> None:
    wanted = [f"{number:05} {'x' * (number % 300)}" for number in range(1500)]
    with pipe(blocking=blocking) as (reading, writing):
        _, log = log_to(writing)

        def write() -> None:
            for line in wanted:
                log.error(line)

        writer = threading.Thread(target=write)
        writer.start()
        assert lines(reading, wanted[-1]) == wanted
        writer.join()


@pytest.mark.parametrize("blocking", [True, False])
def test_a_log_that_nobody_reads_costs_lines_and_no_time_and_says_how_many(
    blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sink, "STUCK_SECONDS", 0.2)
    with pipe(blocking=blocking) as (reading, writing):
        fill(writing)
        sink, log = log_to(writing, most_lines=100)
        begun = time.monotonic()
        for number in range(1000):
            log.error("%d", number)
        assert time.monotonic() - begun < 10, "900 lines do not wait 0.2 s each"
        assert sink.dropped == 900
        wait_until(lambda: "nobody has taken a log line" in sink.trouble, 5)
        begun = time.monotonic()
        sink.flush()
        sink.flush()
        assert log_sink.FLUSH_SECONDS <= time.monotonic() - begun < 2 * log_sink.FLUSH_SECONDS
        taken = lines(reading, "log lines lost: 900")
        assert taken == [*(str(number) for number in range(100)), "log lines lost: 900"]
        log.error("and on")
        assert lines(reading, "and on") == ["and on"]
        assert (sink.trouble, sink.dropped) == ("", 900)


def test_what_was_lost_is_said_in_its_place() -> None:
    with pipe(blocking=True) as (reading, writing):
        fill(writing)
        sink, log = log_to(writing, most_lines=4)
        for number in range(6):
            log.error("%d", number)
        taken = os.read(reading, FULL).decode()
        wait_until(lambda: not sink._waiting)
        log.error("later")
        taken += "\n".join(lines(reading, "later"))
        assert taken.lstrip(".").splitlines() == ["0", "1", "2", "3", "log lines lost: 2", "later"]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_line_that_cannot_be_made_is_lost_and_its_caller_goes_on(blocking: bool) -> None:
    """As of a library whose arguments do not fit its words."""
    with pipe(blocking=blocking) as (reading, writing):
        sink, log = log_to(writing)
        log.error("%d", "x")
        wait_until(lambda: not sink._unsaid)
        log.error("later")
        assert lines(reading, "later") == ["log lines lost: 1", "later"]
        assert sink.dropped == 1


def test_a_log_without_a_thread_loses_lines_and_its_callers_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pipe(blocking=True) as (reading, writing):
        sink, log = log_to(writing)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", none)
            log.error("lost")
            log.error("%d", "x")
        assert sink.dropped == 2
        log.error("later")
        assert lines(reading, "lost: 2") == ["later", "log lines lost: 2"]


def test_a_full_disk_is_named_and_the_lines_are_counted() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    sink, log = log_to(descriptor)
    for _ in range(3):
        log.error("a line")
    wait_until(lambda: sink.dropped == 3)
    assert sink.trouble == "the log cannot be written (No space left on device), 3 lines lost"


def test_a_disk_with_room_again_is_found_without_another_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sink, "RETRY_SECONDS", 0.05)
    with pipe(blocking=True) as (reading, writing):
        place = os.open("/dev/full", os.O_WRONLY)
        sink, log = log_to(place)
        log.error("lost")
        wait_until(lambda: sink.dropped == 1)
        os.dup2(writing, place)
        assert lines(reading, "lost: 1") == ["log lines lost: 1"]
        wait_until(lambda: not sink.trouble)


def test_a_line_longer_than_a_pipe_takes_at_once_is_whole() -> None:
    with pipe(blocking=False) as (reading, writing):
        _, log = log_to(writing)
        for number in range(9):
            log.error("%d%s", number, "y" * 50_000)
        log.error("end")
        assert lines(reading, "end") == [*(f"{number}{'y' * 50_000}" for number in range(9)), "end"]


SERVES = """
import logging, os, signal, sys, threading
from worker import log_sink, logs
log_sink.let_nobody_wait()
logs.configure("INFO", "text")
log = logging.getLogger("xrayq.test")
log.info("first")
exec(sys.argv[1])
"""
ENDS = {
    "": 0,
    "print('nowhere')": 0,
    "os.write(1, b'nowhere' * 20000)": 0,
    "sys.exit(5)": 5,
    "raise ValueError('a crash')": 1,
    "threading.Thread(target=lambda: 1 / 0).start()": 0,
    "os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL,
    "os.abort()": -signal.SIGABRT,
}


@pytest.mark.parametrize("statement", ENDS)
def test_however_a_process_ends_its_lines_are_there(statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVES, statement], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == ENDS[statement]
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.endswith("first")
    assert ("a crash" in done.stderr) == ("a crash" in statement)
    assert ("ZeroDivisionError" in done.stderr) == ("1 / 0" in statement)
    assert bool(rest) == ("crash" in statement or "1 / 0" in statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "threading.Thread(target=lambda: 1 / 0).start()",
        "import ctypes; ctypes.CDLL(None).write(2, b'a native library', 16)",
        "raise ValueError",
        "import subprocess; subprocess.run(['sh', '-c', 'echo one; echo two >&2'])",
        "os.abort()",
    ],
)
def test_nothing_that_a_serving_process_writes_waits_for_a_reader(statement: str) -> None:
    with pipe(blocking=True) as (_, writing):
        fill(writing)
        begun = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", SERVES, statement], stdout=writing, stderr=writing, timeout=180, check=False
        )
        assert time.monotonic() - begun < 30
        assert os.get_blocking(writing), "whoever gave us the pipe has it as it was"
