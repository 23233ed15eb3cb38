"""The torch engine's network, read from ONNX node by node, on the CPU; its GPU half is in tests/gpu."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from model.bundle import REFERENCE, load  # noqa: E402
from model.engine import torch_cuda  # noqa: E402
from model.engine.half import to_half  # noqa: E402
from model.engine.ort import OrtEngine  # noqa: E402
from model.engine.parity import films  # noqa: E402
from model.engine.slots import BUCKETS  # noqa: E402
from model.engine.torch_cuda import TorchCudaEngine  # noqa: E402
from model.engine.torch_graph import OPERATIONS, OnnxModule  # noqa: E402
from model.errors import EngineError, NoGpuError  # noqa: E402
from tests.unit.model.tiny import SIZE, network, tiny_bundle, tiny_network  # noqa: E402


def run(content: bytes, images: NDArray[np.uint8]) -> NDArray[Any]:
    with torch.inference_mode():
        return np.asarray(OnnxModule(content)(torch.from_numpy(images)).numpy())


def test_the_shipped_network_answers_as_onnx_runtime_does() -> None:
    bundle, images = load(REFERENCE), films(224)[::2]
    expected = OrtEngine(bundle, threads=2).infer(images)
    logits = run(bundle.onnx.read_bytes(), images)
    assert (logits.dtype, logits.shape) == (np.float32, expected.shape)
    assert np.abs(logits - expected).max() < 1e-4
    assert np.ptp(expected, axis=0).min() > 1, "the films differ far more than that"


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("half", [False, True])
def test_any_batch_in_either_precision(tmp_path: Path, count: int, half: bool) -> None:
    bundle = tiny_bundle(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (count, 1, SIZE, SIZE), np.uint8)
    expected = OrtEngine(bundle, threads=1).infer(images)
    content = bundle.onnx.read_bytes()
    logits = run(to_half(content) if half else content, images)
    difference = np.abs(logits - expected).max()
    assert logits.dtype == np.float32
    assert (1e-6 < difference < 1e-2) if half else difference < 1e-5


def test_fp16_weights_are_folded_once() -> None:
    full, half = OnnxModule(tiny_network().SerializeToString()), OnnxModule(to_half(tiny_network().SerializeToString()))
    assert {buffer.dtype for buffer in full.buffers()} == {torch.float32}
    assert {buffer.dtype for buffer in half.buffers() if buffer.dim() == 4} == {torch.float16}
    assert list(full.parameters()) == []


def test_channels_last_changes_nothing_but_the_layout() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 1, SIZE, SIZE), np.uint8))
    plain = OnnxModule(tiny_network().SerializeToString())
    other = OnnxModule(tiny_network().SerializeToString()).to(memory_format=torch.channels_last)
    (kernel,) = [buffer for buffer in other.buffers() if buffer.dim() == 4]
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.allclose(plain(images), other(images), atol=1e-5)


def _float(node: Any) -> bytes:
    """One node between a Cast and the output."""
    cast = helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT)
    made = network([cast, node], {"ones": np.ones((1,), np.float32), "shape": np.array([0, -1], np.int64)})
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    return bytes(made.SerializeToString())


NODES = {
    "max pool": helper.make_node("MaxPool", ["x"], ["logits"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool up": helper.make_node("MaxPool", ["x"], ["logits"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average": helper.make_node("AveragePool", ["x"], ["logits"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average all": helper.make_node(
        "AveragePool", ["x"], ["logits"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "global": helper.make_node("GlobalAveragePool", ["x"], ["logits"]),
    "flatten": helper.make_node("Flatten", ["x"], ["logits"]),
    "reshape": helper.make_node("Reshape", ["x", "shape"], ["logits"]),
    "multiply": helper.make_node("Mul", ["x", "ones"], ["logits"]),
    "same": helper.make_node("Identity", ["x"], ["logits"]),
}


@pytest.mark.parametrize("name", NODES)
def test_operations_answer_as_onnx_runtime_does(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    content = _float(NODES[name])
    images = np.random.default_rng(0).integers(0, 256, (2, 1, SIZE, SIZE), np.uint8)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"images": images})
    assert np.allclose(run(content, images), expected, atol=1e-3)


@pytest.mark.parametrize("weights", [{"transA": 0, "transB": 1}, {"alpha": 0.5, "beta": 2.0, "transB": 1}])
def test_gemm_scales_as_onnx_runtime_does(tmp_path: Path, weights: dict[str, Any]) -> None:
    made = tiny_network()
    del made.graph.node[-1].attribute[:]
    made.graph.node[-1].attribute.extend(helper.make_attribute(name, value) for name, value in weights.items())
    onnxruntime = pytest.importorskip("onnxruntime")
    images = np.random.default_rng(0).integers(0, 256, (2, 1, SIZE, SIZE), np.uint8)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(run(made.SerializeToString(), images), session.run(None, {"images": images})[0], atol=1e-4)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"garbage", "is not ONNX"),
        (_float(helper.make_node("Softmax", ["x"], ["logits"], name="soft")), r"operation Softmax \(soft\)"),
        (_float(helper.make_node("Relu", ["x"], ["logits"], domain="own")), "operation Relu"),
        (
            _float(helper.make_node("MaxPool", ["x"], ["logits"], kernel_shape=[3, 3], auto_pad="SAME_UPPER")),
            "form of MaxPool",
        ),
        (
            _float(helper.make_node("MaxPool", ["x"], ["logits"], kernel_shape=[3, 3], pads=[0, 0, 1, 1])),
            "padding that differs",
        ),
        (_float(helper.make_node("Cast", ["x"], ["logits"], to=TensorProto.DOUBLE)), "cast to ONNX type"),
        (_float(helper.make_node("Flatten", ["x"], ["logits"], axis=2)), "axis 1 only"),
        (_float(helper.make_node("Relu", ["nowhere"], ["logits"])), "cannot compute logits"),
    ],
    ids=["garbage", "operation", "domain", "auto_pad", "padding", "cast", "flatten", "dangling"],
)
def test_what_is_not_known_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        run(content, np.zeros((1, 1, SIZE, SIZE), np.uint8))
    assert "\n" not in str(caught.value)


def test_every_operation_of_the_shipped_network_is_known() -> None:
    graph = onnx.load(load(REFERENCE).onnx).graph
    assert {node.op_type for node in graph.node} <= set(OPERATIONS)


def test_without_a_gpu_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    bundle = tiny_bundle(tmp_path)
    with pytest.raises(NoGpuError, match=r"torch sees no usable NVIDIA GPU.*or use the CPU"):
        TorchCudaEngine(bundle, reference=OrtEngine(bundle, threads=1))


class StandIn:
    """torch on the CPU under the names the engine uses for a GPU: proves bookkeeping, not CUDA (tests/gpu does).

    A replay computes from the tensors that were there when the graph was recorded, as a CUDA graph does.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int = 1000) -> None:
        self.room, self.replays, self.calls = room, 0, 0
        """Films of GPU memory left."""
        last: list[Any] = []
        forward = OnnxModule.forward

        def spied(module: OnnxModule, images: Any) -> Any:
            self.calls += 1
            last[:] = [module, images, forward(module, images)]
            return last[2]

        class Graph:
            def replay(graph) -> None:
                self.replays += 1
                module, images, output = graph.recorded
                output.copy_(forward(module, images))

        @contextmanager
        def graph(made: Any, *, stream: Any) -> Iterator[None]:
            yield
            made.recorded = tuple(last)

        def zeros(shape: Any, *, dtype: Any, device: str = "cpu", pin_memory: bool = False) -> Any:
            assert pin_memory != (device == "cuda")
            if device == "cuda":
                self.room -= shape[0]
                if self.room < 0:
                    raise torch.cuda.OutOfMemoryError("full\nof it")
            return torch.zeros(shape, dtype=dtype)

        cuda = SimpleNamespace(
            CUDAGraph=Graph,
            OutOfMemoryError=torch.cuda.OutOfMemoryError,
            Stream=lambda: SimpleNamespace(synchronize=lambda: None),
            get_device_name=lambda _: "Stand-in",
            graph=graph,
            is_available=lambda: True,
            stream=lambda _: nullcontext(),
            synchronize=lambda: None,
        )
        names = ("channels_last", "float32", "inference_mode", "uint8", "__version__")
        whole = SimpleNamespace(cuda=cuda, zeros=zeros, **{name: getattr(torch, name) for name in names})
        monkeypatch.setattr(torch_cuda, "torch", whole)
        monkeypatch.setattr(OnnxModule, "forward", spied)
        monkeypatch.setattr(OnnxModule, "to", lambda module, *_, **__: module)


