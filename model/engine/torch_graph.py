"""A bundle's ONNX graph as a torch module, node by node: no architecture is named, so none can be mistaken."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.engine import half
from model.errors import EngineError, first_line

Attributes = dict[str, Any]
Operation = Callable[..., Tensor]


class OnnxModule(nn.Module):
    """uint8 images [N, 1, size, size] -> logits, as the ONNX graph computes them, in its own precision.

    Weights are buffers (it never trains). Shapes are Python numbers, so that a CUDA graph can be recorded.
    """

    def __init__(self, content: bytes) -> None:
        """Raises EngineError when `content` is not ONNX, or has an operation this module does not know."""
        super().__init__()
        from onnx import helper, numpy_helper

        graph = half.parse(content).graph
        if len(graph.input) != 1 or len(graph.output) != 1:
            raise EngineError("the network has more than one input or output")
        self._input, self._output = graph.input[0].name, graph.output[0].name
        constants: dict[str, Tensor] = {}
        for tensor in graph.initializer:
            constants[tensor.name] = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        self._steps: list[tuple[Callable[[Attributes], Operation], Attributes, list[str], str]] = []
        for node in graph.node:
            make = OPERATIONS.get(node.op_type)
            if make is None or node.domain:
                raise EngineError(f"the torch engine does not know the operation {node.op_type} ({node.name})")
            attributes = {field.name: helper.get_attribute_value(field) for field in node.attribute}
            if len(node.output) != 1 or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
                raise EngineError(f"the torch engine does not know this form of {node.op_type} ({node.name})")
            inputs = [name for name in node.input if name]
            if all(name in constants for name in inputs):  # a Cast of a weight: done once, here
                constants[node.output[0]] = make(attributes)(*(constants[name] for name in inputs))
            else:
                self._steps.append((make, attributes, inputs, node.output[0]))
        used = {name for _, _, inputs, _ in self._steps for name in inputs} & set(constants)
        self._buffer_of: dict[str, str] = {}
        self._shape_of: dict[str, tuple[int, ...]] = {}
        for at, name in enumerate(sorted(used)):
            if constants[name].dtype == torch.int64:
                self._shape_of[name] = tuple(constants[name].reshape(-1).tolist())
            else:
                self._buffer_of[name] = f"weight_{at}"
                self.register_buffer(self._buffer_of[name], constants[name])

    def forward(self, images: Tensor) -> Tensor:
        values: dict[str, Any] = {self._input: images, **self._shape_of}
        values |= {name: getattr(self, buffer) for name, buffer in self._buffer_of.items()}
        for make, attributes, inputs, output in self._steps:
            try:
                values[output] = make(attributes)(*(values[name] for name in inputs))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise EngineError(f"torch cannot compute {output}: {first_line(error)}") from error
        answer = values[self._output]
        assert isinstance(answer, Tensor)
        return answer


def _cast(attributes: Attributes) -> Operation:
    from onnx import TensorProto

    types = {TensorProto.FLOAT: torch.float32, TensorProto.FLOAT16: torch.float16, TensorProto.UINT8: torch.uint8}
    if attributes["to"] not in types:
        raise EngineError(f"the torch engine does not cast to ONNX type {attributes['to']}")
    wanted = types[attributes["to"]]
    return lambda value: value.to(wanted)


def _conv(attributes: Attributes) -> Operation:
    def apply(value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.conv2d(
            value,
            weight,
            bias,
            stride=tuple(attributes.get("strides", (1, 1))),
            padding=_padding(attributes),
            dilation=tuple(attributes.get("dilations", (1, 1))),
            groups=attributes.get("group", 1),
        )

    return apply


def _max_pool(attributes: Attributes) -> Operation:
    return lambda value: functional.max_pool2d(
        value,
        tuple(attributes["kernel_shape"]),
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=_padding(attributes),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _average_pool(attributes: Attributes) -> Operation:
    if tuple(attributes.get("dilations", (1, 1))) != (1, 1):
        raise EngineError("the torch engine does not know dilated average pools")
    return lambda value: functional.avg_pool2d(
        value,
        tuple(attributes["kernel_shape"]),
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=_padding(attributes),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
        count_include_pad=bool(attributes.get("count_include_pad", 0)),
    )


def _padding(attributes: Attributes) -> tuple[int, int]:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise EngineError("the torch engine does not know padding that differs between sides")
    return top, left


def _gemm(attributes: Attributes) -> Operation:
    def apply(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
        left = left.t() if attributes.get("transA", 0) else left
        right = right.t() if attributes.get("transB", 0) else right
        product = torch.mul(left @ right, attributes.get("alpha", 1.0))
        return product if bias is None else torch.add(product, bias, alpha=attributes.get("beta", 1.0))

    return apply


def _reshape(attributes: Attributes) -> Operation:
    def apply(value: Tensor, shape: tuple[int, ...]) -> Tensor:
        if not attributes.get("allowzero", 0):
            shape = tuple(value.shape[at] if side == 0 else side for at, side in enumerate(shape))
        return value.reshape(shape)

    return apply


def _expand(_: Attributes) -> Operation:
    return lambda value, shape: value.expand(np.broadcast_shapes(tuple(value.shape), shape))


def _flatten(attributes: Attributes) -> Operation:
    if attributes.get("axis", 1) != 1:
        raise EngineError("the torch engine flattens from axis 1 only")
    return lambda value: value.flatten(1)


def _plain(operation: Operation) -> Callable[[Attributes], Operation]:
    return lambda _: operation


OPERATIONS: dict[str, Callable[[Attributes], Operation]] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Conv": _conv,
    "Div": _plain(torch.div),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda value: value.mean(dim=(2, 3), keepdim=True)),
    "Identity": _plain(lambda value: value),
    "MaxPool": _max_pool,
    "Mul": _plain(torch.mul),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Sub": _plain(torch.sub),
}
"""ONNX operation (opset 20) -> what applies it. Operations that read a shape get it as a tuple."""
