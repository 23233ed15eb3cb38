"""One look for all browsers: made by one of them, and taken by the others for some seconds."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

SECONDS = 5.0
"""Half of the time after which a page refreshes itself."""

Seen = TypeVar("Seen")


class Shared(Generic[Seen]):
    """What `look` found last. It may take seconds where a process or the database hangs: then the one before is shown,
    which says how old it is, and one browser alone waits."""

    def __init__(self, look: Callable[[], Seen], seconds: float = SECONDS) -> None:
        self._look = look
        self._seconds = seconds
        self._looking = threading.Lock()
        self._seen: Seen | None = None
        self._begun, self._changed = -1.0, -1.0

    def newest(self) -> Seen:
        """At most so many seconds old, or of before where a look is under way. Raises what `look` raises."""
        seen = self._seen
        if seen is not None and self._begun > self._changed:
            if monotonic() - self._begun < self._seconds:
                return seen
            if not self._looking.acquire(blocking=False):
                return seen
        else:
            self._looking.acquire()
        try:
            begun = monotonic()
            if self._seen is None or self._begun <= self._changed or begun - self._begun >= self._seconds:
                self._seen, self._begun = self._look(), begun
            return self._seen
        finally:
            self._looking.release()

    def forget(self) -> None:
        """Something was changed here: the next look is a new one."""
        self._changed = monotonic()
