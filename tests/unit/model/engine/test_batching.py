"""Films of several callers in one batch: every caller gets its own answers, whoever else fails."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from model.bundle import Bundle
from model.engine.base import EngineSpec
from model.engine.batching import BatchingEngine
from model.engine.ort import OrtEngine
from model.errors import EngineError
from tests.services import wait_until

SPEC = EngineSpec(name="sums", precision="fp32", device="cpu", batches=(1, 8))


class Sums:
    """An engine whose logits are sums of pixels, that remembers its batches and refuses films of 13s."""

    spec = SPEC

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = self.most_inside = 0
        self.lock = threading.Lock()
        self.closed = False

    def warm_up(self) -> None: ...

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        self.gate.wait(30)
        with self.lock:
            self.batches.append(len(images))
            self.inside -= 1
        if (images == 14).any():
            raise RuntimeError("a fault nobody expected")
        if (images == 13).any():
            raise EngineError("thirteen")
        return images.reshape(len(images), -1).sum(axis=1, dtype=np.float32)[:, None].repeat(3, axis=1)

    def close(self) -> None:
        self.closed = True


def films(*values: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1).repeat(2, axis=2).repeat(2, axis=3)


def test_callers_share_batches_and_get_their_own_answers() -> None:
    sums = Sums()
    engine = BatchingEngine(sums, most=16, patience=0.05)
    sums.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        asked = [films(*range(start, start + 1 + start % 3)) for start in range(20, 40)]
        answers = [pool.submit(engine.infer, images) for images in asked]
        wait_until(lambda: sums.inside == 1 and engine._requests.qsize() >= 3, 30, "callers that wait")
        sums.gate.set()
        for images, answer in zip(asked, answers, strict=True):
            assert np.array_equal(answer.result(30)[:, 0], images.reshape(len(images), -1).sum(axis=1))
    assert sum(sums.batches) == sum(map(len, asked))
    assert max(sums.batches) > 3
    assert max(sums.batches) <= 16
    assert sums.most_inside == 1
    engine.close()
    assert sums.closed


def test_two_streams_have_two_batches_under_way() -> None:
    sums = Sums()
    engine = BatchingEngine(sums, most=2, patience=0.0, streams=2)
    sums.gate.clear()
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(engine.infer, films(value)) for value in range(1, 7)]
        wait_until(lambda: sums.inside == 2, 30, "two batches")
        sums.gate.set()
        assert [answer.result(30)[0, 0] for answer in answers] == [4.0 * value for value in range(1, 7)]
    assert sums.most_inside == 2
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(films(1))


def test_a_fault_nobody_expected_stops_nothing() -> None:
    engine = BatchingEngine(Sums(), most=4, patience=0.0)
    with pytest.raises(EngineError, match="RuntimeError"):
        engine.infer(films(14))
    assert engine.infer(films(2))[0, 0] == 8
    engine.close()


def test_a_full_batch_does_not_wait() -> None:
    engine = BatchingEngine(Sums(), most=4, patience=30)
    started = time.monotonic()
    assert len(engine.infer(films(1, 2, 3, 4))) == 4
    assert len(engine.infer(films(*range(1, 10)))) == 9
    assert time.monotonic() - started < 10
    engine.close()


def test_patience_ends() -> None:
    engine = BatchingEngine(Sums(), most=64, patience=0.01)
    assert engine.infer(films(5))[0, 0] == 20
    engine.close()


@pytest.mark.parametrize("bad", [films(13), np.zeros((1, 1, 3, 3), np.uint8), np.zeros((0, 1, 2, 2), np.uint8)])
def test_nobody_fails_for_another(bad: NDArray[np.uint8]) -> None:
    sums = Sums()
    engine = BatchingEngine(sums, most=16, patience=0.2)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(engine.infer, images) for images in (films(1, 2), bad, films(3))]
        assert answers[0].result(30)[:, 0].tolist() == [4, 8]
        assert answers[2].result(30)[:, 0].tolist() == [12]
        if (bad == 13).any():
            with pytest.raises(EngineError, match="thirteen"):
                answers[1].result(30)
        else:
            assert len(answers[1].result(30)) == len(bad)
    engine.close()


def test_after_close_it_says_so() -> None:
    engine = BatchingEngine(Sums(), most=4, patience=0.0)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(films(1))


@pytest.mark.slow
def test_a_real_engine_gives_the_same_logits(bundle: Bundle, images: NDArray[np.uint8]) -> None:
    plain = OrtEngine(bundle, threads=1)
    expected = plain.infer(images)
    engine = BatchingEngine(OrtEngine(bundle, threads=1), most=8, patience=0.05)
    engine.warm_up()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(engine.infer, images[at : at + 2]) for at in range(0, len(images), 2)]
        found = np.concatenate([answer.result(60) for answer in answers])
    assert np.abs(found - expected).max() < 1e-4
    engine.close()
