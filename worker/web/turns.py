"""What there is little of, such as a processor: a few have it, a few wait, and who comes beside them is told so."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import Busy


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


class Places:
    """So many at once, and so many of one person's browser: nobody takes all. Safe to use from several threads."""

    def __init__(self, *, most: int, of_one: int) -> None:
        self._most, self._of_one = most, of_one
        self._lock = threading.Lock()
        self._taken: Counter[str | None] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    def enter(self, whose: str | None) -> bool:
        """Whether there is room for one more.

        Args:
            whose: `Ask.browser`; None: of nobody that is told from others.
        """
        with self._lock:
            if self.taken >= self._most or (whose is not None and self._taken[whose] >= self._of_one):
                return False
            self._taken[whose] += 1
            return True

    def leave(self, whose: str | None) -> None:
        with self._lock:
            self._taken[whose] -= 1
            if not self._taken[whose]:
                del self._taken[whose]
