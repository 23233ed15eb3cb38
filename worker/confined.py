"""What a child process that decodes strangers' films may do, and when it ends."""

import fcntl
import os
import resource
import warnings
from multiprocessing import parent_process


def confine(memory_bytes: int) -> None:
    """Once in each such process: silent, bounded address space, no core dump, last in line for the cores, gone with
    its parent."""
    _silence()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(1)
    _end_with_parent()


def _silence() -> None:
    """pydicom's warnings, and what native libraries say, quote the film. A crash is seen by the exit code."""
    warnings.filterwarnings("ignore")
    for name in ("RUST_BACKTRACE", "RUST_LIB_BACKTRACE"):
        os.environ.pop(name, None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _end_with_parent() -> None:
    """However that one ends. A process that waits for a film would notice, one that is busy would not: so the kernel
    sends SIGIO, which ends it, when the other end of the pipe that the parent holds is closed.
    """
    if parent := parent_process():
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
