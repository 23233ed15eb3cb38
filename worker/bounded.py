"""Calls that may hang, with a limit on how long a caller waits."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Bounded(Generic[T]):
    """Asks in a thread of its own, one at a time, however many want to know.

    A database behind a dead network lets a query wait for minutes. Whoever asks here waits `patience` seconds.
    """

    def __init__(self, question: Callable[[], T], *, patience: float, fresh: float) -> None:
        """
        Args:
            patience: seconds that a caller waits.
            fresh: seconds for which an answer is given again.
        """
        self._question = question
        self._patience = patience
        self._fresh = fresh
        self._lock = threading.Lock()
        self._attempt: _Attempt[T] | None = None

    def ask(self) -> Callable[[], T]:
        """Ask, and return what waits for the answer: it raises what the question raised, or TimeoutError."""
        with self._lock:
            attempt = self._attempt
            if attempt is None or attempt.older_than(self._fresh):
                attempt = self._attempt = _Attempt(self._question)
        deadline = time.monotonic() + self._patience
        return lambda: attempt.wait(deadline - time.monotonic())

    def __call__(self) -> T:
        return self.ask()()


def within(seconds: float, question: Callable[[], T]) -> T:
    """The answer, or TimeoutError after so many seconds; the thread that asked goes on to its own end."""
    return _Attempt(question).wait(seconds)


class _Attempt(Generic[T]):
    """One time that the question was asked."""

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        self._done = threading.Event()
        self._at = 0.0
        self._answer: T
        self._fault: Exception | None = None
        threading.Thread(target=self._run, name="bounded", daemon=True).start()

    def older_than(self, seconds: float) -> bool:
        """False while the answer is not there."""
        return self._done.is_set() and time.monotonic() - self._at >= seconds

    def wait(self, seconds: float) -> T:
        if not self._done.wait(seconds):
            raise TimeoutError
        if self._fault:
            raise self._fault
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._question()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._fault = error
        self._at = time.monotonic()
        self._done.set()
