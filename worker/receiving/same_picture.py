"""Do two codings hold the same picture? Asked by the gateway for a film that comes again in another transfer syntax.

The gateway decodes nothing itself: a codestream may be made to crash, hang or fill its decoder. So child processes do
it, made at the first question. Whatever goes wrong there, the answer is no, and the film becomes a revision.
"""

import logging
import threading
import time
from concurrent.futures import Future, TimeoutError
from pathlib import Path

from worker.confined import ConfinedPool, confine

log = logging.getLogger("xrayq.ingest")

SECONDS = 10.0
"""For one answer, waiting for its turn included: senders commonly wait 30 s for theirs. Two codings of 7.5 million
pixels take 1.8 s at most, the child's start included (measured)."""
PROCESSES = 2
"""Further questions wait for their turn."""


class Comparing:
    """A few child processes for all associations. Safe to use from several threads."""

    def __init__(
        self, *, memory_bytes: int, max_pixels: int, seconds: float = SECONDS, processes: int = PROCESSES
    ) -> None:
        """
        Args:
            memory_bytes: address space of each child.
            max_pixels: largest rows x columns that is decoded.
            seconds: for one answer; then the child is killed.
        """
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(processes)
        self._pool = ConfinedPool(memory_bytes=memory_bytes, seconds=seconds, processes=processes, confine=confine)

    def same_picture(self, first: Path, second: Path) -> bool:
        """Whether both decode to the same values, shown the same way. False where that cannot be found out."""
        deadline = time.monotonic() + self._seconds
        if not self._places.acquire(timeout=self._seconds):
            log.warning("films not compared", extra={"reason": "too many at once"})
            return False
        future: Future[bool] | None = None
        try:
            future = self._pool.submit(_same_picture, str(first), str(second), self._max_pixels)
            return future.result(timeout=deadline - time.monotonic())
        except TimeoutError:
            reason = "timeout"
        except Exception as error:  # noqa: BLE001 - a crash, a refusal, no memory, no decoder: it is not known
            reason = type(error).__name__
        finally:
            if future:
                future.cancel()  # kills a child that still works on it
            self._places.release()
        log.warning("films not compared", extra={"reason": reason})
        return False

    def close(self) -> None:
        self._pool.close()


def _same_picture(first_path: str, second_path: str, max_pixels: int) -> bool:
    """What the child does. Raises PixelError, OSError, MemoryError."""
    import numpy as np

    from dicom_gateway.pixels import read_radiograph  # decoders stay out of the parent

    first = read_radiograph(Path(first_path), max_pixels=max_pixels)
    second = read_radiograph(Path(second_path), max_pixels=max_pixels)
    shown = [(film.low, film.high, film.inverted) for film in (first, second)]
    return shown[0] == shown[1] and bool(np.array_equal(first.pixels, second.pixels))
