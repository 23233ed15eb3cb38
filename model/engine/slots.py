"""Batches of any size through slots of a few fixed sizes, so that copies of one overlap the computing of another.

A slot is everything one batch needs (buffers, stream, recorded graph), made once. A bucket is a batch size with two
slots. Knows no GPU: the engines bring the slots.
"""

import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.errors import EngineError, OutOfMemoryError

BUCKETS = (1, 8, 32, 64)
SLOTS = 2


class Slot(Protocol):
    """Runs one batch at a time. Used by one thread at a time."""

    def launch(self, images: NDArray[np.uint8]) -> None:
        """Start on uint8 [n, 1, size, size], n at most the bucket; does not wait."""

    def collect(self) -> NDArray[np.float32]:
        """Wait for the batch last launched: its logits [n, findings], the caller's own copy.

        After a `launch` that failed: wait for what of it was begun.
        """

    def close(self) -> None:
        """Give the slot's memory back."""


def fill(buckets: Sequence[int], make: Callable[[int], Slot]) -> dict[int, list[Slot]]:
    """Two slots for each bucket, smallest first, until the GPU's memory is full: larger buckets are then left out.

    Raises:
        EngineError: there is no room for the smallest bucket, or `make` failed; nothing made so far is kept.
    """
    made: dict[int, list[Slot]] = {}
    try:
        for bucket in sorted(buckets):
            made[bucket] = []
            made[bucket] += [make(bucket)]
            made[bucket] += [make(bucket) for _ in range(SLOTS - 1)]
    except OutOfMemoryError as error:
        for slot in made.pop(bucket):
            slot.close()
        if not made:
            raise EngineError(f"no room for a batch of {bucket}: {error}") from error
    except BaseException:
        for slots in made.values():
            for slot in slots:
                slot.close()
        raise
    return made


def cut(count: int, buckets: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Cover `count` images: whole largest buckets, then the smallest one that holds the rest."""
    largest = max(buckets)
    for start in range(0, count, largest):
        rest = min(count - start, largest)
        yield slice(start, start + rest), min(bucket for bucket in buckets if bucket >= rest)


class Slots:
    """The slots of one engine. Safe from several threads: a thread waits for a slot only while it holds none."""

    def __init__(self, slots: Mapping[int, Sequence[Slot]]) -> None:
        self.buckets = tuple(sorted(slots))
        self._all = {bucket: tuple(slots[bucket]) for bucket in self.buckets}
        self._free: dict[int, queue.SimpleQueue[Slot]] = {bucket: queue.SimpleQueue() for bucket in self.buckets}
        for bucket, several in self._all.items():
            for slot in several:
                self._free[bucket].put(slot)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, 1, size, size] -> float32 [N, findings], N >= 1. Raises EngineError as the slots do."""
        running: deque[tuple[int, Slot]] = deque()
        answers: list[NDArray[np.float32]] = []
        try:
            for part, bucket in cut(len(images), self.buckets):
                slot = self._take(bucket, running, answers)
                running.append((bucket, slot))
                slot.launch(images[part])
            while running:
                answers.append(self._collect(running))
        finally:  # only after a failure is anything still running
            while running:
                bucket, slot = running.popleft()
                self._drain(slot)
                self._free[bucket].put(slot)
        return np.concatenate(answers)

    def through_each(self, images: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """A full batch of `images`, repeated as needed, through every slot: (bucket, logits). Before any `infer`."""
        for bucket, several in self._all.items():
            batch = np.resize(images, (bucket, *images.shape[1:]))
            for slot in several:
                slot.launch(batch)
                yield bucket, slot.collect()

    def close(self) -> None:
        for several in self._all.values():
            for slot in several:
                slot.close()

    def _take(self, bucket: int, running: deque[tuple[int, Slot]], answers: list[NDArray[np.float32]]) -> Slot:
        while True:
            try:
                return self._free[bucket].get(block=not running)
            except queue.Empty:
                answers.append(self._collect(running))

    def _collect(self, running: deque[tuple[int, Slot]]) -> NDArray[np.float32]:
        bucket, slot = running.popleft()
        try:
            return slot.collect()
        finally:
            self._free[bucket].put(slot)

    @staticmethod
    def _drain(slot: Slot) -> None:
        """Its buffers are still being read or written; nobody may use them before that ends."""
        with suppress(EngineError):
            slot.collect()
