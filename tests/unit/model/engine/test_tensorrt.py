"""TensorRTEngine's bookkeeping on a stand-in for the GPU: what it refuses, which slots it makes, what it gives back."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

trt = pytest.importorskip("tensorrt_rtx")
pytest.importorskip("cuda.bindings.runtime")
pytest.importorskip("onnx")
pytest.importorskip("torch")  # model.training.export writes the network

from model.bundle import Bundle  # noqa: E402
from model.engine import build_plan, cuda  # noqa: E402
from model.engine.half import to_half  # noqa: E402
from model.engine.ort import OrtEngine  # noqa: E402
from model.engine.plan_cache import compile_plan  # noqa: E402
from model.engine.slots import BUCKETS  # noqa: E402
from model.engine.tensorrt import TensorRTEngine  # noqa: E402
from model.errors import EngineError  # noqa: E402
from tests.unit.model.stand_in import StandIn, StandInTrt  # noqa: E402
from tests.unit.model.tiny import SIZE, tiny_bundle, tiny_network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops")
FILM = SIZE * SIZE


class Bench:
    """A stand-in machine, a bundle and its sealed plan."""

    def __init__(self, made: tuple[Bundle, Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = made[0]
        self.cache = Path(shutil.copytree(made[1], folder / "plans"))
        self.gpu = StandIn()
        self.trt = StandInTrt(trt, self.gpu, to_half(self.bundle.onnx.read_bytes()))
        self.reference = OrtEngine(self.bundle, threads=1)
        monkeypatch.setattr(cuda, "_runtime", lambda: self.gpu)
        monkeypatch.setattr(build_plan, "import_trt", lambda: self.trt)

    def engine(self, **options: Any) -> TensorRTEngine:
        return TensorRTEngine(self.bundle, self.cache, reference=self.reference, **options)

    @contextmanager
    def refused(self, says: str) -> Iterator[None]:
        with pytest.raises(EngineError, match=says) as caught:
            yield
        assert "\n" not in str(caught.value)
        assert self.gpu.leaked == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """A bundle, and a cache with its plan: by TensorRT-RTX itself, with the stand-in's name in the key."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "_runtime", StandIn)
        bundle = tiny_bundle(folder)
        compile_plan(bundle, folder / "plans")
    return bundle, folder / "plans"


