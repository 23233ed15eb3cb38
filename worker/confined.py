"""What a child process that decodes strangers' films may do, and when it ends."""

import os
import resource
import warnings

from worker.lifetime import end_with_worker


def confine(memory_bytes: int) -> None:
    """Once in each such process: silent, bounded address space, no core dump, last in line for the cores, gone with
    its parent."""
    _silence()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(1)
    end_with_worker()


def confine_decoder(memory_bytes: int) -> None:
    """What `confine` says, and one thread for each film."""
    import cv2  # decoders stay out of the parent

    confine(memory_bytes)
    cv2.setNumThreads(1)


def _silence() -> None:
    """pydicom's warnings, and what native libraries say, quote the film. A crash is seen by the exit code."""
    warnings.filterwarnings("ignore")
    for name in ("RUST_BACKTRACE", "RUST_LIB_BACKTRACE"):
        os.environ.pop(name, None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
