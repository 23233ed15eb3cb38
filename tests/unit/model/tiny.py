"""Networks of a few convolutions in the form of a bundle's, small enough to compile in a fraction of a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model.bundle import Bundle
from model.training.export import store_weights_as_fp16
from tests.unit.model.conftest import write_bundle

SIZE = 32


def tiny_network(seed: int = 0) -> onnx.ModelProto:
    """uint8 [batch, 1, 32, 32] -> logits [batch, 3], kernels stored as fp16 behind a Cast."""
    random = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {
        "scale": np.array(127.5, np.float32),
        "one": np.array(1, np.float32),
        "three": np.array([1, 3, 1, 1], np.int64),
        "kernel": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "kernel_bias": random.normal(0, 0.1, 8).astype(np.float32),
        "flat": np.array([-1, 8 * 16 * 16], np.int64),
        "head": random.normal(0, 0.02, (3, 8 * 16 * 16)).astype(np.float32),
        "head_bias": random.normal(0, 0.1, 3).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["divided"]),
        helper.make_node("Sub", ["divided", "one"], ["normal"]),
        helper.make_node("Expand", ["normal", "three"], ["rgb"]),
        helper.make_node("Conv", ["rgb", "kernel", "kernel_bias"], ["conv"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("AveragePool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["pool", "flat"], ["features"], allowzero=1),
        helper.make_node("Gemm", ["features", "head", "head_bias"], ["logits"], transB=1),
    ]
    return network(nodes, weights)


def deep_network(seed: int = 0, convolutions: int = 24) -> onnx.ModelProto:
    """As tiny_network, with 3x3 and 1x1 convolutions in turn: enough that int8 keeps some of them in fp32."""
    random, channels = np.random.default_rng(seed), 8
    weights: dict[str, NDArray[Any]] = {
        "scale": np.array(127.5, np.float32),
        "one": np.array(1, np.float32),
        "three": np.array([1, 3, 1, 1], np.int64),
        "flat": np.array([-1, channels * 4 * 4], np.int64),
        "head": random.normal(0, 0.5, (3, channels * 4 * 4)).astype(np.float32),
        "head_bias": random.normal(0, 0.1, 3).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["divided"]),
        helper.make_node("Sub", ["divided", "one"], ["normal"]),
        helper.make_node("Expand", ["normal", "three"], ["relu0"]),
    ]
    for at in range(1, convolutions + 1):
        taken, side = (3 if at == 1 else channels), (3 if at % 2 else 1)
        spread = np.sqrt(2 / (taken * side * side))
        weights[f"kernel{at}"] = random.normal(0, spread, (channels, taken, side, side)).astype(np.float32)
        weights[f"bias{at}"] = random.normal(0, 0.1, channels).astype(np.float32)
        given = [f"relu{at - 1}", f"kernel{at}", f"bias{at}"]
        shape = {"pads": [side // 2] * 4, "kernel_shape": [side, side], "strides": [2, 2] if at == 1 else [1, 1]}
        nodes.append(helper.make_node("Conv", given, [f"conv{at}"], name=f"conv{at}", **shape))
        nodes.append(helper.make_node("Relu", [f"conv{at}"], [f"relu{at}"], name=f"relu{at}"))
    nodes += [
        helper.make_node("AveragePool", [f"relu{convolutions}"], ["pool"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Reshape", ["pool", "flat"], ["features"], allowzero=1),
        helper.make_node("Gemm", ["features", "head", "head_bias"], ["logits"], transB=1),
    ]
    return network(nodes, weights)


def network(
    nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]], batch: str | int = "batch"
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    store_weights_as_fp16(graph)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def tiny_bundle(folder: Path, seed: int = 0, network: Callable[[int], onnx.ModelProto] = tiny_network) -> Bundle:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.onnx").write_bytes(network(seed).SerializeToString())
    return write_bundle(folder / "tiny", folder / "tiny.onnx", size=SIZE)
