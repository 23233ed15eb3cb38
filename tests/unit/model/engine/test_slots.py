"""Batches through slots: cut, padded, overlapped, shared by threads without a deadlock."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.engine.slots import BUCKETS, Slot, Slots, cut, fill
from model.errors import EngineError, OutOfMemoryError


class Recorded:
    """A slot whose logits are its images' first pixels; says when it is misused."""

    def __init__(self, bucket: int, events: list[str] | None = None) -> None:
        self.bucket, self.events = bucket, [] if events is None else events
        self.held = threading.Lock()
        self.images: NDArray[np.uint8] | None = None
        self.closed = False
        self.breaks = False

    def launch(self, images: NDArray[np.uint8]) -> None:
        assert self.held.acquire(blocking=False), "launched while it runs"
        assert 0 < len(images) <= self.bucket
        self.images = images.copy()
        self.events.append(f"launch {self.bucket}")

    def collect(self) -> NDArray[np.float32]:
        assert self.images is not None
        answer = self.images[:, 0, 0, :3].astype(np.float32)
        self.images = None
        self.held.release()
        self.events.append(f"collect {self.bucket}")
        if self.breaks:
            raise EngineError("broken")
        return answer

    def close(self) -> None:
        self.closed = True


def films(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 4, 4), np.uint8)


def expected(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images[:, 0, 0, :3].astype(np.float32)


def make(events: list[str] | None = None) -> tuple[Slots, dict[int, list[Recorded]]]:
    made = {bucket: [Recorded(bucket, events), Recorded(bucket, events)] for bucket in BUCKETS}
    return Slots(made), made


@given(st.integers(1, 500), st.sets(st.integers(1, 70), min_size=1))
def test_every_image_is_cut_once_and_fits(count: int, buckets: set[int]) -> None:
    parts = list(cut(count, sorted(buckets)))
    covered = [at for part, _ in parts for at in range(part.start, part.stop)]
    assert covered == list(range(count))
    for part, bucket in parts:
        size = part.stop - part.start
        assert size <= bucket
        assert not [smaller for smaller in buckets if size <= smaller < bucket]
    assert len(parts) == -(-count // max(buckets))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 64, 65, 300])
def test_answers_keep_their_order(count: int) -> None:
    slots, _ = make()
    images = films(count)
    assert np.array_equal(slots.infer(images), expected(images))


def test_the_next_batch_starts_before_the_last_one_ends() -> None:
    events: list[str] = []
    slots, _ = make(events)
    slots.infer(films(64 * 4))
    assert events == [
        "launch 64",
        "launch 64",
        "collect 64",
        "launch 64",
        "collect 64",
        "launch 64",
        "collect 64",
        "collect 64",
    ]


def test_many_threads_end_with_their_own_answers() -> None:
    slots, _ = make()

    def ask(seed: int) -> bool:
        images = films(1 + seed * 7 % 200, seed)
        return bool(np.array_equal(slots.infer(images), expected(images)))

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(300), timeout=30))


def test_a_failure_frees_every_slot() -> None:
    slots, made = make()
    made[64][0].breaks = True
    for _ in range(5):
        with pytest.raises(EngineError, match="broken"):
            slots.infer(films(300))
    made[64][0].breaks = False
    images = films(300)
    assert np.array_equal(slots.infer(images), expected(images))


def test_every_slot_sees_a_full_batch() -> None:
    slots, _ = make()
    images = films(5)
    answers = list(slots.through_each(images))
    assert [bucket for bucket, _ in answers] == [1, 1, 8, 8, 32, 32, 64, 64]
    for bucket, answer in answers:
        assert np.array_equal(answer, expected(np.resize(images, (bucket, 1, 4, 4))))


def _maker(made: list[Recorded], limit: int, error: BaseException) -> Callable[[int], Slot]:
    def one(bucket: int) -> Slot:
        if len(made) == limit:
            raise error
        made.append(Recorded(bucket))
        return made[-1]

    return one


@pytest.mark.parametrize(("limit", "buckets"), [(2, [1]), (3, [1]), (4, [1, 8]), (7, [1, 8, 32]), (8, [1, 8, 32, 64])])
def test_buckets_are_made_until_memory_is_full(limit: int, buckets: list[int]) -> None:
    made: list[Recorded] = []
    filled = fill(BUCKETS[::-1], _maker(made, limit, OutOfMemoryError("full")))
    assert {bucket: len(slots) for bucket, slots in filled.items()} == dict.fromkeys(buckets, 2)
    assert [slot.bucket for slot in made if slot.closed] == ([8] if limit == 3 else [64] if limit == 7 else [])


@pytest.mark.parametrize("limit", [0, 1])
def test_no_room_for_one_film(limit: int) -> None:
    made: list[Recorded] = []
    with pytest.raises(EngineError, match="no room for a batch of 1: full"):
        fill(BUCKETS, _maker(made, limit, OutOfMemoryError("full")))
    assert all(slot.closed for slot in made)


def test_another_failure_keeps_nothing() -> None:
    made: list[Recorded] = []
    with pytest.raises(EngineError, match="other"):
        fill(BUCKETS, _maker(made, 5, EngineError("other")))
    assert len(made) == 5
    assert all(slot.closed for slot in made)
