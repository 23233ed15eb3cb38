"""The torch engine on a real GPU: parity, replay, every bucket, threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from model.bundle import Bundle  # noqa: E402
from model.engine.ort import OrtEngine  # noqa: E402
from model.engine.parity import TOLERANCE  # noqa: E402
from model.engine.slots import BUCKETS  # noqa: E402
from model.engine.torch_cuda import TorchCudaEngine  # noqa: E402
from model.errors import EngineError  # noqa: E402


@pytest.fixture(scope="module")
def engine(bundle: Bundle, reference: OrtEngine) -> Iterator[TorchCudaEngine]:
    made = TorchCudaEngine(bundle, reference=reference)
    print(f"{made.spec.name} on {made.spec.device}: largest difference {made.difference:.4f}")
    yield made
    made.close()


def test_every_bucket_is_there_and_agrees(engine: TorchCudaEngine) -> None:
    assert engine.spec.batches == BUCKETS
    assert 0 < engine.difference <= TOLERANCE
    assert all(slot.recorded for several in engine._slots._all.values() for slot in several)  # type: ignore[attr-defined]
    engine.warm_up()


@pytest.mark.parametrize("count", [1, 2, 8, 9, 33, 64, 65, 130])
def test_any_number_of_films(
    engine: TorchCudaEngine, images: NDArray[np.uint8], expected: NDArray[np.float32], count: int
) -> None:
    logits = engine.infer(images[:count])
    assert (logits.dtype, logits.shape) == (np.float32, (count, expected.shape[1]))
    assert np.abs(logits - expected[:count]).max() <= TOLERANCE


def test_replay_answers_as_plain_calls(
    bundle: Bundle, reference: OrtEngine, engine: TorchCudaEngine, images: NDArray[np.uint8]
) -> None:
    plain = TorchCudaEngine(bundle, reference=reference, graphs=False)
    for bucket in BUCKETS:
        for _ in range(3):
            assert np.abs(engine.infer(images[:bucket]) - plain.infer(images[:bucket])).max() < 5e-3
    plain.close()


def test_threads_share_the_slots(
    engine: TorchCudaEngine, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    counts = [1, 8, 70, 130, 3, 33, 64] * 10
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda count: engine.infer(images[:count]), counts))
    for count, answer in zip(counts, answers, strict=True):
        assert np.abs(answer - expected[:count]).max() <= TOLERANCE


def test_a_reference_that_differs_refuses(bundle: Bundle, reference: OrtEngine) -> None:
    with pytest.raises(EngineError, match="a logit differs by"):
        TorchCudaEngine(bundle, reference=reference, tolerance=1e-9)


def test_a_full_gpu_serves_smaller_batches(bundle: Bundle, reference: OrtEngine) -> None:
    TorchCudaEngine(bundle, reference=reference).close()
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    used = torch.cuda.memory_reserved()
    try:
        for room in range(64, 8192, 64):
            torch.cuda.set_per_process_memory_fraction(min(1.0, (used + room * (1 << 20)) / total))
            try:
                made = TorchCudaEngine(bundle, reference=reference)
            except EngineError as error:
                print(f"{room} MiB: {error}")
                continue
            assert made.spec.batches == BUCKETS[: len(made.spec.batches)]
            assert len(made.spec.batches) < len(BUCKETS)
            made.close()
            return
        pytest.fail("it never started")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
