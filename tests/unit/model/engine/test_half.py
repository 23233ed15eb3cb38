"""The fp16 graph that plans are built from: its answers, its types, and networks that cannot be halved."""

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")  # model.training.export writes the networks
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, numpy_helper  # noqa: E402

from model.bundle import REFERENCE, Bundle, load  # noqa: E402
from model.engine.half import to_half  # noqa: E402
from model.engine.ort import OrtEngine  # noqa: E402
from model.engine.parity import TOLERANCE, films  # noqa: E402
from model.errors import EngineError  # noqa: E402
from tests.unit.model.tiny import tiny_network  # noqa: E402


@pytest.fixture(scope="module")
def reference() -> Bundle:
    return load(REFERENCE)


def test_fp16_graph_answers_as_the_reference(reference: Bundle) -> None:
    images = films(224)
    fp32 = OrtEngine(reference, threads=2)
    half = onnxruntime.InferenceSession(to_half(reference.onnx.read_bytes()), providers=["CPUExecutionProvider"])
    (logits,) = half.run(["logits"], {"images": images})
    difference = np.abs(logits - fp32.infer(images)).max()
    assert logits.dtype == np.float32
    assert 0 < difference < TOLERANCE / 2, "0 would mean that nothing was computed in fp16"


def test_fp16_graph_is_fp16_from_the_first_convolution_to_the_head(reference: Bundle) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(to_half(reference.onnx.read_bytes()))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 53
    assert {types[name] for node in convolutions for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}
    between = [node for node in graph.node if node.op_type in ("Relu", "Add", "MaxPool", "AveragePool")]
    assert {types[node.output[0]] for node in between} == {TensorProto.FLOAT16}
    (head,) = [node for node in graph.node if node.op_type == "Gemm"]
    assert {types[name] for name in (*head.input, *head.output)} == {TensorProto.FLOAT}
    assert {types[node.output[0]] for node in graph.node if node.op_type in ("Div", "Sub")} == {TensorProto.FLOAT}
    assert (types["images"], types["logits"]) == (TensorProto.UINT8, TensorProto.FLOAT)


def _without_head() -> Any:
    made = tiny_network()
    nodes = [node for node in made.graph.node if node.op_type != "Gemm"]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _too_large_for_fp16() -> Any:
    made = tiny_network()
    (bias,) = [one for one in made.graph.initializer if one.name == "kernel_bias"]
    bias.CopyFrom(numpy_helper.from_array(np.full(8, 1e6, np.float32), bias.name))
    return made


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no network"),
        (b"garbage", "is not ONNX"),
        (_without_head().SerializeToString(), "no convolution that leads to a linear head"),
        (_too_large_for_fp16().SerializeToString(), "kernel_bias does not fit fp16"),
    ],
    ids=["empty", "garbage", "headless", "too large"],
)
def test_networks_that_cannot_be_halved(content: bytes, says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        to_half(content)
    assert "\n" not in str(caught.value)


def test_parity_films_are_films() -> None:
    made = films(224)
    assert (made.shape, made.dtype) == ((8, 1, 224, 224), np.uint8)
    assert np.array_equal(made, films(224))
    assert len(np.unique(made.reshape(8, -1), axis=0)) == 8
