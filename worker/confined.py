"""Child processes for strangers' films: what they may do, when they end, and a pool of them."""

import os
import resource
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from pebble import ProcessPool

from worker.lifetime import end_with_worker

TASKS = 500
"""Of a child, then a fresh one takes its place: decoders leak."""
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


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


class ConfinedPool:
    """A few such processes, made at the first task, and again after they ended. Safe to use from several threads."""

    def __init__(
        self,
        *,
        memory_bytes: int,
        seconds: float,
        processes: int = 1,
        confine: Callable[[int], None] = confine_decoder,
    ) -> None:
        """
        Args:
            memory_bytes: address space of each.
            seconds: for one task; then its process is killed, and another one takes its place.
        """
        self._memory_bytes = memory_bytes
        self._seconds = seconds
        self._processes = processes
        self._confine = confine
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._closed = False

    def submit(self, task: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> "Future[Answer]":
        """The answer, or what `task` raised; TimeoutError and pebble's ProcessExpired where the child was ended, or
        ended. Cancelling it kills a child that works on it.

        Raises CancelledError: the pool is closed.
        """
        with self._lock:
            if self._closed:
                raise CancelledError
            if self._pool is None or not self._pool.active:  # its own machinery failed
                self._pool = ProcessPool(
                    max_workers=self._processes,
                    max_tasks=TASKS,
                    initializer=self._confine,
                    initargs=[self._memory_bytes],
                    context=get_context("forkserver"),
                )
            future: Future[Answer] = self._pool.schedule(task, args=args, kwargs=kwargs, timeout=self._seconds)
            return future

    def close(self) -> None:
        """Ends the processes. Who waits for an answer gets CancelledError, and so does who asks later."""
        with self._lock:
            self._closed = True
            if self._pool:
                self._pool.stop()
                self._pool.join()


def _silence() -> None:
    """pydicom's warnings, and what native libraries say, quote the film. A crash is seen by the exit code."""
    warnings.filterwarnings("ignore")
    for name in ("RUST_BACKTRACE", "RUST_LIB_BACKTRACE"):
        os.environ.pop(name, None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
