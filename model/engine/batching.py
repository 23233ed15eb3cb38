"""One engine fed by many callers: films that wait at the same time run in one batch.

A GPU wants 64 films at once, a message brings 8. So tasks run side by side, and what they ask for is put together here.
"""

import queue
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.engine.base import Engine, EngineSpec
from model.errors import EngineError

WAITING = 256
"""Requests that may wait; the next caller waits to be let in."""


@dataclass(kw_only=True, eq=False)
class _Request:
    images: NDArray[np.uint8]
    done: threading.Event = field(default_factory=threading.Event)
    logits: NDArray[np.float32] | None = None
    error: BaseException | None = None


class BatchingEngine:
    """An Engine around another one."""

    def __init__(self, engine: Engine, *, most: int, patience: float, streams: int = 1) -> None:
        """
        Args:
            most: films in one batch.
            patience: seconds a batch that is not full waits for more films.
            streams: batches under way at once: with two, one copies while the other computes.
        """
        self.spec: EngineSpec = engine.spec
        self._engine, self._most, self._patience = engine, most, patience
        self._requests: queue.Queue[_Request | None] = queue.Queue(WAITING)
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._work, name="batching", daemon=True) for _ in range(streams)]
        for thread in self._threads:
            thread.start()

    def warm_up(self) -> None:
        self._engine.warm_up()

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As the engine; waits for its batch. Raises EngineError also after `close`."""
        request = _Request(images=images)
        while not self._closed.is_set():
            try:
                self._requests.put(request, timeout=0.5)
                break
            except queue.Full:
                continue
        while not request.done.wait(0.5):
            if not any(thread.is_alive() for thread in self._threads) and not request.done.is_set():
                raise EngineError("the engine was closed")
        if request.error is not None:
            raise request.error
        if request.logits is None:
            raise EngineError("the engine was closed")
        return request.logits

    def close(self) -> None:
        """Answers what waits, then closes the engine."""
        self._closed.set()
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            thread.join()
        self._engine.close()

    def _work(self) -> None:
        while (first := self._requests.get()) is not None:
            batch, ended = self._gather(first)
            self._answer(batch)
            if ended:
                return

    def _gather(self, first: _Request) -> tuple[list[_Request], bool]:
        """Requests until the batch is full or patience ends; and whether the last one was the end."""
        batch, films, until = [first], len(first.images), time.monotonic() + self._patience
        while films < self._most:
            try:
                request = self._requests.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
            films += len(request.images)
        return batch, False

    def _answer(self, batch: list[_Request]) -> None:
        """Run the batch. When that fails, each request runs alone: nobody fails for another's films."""
        try:
            together = np.concatenate([request.images for request in batch])
            logits = np.concatenate(
                [self._engine.infer(together[at : at + self._most]) for at in range(0, len(together), self._most)]
            )
            ends = np.cumsum([len(request.images) for request in batch])[:-1]
            for request, part in zip(batch, np.split(logits, ends), strict=True):
                request.logits = part
        except Exception:  # noqa: BLE001 - a thread's edge: each request hears its own error below
            for request in batch:
                self._answer_alone(request)
        finally:
            for request in batch:
                request.done.set()

    def _answer_alone(self, request: _Request) -> None:
        try:
            request.logits = self._engine.infer(request.images)
        except EngineError as error:
            request.error = error
        except Exception as error:  # noqa: BLE001 - a thread's edge: without it every later film would wait for nobody
            request.error = EngineError(f"the engine failed: {type(error).__name__}")
