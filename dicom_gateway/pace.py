"""How fast a peer may send: a token bucket for each AE title, in this process.

A C-STORE over the rate is answered later. An association has one operation under way at a time, unless more was
negotiated (PS3.7 D.3.3.3), which this gateway does not. So an answer that waits is a sender that waits, and nothing is
lost or sent twice. Only where the wait would be longer than senders wait for an answer is the object refused: it is
still the sender's, which sends it again later.
"""

import threading
import time
from collections.abc import Callable

from dicom_gateway.errors import TooFast

LONGEST_WAIT = 10.0
"""Seconds. Senders commonly wait 30 s for an answer, and a database may take 20 s of these."""
BURST_SECONDS = 10.0
"""So many seconds' worth of objects may come at once."""


class Pace:
    """Safe to use from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}
        """By AE title: when its next object would be on time, were it even. In the past: that much was not used."""

    def take(self, calling_ae: str, a_minute: int) -> float:
        """Take the place of one object. Returns the seconds until its time has come. Raises TooFast, and takes none."""
        each = 60.0 / a_minute
        with self._lock:
            now = self._clock()
            unused = max(BURST_SECONDS, each)
            free_at = max(self._free_at.get(calling_ae, 0.0), now - unused) + each
            wait = max(0.0, free_at - now)
            if wait > LONGEST_WAIT:
                raise TooFast
            self._free_at[calling_ae] = free_at
            return wait

    def forget(self, calling_aes: set[str]) -> None:
        """Keep these alone: the table has changed."""
        with self._lock:
            self._free_at = {title: at for title, at in self._free_at.items() if title in calling_aes}