@pytest.mark.parametrize("graphs", [True, False])
def test_batches_through_its_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: bool) -> None:
    gpu = StandIn(monkeypatch)
    bundle = tiny_bundle(tmp_path)
    reference = OrtEngine(bundle, threads=1)
    engine = TorchCudaEngine(bundle, reference=reference, graphs=graphs)
    assert engine.spec.batches == BUCKETS
    assert (engine.spec.device, engine.spec.precision) == ("Stand-in", "fp16")
    engine.warm_up()
    images = np.random.default_rng(0).integers(0, 256, (130, 1, SIZE, SIZE), np.uint8)
    gpu.calls = gpu.replays = 0
    for count in (1, 9, 64, 130):
        assert np.abs(engine.infer(images[:count]) - reference.infer(images[:count])).max() < 0.02
    assert (gpu.replays, gpu.calls) == ((6, 0) if graphs else (0, 6))
    with pytest.raises(EngineError, match="expected uint8"):
        engine.infer(images[:, 0])
    engine.close()


def test_its_full_memory_and_wrong_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path)
    reference = OrtEngine(bundle, threads=1)
    gpu = StandIn(monkeypatch, room=100)
    assert TorchCudaEngine(bundle, reference=reference).spec.batches == (1, 8, 32)
    gpu.room = 1
    with pytest.raises(EngineError, match=r"no room for a batch of 1: full$"):
        TorchCudaEngine(bundle, reference=reference)
    gpu.room = 1000
    with pytest.raises(EngineError, match="does not serve: at batch 1 a logit differs"):
        TorchCudaEngine(bundle, reference=reference, tolerance=1e-9)
