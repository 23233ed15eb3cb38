"""Child processes that end with the process they work for."""

import ctypes
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process


def end_with_parent() -> None:
    """For a child between fork and exec: SIGTERM when the parent dies, however it dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@contextmanager
def ctrl_c_later() -> Iterator[threading.Event]:
    """Around a fork: a Ctrl-C sets the event, and it is for the caller to end.

    Python calls hooks around a fork, and forgets a KeyboardInterrupt that is raised in one of them.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield came
        return
    before = signal.signal(signal.SIGINT, lambda *_: came.set())
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_worker() -> None:
    """For a decoder, whose parent to the kernel is the fork server and not the worker.

    A decoder that waits for a film would notice that the worker ended, one that is busy would not. So the kernel sends
    SIGIO, which ends it, when the other end of the pipe that the worker holds is closed.
    """
    if parent := parent_process():
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
