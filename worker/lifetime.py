"""Child processes that end with the process they work for."""

import ctypes
import fcntl
import os
import signal
from multiprocessing import parent_process


def end_with_parent() -> None:
    """For a child between fork and exec: SIGTERM when the parent dies, however it dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def end_with_worker() -> None:
    """For a decoder, whose parent to the kernel is the fork server and not the worker.

    A decoder that waits for a film would notice that the worker ended, one that is busy would not. So the kernel sends
    SIGIO, which ends it, when the other end of the pipe that the worker holds is closed.
    """
    if parent := parent_process():
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
