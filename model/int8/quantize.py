"""A network in int8: weights per output channel, activations in steps measured on films. Needs onnx.

Quantize and dequantize nodes (QDQ) stand around each convolution; ONNX Runtime makes integer kernels of them. What
costs little time and carries much of the error stays in fp32: the additions of the residual blocks, where rounding
would pile up; the first convolution, and the first and last 1x1 ones, whose rounding reaches everything or is averaged
out by nothing; the head. In bundle 0.3.0 these are 15 % of the multiplications and half of the error's variance.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from model.errors import EngineError, first_line

QUANTIZED = ("Conv", "Relu")
BINS = 4096
BATCH = 4
Range = tuple[np.float32, np.float32]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is quantized."""

    percentile: float = 99.9999
    """Share of a tensor's values, in percent, that its integers can say; the rest is clipped."""
    keep_first: int = 3
    """1x1 convolutions that stay in fp32 at the beginning, beside the very first convolution."""
    keep_last: int = 6
    """The same at the end."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def quantize(content: bytes, films: NDArray[np.uint8], recipe: Recipe) -> bytes:
    """An fp32 network in int8. The same input gives the same bytes.

    Args:
        content: ONNX, uint8 [N, 1, size, size] -> logits; weights may be stored in fp16.
        films: uint8 [N, 1, size, size] to measure the activations on; a few hundred real ones.

    Raises:
        EngineError: ONNX Runtime cannot run or quantize the network.
    """
    try:
        network = onnx.load_from_string(content)
        fold(network.graph)
        spans = observe(network, films, recipe.percentile)
        return _with_steps(network, spans, recipe)
    except Exception as error:
        raise EngineError(f"the network cannot be quantized: {first_line(error)}") from error


def fold(graph: onnx.GraphProto) -> None:
    """Weights in fp32 instead of fp16 and a Cast; one grey channel instead of three equal ones. In place."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Cast" and node.input[0] in stored:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            _replace(graph, stored[node.input[0]], values, node.output[0])
            graph.node.remove(node)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        users = [user for user in graph.node if node.output[0] in user.input]
        if node.op_type == "Expand" and [user.op_type for user in users] == ["Conv"]:
            weights = stored[users[0].input[1]]
            _replace(graph, weights, numpy_helper.to_array(weights).sum(axis=1, keepdims=True), weights.name)
            users[0].input[0] = node.input[0]
            graph.node.remove(node)
    del graph.value_info[:]  # shapes of what is gone
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def observe(network: onnx.ModelProto, films: NDArray[np.uint8], percentile: float) -> dict[str, Range]:
    """The span of each activation over `films`, zero included: {tensor: (lowest, highest)}, `percentile` of it.

    Two passes: the first finds the extremes, the second fills a histogram between them. What a Relu takes has the span
    of what it gives, because the two become one kernel.
    """
    relus = {node.input[0]: node.output[0] for node in network.graph.node if node.op_type == "Relu"}
    names = [
        output
        for node in network.graph.node
        if node.op_type in (*QUANTIZED, "MaxPool")
        for output in node.output
        if output not in relus
    ]
    watched = onnx.ModelProto()
    watched.CopyFrom(network)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    batches = [films[at : at + BATCH] for at in range(0, len(films), BATCH)]
    ends = np.zeros((len(names), 2))
    for batch in batches:
        for row, values in enumerate(session.run(names, {"images": batch})):
            ends[row] = min(ends[row, 0], values.min()), max(ends[row, 1], values.max())
    counts = np.zeros((len(names), BINS), np.int64)
    for batch in batches:
        for row, values in enumerate(session.run(names, {"images": batch})):
            low, high = ends[row]
            bins = ((values.ravel() - np.float32(low)) * np.float32((BINS - 1) / max(high - low, 1e-12))).astype(
                np.int32
            )
            counts[row] += np.bincount(bins, minlength=BINS)[:BINS]
    spans = {name: _span(ends[row, 0], ends[row, 1], counts[row], percentile) for row, name in enumerate(names)}
    return spans | {taken: spans[given] for taken, given in relus.items() if given in spans}


def _span(low: float, high: float, counts: NDArray[np.int64], percentile: float) -> Range:
    edges, share = np.linspace(low, high, len(counts) + 1), np.cumsum(counts) / counts.sum()
    tail = 1 - percentile / 100
    first, last = np.searchsorted(share, tail, side="right"), np.searchsorted(share, 1 - tail)
    return np.float32(min(edges[first], 0.0)), np.float32(max(edges[last + 1], 0.0))


def _with_steps(network: onnx.ModelProto, spans: dict[str, Range], recipe: Recipe) -> bytes:
    kept = _kept(network.graph, recipe)
    silent = [relu.name for relu in network.graph.node for node in kept if relu.op_type == "Relu" if _feeds(node, relu)]
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(network),
        True,  # weights per channel
        False,  # all 8 bits
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, spans),
        [],
        [node.name for node in kept] + silent,
        list(QUANTIZED),
        {},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    _store_as_fp16(made.graph, [node.input[1] for node in kept])
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString(deterministic=True)
    return content


def _kept(graph: onnx.GraphProto, recipe: Recipe) -> list[onnx.NodeProto]:
    """Convolutions that stay in fp32."""
    kernels = {tensor.name: list(tensor.dims[2:]) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    pointwise = [node for node in convolutions if kernels[node.input[1]] == [1, 1]]
    return convolutions[:1] + pointwise[: recipe.keep_first] + pointwise[len(pointwise) - recipe.keep_last :]


def _feeds(node: onnx.NodeProto, other: onnx.NodeProto) -> bool:
    return bool(set(node.output) & set(other.input))


def _store_as_fp16(graph: onnx.GraphProto, names: list[str]) -> None:
    """Weights that were fp16 in the bundle as fp16 and a Cast again. Halves what they take."""
    casts = []
    for tensor in [tensor for tensor in graph.initializer if tensor.name in names]:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if np.array_equal(half.astype(np.float32), values):
            casts.append(helper.make_node("Cast", [tensor.name + ".fp16"], [tensor.name], to=TensorProto.FLOAT))
            _replace(graph, tensor, half, tensor.name + ".fp16")
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _replace(graph: onnx.GraphProto, old: onnx.TensorProto, values: NDArray[Any], name: str) -> None:
    graph.initializer.remove(old)
    graph.initializer.append(numpy_helper.from_array(values, name))
