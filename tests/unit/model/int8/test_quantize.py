"""The network in int8: what becomes integers, what does not, and that it is the same every time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from model.bundle import MODEL, Bundle
from model.engine.ort import OrtEngine
from model.errors import EngineError

onnx = pytest.importorskip("onnx")

from model.int8.quantize import Recipe, _span, fold, quantize  # noqa: E402
from model.int8.share import shared  # noqa: E402
from tests.unit.model.conftest import THIN, WHOLE  # noqa: E402

ROOT = Path(__file__).parents[4]


def test_folding_changes_no_answer(bundle: Bundle, images: NDArray[np.uint8]) -> None:
    network = onnx.load(bundle.onnx)
    fold(network.graph)
    onnx.checker.check_model(network)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images})
    assert np.abs(logits - OrtEngine(bundle, threads=1).infer(images)).max() < 1e-5
    weights = {tensor.name: tensor for tensor in network.graph.initializer}
    assert {tensor.data_type for tensor in weights.values() if len(tensor.dims) >= 2} == {onnx.TensorProto.FLOAT}
    first = next(node for node in network.graph.node if node.op_type == "Conv")
    assert list(weights[first.input[1]].dims) == [64, 1, 7, 7]


@pytest.mark.parametrize(
    ("blocks", "count"), [(THIN, 17), pytest.param(WHOLE, 53, marks=pytest.mark.slow)], indirect=["blocks"]
)
def test_what_becomes_integers(blocks: tuple[int, ...], count: int, int8_bundle: Bundle) -> None:
    network = onnx.load(int8_bundle.variant("int8"))
    made = {output: node for node in network.graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in network.graph.initializer}
    convolutions = [node for node in network.graph.node if node.op_type == "Conv"]
    integers = {output for output, node in made.items() if node.op_type == "DequantizeLinear"}
    whole = [node for node in convolutions if node.input[1] in integers]
    assert len(convolutions) == count
    assert len(whole) == count - 1 - Recipe().keep_first - Recipe().keep_last
    for node in whole:
        kernel, steps, zero = (weights[name] for name in made[node.input[1]].input)
        assert kernel.data_type == onnx.TensorProto.INT8
        assert list(steps.dims) == [kernel.dims[0]]  # one for each output channel
        assert not onnx.numpy_helper.to_array(zero).any()  # symmetric
        activation = weights[made[node.input[0]].input[2]]
        assert (activation.data_type, list(activation.dims)) == (onnx.TensorProto.UINT8, [])
    floats = {node.op_type for node in network.graph.node if made.get(node.input[0])}
    assert {"Add", "Gemm", "MaxPool"} <= floats
    assert [node.op_type for node in network.graph.node if node.output[0] == "logits"] == ["Gemm"]


def test_it_is_smaller(int8_bundle: Bundle) -> None:
    assert int8_bundle.variant("int8").stat().st_size < 0.4 * int8_bundle.onnx.stat().st_size


def test_weights_that_both_have_are_stored_once(int8_bundle: Bundle, images: NDArray[np.uint8], tmp_path: Path) -> None:
    """The same answers to the bit as from a file that holds everything."""
    made = onnx.load(int8_bundle.variant("int8"), load_external_data=False)
    outside = [tensor for tensor in made.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"} == {MODEL}
    assert {tensor.data_type for tensor in outside} <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT}
    assert len(outside) >= Recipe().keep_first + Recipe().keep_last
    whole = onnx.load(int8_bundle.variant("int8"))
    for tensor in whole.graph.initializer:
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images[:2]})
    assert np.array_equal(OrtEngine(int8_bundle, threads=1, precision="int8").infer(images[:2]), logits)


def test_what_the_network_does_not_hold_stays(int8_bundle: Bundle) -> None:
    whole = quantized_alone(int8_bundle)
    assert shared(whole, b"another file", MODEL) == whole


def quantized_alone(bundle: Bundle) -> bytes:
    network = onnx.load(bundle.variant("int8"))
    return bytes(network.SerializeToString(deterministic=True))


def test_runtime_makes_integer_kernels_of_it(int8_bundle: Bundle, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(int8_bundle.variant("int8")), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph.node]
    assert kinds.count("QLinearConv") == 17 - 1 - Recipe().keep_first - Recipe().keep_last


@pytest.mark.slow
def test_another_process_makes_the_same_bytes(int8_bundle: Bundle, images: NDArray[np.uint8], tmp_path: Path) -> None:
    np.save(tmp_path / "films.npy", images)
    code = (
        "import sys, hashlib, numpy; from pathlib import Path; from model.int8.quantize import Recipe, quantize\n"
        "from model.int8.share import shared; network = Path(sys.argv[1]).read_bytes()\n"
        "made = shared(quantize(network, numpy.load(sys.argv[2]), Recipe()), network, 'model.onnx')\n"
        "print(hashlib.sha256(made).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(int8_bundle.onnx), str(tmp_path / "films.npy")],
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(int8_bundle.variant("int8").read_bytes()).hexdigest()


def test_spans_hold_zero_and_clip_the_tails() -> None:
    counts = np.ones(4096, np.int64)
    assert _span(0.0, 4096.0, counts, 100) == (0, 4096)
    low, high = _span(-2048.0, 2048.0, counts, 99)
    assert low == pytest.approx(-2048 + 41, abs=1)
    assert high == pytest.approx(2048 - 41, abs=1)
    assert _span(2.0, 4.0, counts, 100) == (0, 4)
    assert _span(-4.0, -2.0, counts, 100) == (-4, 0)
    assert _span(0.0, 0.0, counts, 99.99) == (0, 0)


def test_no_network() -> None:
    with pytest.raises(EngineError, match="cannot be quantized"):
        quantize(b"garbage", np.zeros((1, 1, 224, 224), np.uint8), Recipe())
