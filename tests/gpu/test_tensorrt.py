"""TensorRT's run-time half on a real GPU: parity, replay, every bucket, foreign plans, a full GPU."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.bundle import Bundle
from model.engine import build_plan, cuda, plans, seal
from model.engine.cuda import Cuda
from model.engine.ort import OrtEngine
from model.engine.parity import TOLERANCE
from model.engine.plan_cache import compile_plan
from model.engine.plans import Plan
from model.engine.slots import BUCKETS
from model.engine.tensorrt import TensorRTEngine
from model.errors import EngineError
from tests.gpu.conftest import missing

MIB = 1 << 20


@pytest.fixture(scope="module")
def cache(bundle: Bundle, gpu: Cuda, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        trt = build_plan.import_trt()
    except EngineError as error:
        missing(str(error))
        raise
    if trt.__name__ == "tensorrt_rtx" and gpu.capability.split(".")[0] in ("9", "10"):
        missing(f"TensorRT-RTX does not run on {gpu.gpu}: install tensorrt")
    folder = tmp_path_factory.mktemp("plans")
    plan = compile_plan(bundle, folder, report=print)
    print(f"{plan.target}: {plan.size / 1e6:.1f} MB in {plan.seconds:.1f} s")
    return folder


@pytest.fixture
def plan(bundle: Bundle, cache: Path) -> Plan:
    return plans.open_plan(bundle, cache)[0]


@pytest.fixture(scope="module")
def engine(bundle: Bundle, cache: Path, reference: OrtEngine) -> Iterator[TensorRTEngine]:
    made = TensorRTEngine(bundle, cache, reference=reference)
    print(f"{made.spec.name} on {made.spec.device}: largest difference {made.difference:.4f}")
    yield made
    made.close()


def test_every_bucket_is_there_and_agrees(engine: TensorRTEngine, gpu: Cuda) -> None:
    assert engine.spec.batches == BUCKETS
    assert engine.spec.device == gpu.gpu
    assert 0 < engine.difference <= TOLERANCE
    engine.warm_up()


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 130])
def test_any_number_of_films(
    engine: TensorRTEngine, images: NDArray[np.uint8], expected: NDArray[np.float32], count: int
) -> None:
    logits = engine.infer(images[:count])
    assert (logits.dtype, logits.shape) == (np.float32, (count, expected.shape[1]))
    assert np.abs(logits - expected[:count]).max() <= TOLERANCE


def test_replay_answers_as_plain_enqueue(
    bundle: Bundle, cache: Path, reference: OrtEngine, engine: TensorRTEngine, images: NDArray[np.uint8]
) -> None:
    plain = TensorRTEngine(bundle, cache, reference=reference, graphs=False)
    for bucket in BUCKETS:
        for _ in range(3):
            assert np.abs(engine.infer(images[:bucket]) - plain.infer(images[:bucket])).max() < 1e-3
    plain.close()


def test_every_slot_replays_a_graph(engine: TensorRTEngine) -> None:
    assert all(slot.recorded for several in engine._slots._all.values() for slot in several)  # type: ignore[attr-defined]


def test_threads_share_the_slots(
    engine: TensorRTEngine, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    counts = [1, 8, 70, 130, 3, 33, 64] * 10
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda count: engine.infer(images[:count]), counts))
    for count, answer in zip(counts, answers, strict=True):
        assert np.abs(answer - expected[:count]).max() <= TOLERANCE


@pytest.mark.parametrize("field", ["gpu", "capability", "version", "library"])
def test_a_plan_from_another_machine_is_refused(
    bundle: Bundle, cache: Path, plan: Plan, reference: OrtEngine, tmp_path: Path, field: str
) -> None:
    """Sealed with this cache's key and renamed to what this machine looks for: only the manifest tells."""
    folder = Path(shutil.copytree(cache, tmp_path / "plans"))
    facts = plans.plan_facts(bundle.onnx.read_bytes(), bundle, plan.target)
    secret = seal.read_key(folder)
    other = replace(facts, target=replace(plan.target, **{field: "another"}))
    plans.write(folder, secret, other, plan.path.read_bytes())
    (folder / f"{other.key}.json").replace(folder / f"{plan.key}.json")
    with pytest.raises(EngineError, match=f"differs in {field}"):
        TensorRTEngine(bundle, folder, reference=reference)


def test_what_tensorrt_cannot_load_is_refused(
    bundle: Bundle, cache: Path, plan: Plan, reference: OrtEngine, tmp_path: Path
) -> None:
    """Rightly sealed, but no plan: deserialising answers None."""
    folder = Path(shutil.copytree(cache, tmp_path / "plans"))
    facts = plans.plan_facts(bundle.onnx.read_bytes(), bundle, plan.target)
    plans.write(folder, seal.read_key(folder), facts, b"garbage" * 1000)
    with pytest.raises(EngineError, match="TensorRT cannot load"):
        TensorRTEngine(bundle, folder, reference=reference)


def test_a_reference_that_differs_refuses(bundle: Bundle, cache: Path, reference: OrtEngine) -> None:
    with pytest.raises(EngineError, match="a logit differs by"):
        TensorRTEngine(bundle, cache, reference=reference, tolerance=1e-9)


def test_a_full_gpu_serves_smaller_batches(
    bundle: Bundle,
    cache: Path,
    reference: OrtEngine,
    gpu: Cuda,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
) -> None:
    """Leave ever more memory until the engine starts: the first that does has not every bucket."""
    TensorRTEngine(bundle, cache, reference=reference).close()  # what the process keeps is allocated before the count
    runtime = cuda._runtime()
    for room in range(32, 4096, 32):
        _, free, _ = runtime.cudaMemGetInfo()
        eaten = []
        try:
            eaten.append(gpu.memory(max(free - room * MIB, 1)))
            made = TensorRTEngine(bundle, cache, reference=reference)
        except EngineError as error:
            print(f"{room} MiB: {error}")
            continue
        else:
            print(f"{room} MiB: batches {made.spec.batches}")
            assert made.spec.batches == BUCKETS[: len(made.spec.batches)]
            assert np.abs(made.infer(images) - expected).max() <= TOLERANCE
            made.close()
            assert len(made.spec.batches) < len(BUCKETS)
            return
        finally:
            gpu.free(memory=tuple(eaten))
    pytest.fail("it never started")


def test_figures(engine: TensorRTEngine, images: NDArray[np.uint8]) -> None:
    """Prints; holds nothing but that a batch is worth making."""
    rates = {}
    for bucket in BUCKETS:
        batch = np.resize(images, (bucket * 4, *images.shape[1:]))
        engine.infer(batch)
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < 1:
            engine.infer(batch)
            done += len(batch)
        rates[bucket] = done / (time.perf_counter() - started)
    one = []
    for _ in range(200):
        started = time.perf_counter()
        engine.infer(images[:1])
        one.append(time.perf_counter() - started)
    print(f"{engine.spec.name} on {engine.spec.device}, one thread, copies included")
    print(f"one film {np.median(one) * 1e3:.2f} ms")
    print("; ".join(f"{bucket * 4} films at once {rate:,.0f} films/s" for bucket, rate in rates.items()))
    assert rates[64] > 1 / np.median(one)
