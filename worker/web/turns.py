"""Work that takes memory or a processor: one after another, a few wait, and who comes beside them is told so."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    """Too many wait, or a turn did not come in time."""


class Turns:
    """Safe to use from several threads."""

    def __init__(self, *, at_once: int = 1, waiting: int, seconds: float) -> None:
        """
        Args:
            at_once: how many have their turn together.
            waiting: how many may wait beside those.
            seconds: for which one waits.
        """
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._turns = threading.BoundedSemaphore(at_once)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The block has its turn. Raises Busy."""
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            if not self._turns.acquire(timeout=self._seconds):
                raise Busy
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()
