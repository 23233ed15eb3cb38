"""Lines of the log that a stranger may cause in any number."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

MINUTE = 60.0


class FewLines:
    """At most so many warnings a minute. How many were left out is said with the first line of a later minute."""

    def __init__(self, log: logging.Logger, *, a_minute: int = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._most = a_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = clock()
        self._written = self._left_out = 0

    def warning(self, message: str, extra: Mapping[str, object]) -> None:
        with self._lock:
            left_out = 0
            if self._clock() - self._begun >= MINUTE:
                left_out, self._begun = self._left_out, self._clock()
                self._written = self._left_out = 0
            self._written += 1
            shown = self._written <= self._most
            self._left_out += not shown
        if left_out:
            self._log.warning("lines left out", extra={"count": left_out})
        if shown:
            self._log.warning(message, extra=extra)