@pytest.fixture
def bench(made: tuple[Bundle, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(made, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def films() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (200, 1, SIZE, SIZE), np.uint8)


def test_every_bucket_is_compared_with_the_reference(bench: Bench) -> None:
    engine = bench.engine()
    assert engine.spec.batches == BUCKETS
    assert engine.spec.name == f"tensorrt_rtx-{trt.__version__}-fp16"
    assert (engine.spec.device, engine.spec.precision) == ("Stand-in", "fp16")
    assert 0 < engine.difference < 0.02
    assert bench.gpu.replays == 2 * len(BUCKETS), "each slot once"
    engine.warm_up()
    engine.close()
    assert bench.gpu.leaked == []


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("count", [1, 2, 8, 9, 33, 64, 65, 200])
def test_any_number_of_films(bench: Bench, films: NDArray[np.uint8], count: int, graphs: bool) -> None:
    engine = bench.engine(graphs=graphs)
    enqueued, replays = bench.trt.enqueued, bench.gpu.replays
    logits = engine.infer(films[:count])
    assert (logits.dtype, logits.shape) == (np.float32, (count, 3))
    assert np.abs(logits - bench.reference.infer(films[:count])).max() < 0.02
    batches = -(-count // 64)
    done = (bench.trt.enqueued - enqueued, bench.gpu.replays - replays)
    assert done == ((0, batches) if graphs else (batches, 0))
    engine.close()


def test_an_earlier_answer_does_not_change(bench: Bench, films: NDArray[np.uint8]) -> None:
    engine = bench.engine()
    first = engine.infer(films[:1])
    kept = first.copy()
    for at in range(4):
        engine.infer(films[at + 1 : at + 2])
    assert np.array_equal(first, kept)


def test_threads_share_the_slots(bench: Bench, films: NDArray[np.uint8]) -> None:
    engine = bench.engine()
    counts = [1, 8, 70, 130, 3, 33, 200, 64] * 3
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda count: engine.infer(films[:count]), counts))
    expected = bench.reference.infer(films)
    for count, answer in zip(counts, answers, strict=True):
        assert np.abs(answer - expected[:count]).max() < 0.02


@pytest.mark.parametrize(
    ("films_of_memory", "batches"), [(0, None), (1, None), (3, (1,)), (20, (1, 8)), (100, (1, 8, 32)), (250, BUCKETS)]
)
def test_full_memory_leaves_the_larger_buckets_out(
    bench: Bench, films: NDArray[np.uint8], films_of_memory: int, batches: tuple[int, ...] | None
) -> None:
    bench.gpu.room = films_of_memory * (FILM + 3 * 4)
    if batches is None:
        with bench.refused("no room for a batch of 1: the GPU is out of memory"):
            bench.engine()
        return
    engine = bench.engine()
    assert engine.spec.batches == batches
    assert bench.gpu.forgotten == (batches != BUCKETS)
    assert np.abs(engine.infer(films[:70]) - bench.reference.infer(films[:70])).max() < 0.02
    engine.close()
    assert bench.gpu.leaked == []


def test_a_context_that_is_not_given_counts_as_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.model import stand_in

    make = stand_in.Engine.create_execution_context
    given: list[Any] = []

    def few(self: Any, config: Any) -> Any:
        given.append(make(self, config))
        return given[-1] if len(given) <= 5 else None

    monkeypatch.setattr(stand_in.Engine, "create_execution_context", few)
    assert bench.engine().spec.batches == (1, 8)


SHIFTS: dict[str, tuple[Callable[[int], float], str]] = {
    "all": (lambda _: 0.1, "at batch 1 a logit differs by 0.1"),
    "one bucket": (lambda batch: 0.1 if batch == 32 else 0.0, "at batch 32 a logit differs by 0.1"),
    "NaN": (lambda _: float("nan"), "at batch 1 its warm-up gives no finite logits"),
    "infinite": (lambda batch: float("inf") if batch == 64 else 0.0, "at batch 64 its warm-up gives no finite"),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_another_answer_than_the_references_is_refused(bench: Bench, name: str) -> None:
    shift, says = SHIFTS[name]
    bench.trt.shift = shift
    with bench.refused(says):
        bench.engine()


def test_the_plan_of_other_weights_is_refused(bench: Bench) -> None:
    bench.trt = StandInTrt(trt, bench.gpu, to_half(tiny_network(seed=1).SerializeToString()))
    with bench.refused("at batch 1 a logit differs by"):
        bench.engine()


def test_the_tolerance_is_the_callers(bench: Bench) -> None:
    bench.trt.shift = lambda _: 0.1
    bench.engine(tolerance=0.2).close()
    with bench.refused(r"1e-09 is allowed"):
        bench.engine(tolerance=1e-9)


def test_a_plan_that_tensorrt_does_not_load_is_refused(bench: Bench) -> None:
    bench.trt.loads = False
    with bench.refused("TensorRT cannot load .*plan on this GPU"):
        bench.engine()


def test_a_plan_of_other_tensors_is_refused(bench: Bench) -> None:
    other = tiny_network()
    for names in (*(node.input for node in other.graph.node), *(node.output for node in other.graph.node)):
        names[:] = [f"{name}2" if name in ("images", "logits") else name for name in names]
    for value in (*other.graph.input, *other.graph.output):
        value.name += "2"
    bench.trt = StandInTrt(trt, bench.gpu, other.SerializeToString())
    with bench.refused("the plan takes and gives .*images2.*, the bundle says .*images"):
        bench.engine()


def test_an_altered_plan_is_refused_before_tensorrt_sees_it(bench: Bench) -> None:
    (plan,) = bench.cache.glob("*.plan")
    plan.write_bytes(plan.read_bytes() + b"x")
    bench.trt.loads = None  # type: ignore[assignment]
    with bench.refused("was altered"):
        bench.engine()


def test_a_plan_from_another_gpu_is_refused(bench: Bench) -> None:
    bench.gpu.gpu = "Another"
    with bench.refused("no plan of this bundle for Another .*it has plans for Stand-in"):
        bench.engine()


def test_what_cannot_be_recorded_is_enqueued(bench: Bench, films: NDArray[np.uint8]) -> None:
    bench.trt.recordable = False
    engine = bench.engine()
    assert bench.gpu.replays == 0
    assert np.abs(engine.infer(films) - bench.reference.infer(films)).max() < 0.02
    engine.close()


@pytest.mark.parametrize(
    "call", ["cudaStreamEndCapture", "cudaGraphInstantiate", "execute_async_v3", "cudaMemcpyAsync"]
)
def test_a_failure_while_loading_is_an_engine_error(bench: Bench, call: str) -> None:
    bench.gpu.fail.add(call)
    with bench.refused("CUDA failed|could not enqueue"):
        bench.engine()


@pytest.mark.parametrize("call", ["cudaGraphLaunch", "cudaStreamSynchronize"])
def test_after_a_failure_every_slot_is_free_again(bench: Bench, films: NDArray[np.uint8], call: str) -> None:
    engine = bench.engine()
    for _ in range(5):
        bench.gpu.fail = {call}
        with pytest.raises(EngineError, match=f"CUDA failed: {call} answered cudaErrorIllegalAddress"):
            engine.infer(films)
    bench.gpu.fail = set()
    assert np.abs(engine.infer(films) - bench.reference.infer(films)).max() < 0.02
    engine.close()
    assert bench.gpu.leaked == []


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 1, SIZE, SIZE), np.float32),
        np.zeros((1, 3, SIZE, SIZE), np.uint8),
        np.zeros((0, 1, SIZE, SIZE), np.uint8),
        np.zeros((SIZE, SIZE), np.uint8),
    ],
    ids=lambda wrong: f"{wrong.dtype}{list(wrong.shape)}",
)
def test_other_inputs_are_refused(bench: Bench, wrong: Any) -> None:
    with pytest.raises(EngineError, match="expected uint8"):
        bench.engine().infer(wrong)


def test_a_bundle_with_other_findings_is_refused(bench: Bench, tmp_path: Path) -> None:
    from tests.unit.model.conftest import write_bundle

    fewer: Bundle = write_bundle(tmp_path / "fewer", bench.bundle.onnx, bench.bundle.findings[:2], SIZE)
    with bench.refused("the bundle says"):
        TensorRTEngine(fewer, bench.cache, reference=bench.reference)
