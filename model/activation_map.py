"""The exact class activation map: which places of a film a finding's logit comes from. No torch, no gradient.

The network's head is linear behind an average pool. So a logit is a sum over the places of the last feature map, and a
bias:

    logit = bias + sum over places and channels of weight x feature / places in a window of the pool

A place's share of that sum is the map. It is the map of Zhou et al. 2016 for a head with weights of its own for each
window, and what HiResCAM (Draelos and Carin 2020) gives here. The feature map is read from a copy of the bundle's file
that also returns it.

A map shows where, never why. Each place saw much of the film, and most of what lies near its centre.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from model.bundle import Bundle
from model.engine.ort import REFERENCE, open_session
from model.errors import EngineError, first_line
from model.findings import NOT_NORMAL, negative_of

HEADS = [["AveragePool", flatten, "Gemm"] for flatten in ("Reshape", "Flatten")]
SLIDING = ("Conv", "MaxPool", "AveragePool")
Maps = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Where the places of a map lie on the input: place i is centred on pixel `first` + i x `step`, down and across.

    That follows from kernels, strides and pads. Pictures of such maps commonly stretch the map over the film instead,
    which moves it by half a step. In bundle `reference` the middle of the film is place 3.5, and stretched it would be
    3.0. Measured: with each of 49 squares of four films made grey, the feature map changed around place 3.4 on average.
    """

    step: float
    first: float
    size: int
    """Side of the input, pixels."""


@dataclass(frozen=True, kw_only=True)
class FilmMaps:
    """One film's maps and the logits that they add up to."""

    findings: tuple[str, ...]
    parts: Maps
    """float32 [findings, rows, columns], signed, in the logit's units: of each place that the head reads."""
    bias: Maps
    """float32 [findings]"""
    logits: Maps
    """float32 [findings], as the network gave them."""
    lattice: Lattice

    def evidence(self, finding: str) -> Maps:
        """What spoke for a finding: float32 [rows, columns], 0 where nothing did.

        For NOT_NORMAL, whose logit is no sum over places: what spoke against the negative finding.

        Raises ValueError: the network knows no such finding.
        """
        if finding == NOT_NORMAL:
            return _positive(-self.parts[self.findings.index(negative_of(self.findings))])
        if finding not in self.findings:
            raise ValueError(f"the network knows no {finding}: it knows {', '.join(self.findings)}")
        return _positive(self.parts[self.findings.index(finding)])


class ActivationMaps:
    """A bundle's network, opened with its last feature map as a second output."""

    def __init__(self, bundle: Bundle, *, threads: int, precision: str = REFERENCE) -> None:
        """
        Args:
            precision: what the engine computes in (`EngineSpec.precision`). A GPU's fp16 has no file of its own: it is
                explained by the fp32 network, whose logits differ by at most `model.engine.parity` allows.

        Raises:
            BundleError: the bundle has no variant of this precision.
            EngineError: the head is not average pool, flatten, linear, or the file is no network.
        """
        file = bundle.onnx if precision in (REFERENCE, "fp16") else bundle.variant(precision)
        try:
            network = onnx.load(str(file))  # with the weights that an int8 file leaves in the fp32 one
            self._head = _head(network.graph)
            self._lattice = _lattice(network.graph, self._head.features, bundle.preprocess.size)
            network.graph.output.append(onnx.helper.make_empty_tensor_value_info(self._head.features))
            self._session = open_session(file, threads, content=network.SerializeToString())
        except EngineError as error:
            raise EngineError(f"no activation map of {file}: {error}") from None
        except Exception as error:
            raise EngineError(f"no activation map of {file}: {first_line(error)}") from error
        self._findings = bundle.findings

    def of(self, images: NDArray[np.uint8]) -> list[FilmMaps]:
        """uint8 [N, 1, size, size] -> N films' maps. Raises EngineError."""
        try:
            logits, features = self._session.run(["logits", self._head.features], {"images": images})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed: {first_line(error)}") from error
        parts = self._head.parts(features)
        return [
            FilmMaps(findings=self._findings, parts=part, bias=self._head.bias, logits=logit, lattice=self._lattice)
            for part, logit in zip(parts, logits, strict=True)
        ]


def finding_to_show(flags: Collection[str], probabilities: Mapping[str, float]) -> str | None:
    """Whose map to show: of the flagged findings the most probable one, NOT_NORMAL where it is flagged alone.

    None where no flag is up: a map is scaled to its own maximum, and would paint a finding on every film.

    Args:
        probabilities: by finding, NOT_NORMAL left out or not.
    """
    single = [finding for finding in flags if finding != NOT_NORMAL]
    return max(single, key=lambda finding: probabilities[finding], default=NOT_NORMAL if flags else None)


@dataclass(frozen=True, kw_only=True)
class _Head:
    features: str
    """Name of the last feature map."""
    weights: Maps
    """float32 [findings, channels x windows]"""
    bias: Maps
    pool: int
    """Side of a window, places."""

    def parts(self, features: Maps) -> Maps:
        """float32 [N, channels, rows, columns] -> [N, findings, rows, columns] of the places that fill a window."""
        films, channels, *places = features.shape
        rows, columns = (side // self.pool for side in places)
        read = features[:, :, : rows * self.pool, : columns * self.pool]
        windows = read.reshape(films, channels, rows, self.pool, columns, self.pool)
        weights = self.weights.reshape(-1, channels, rows, columns)
        parts = np.einsum("ncrpsq,fcrs->nfrpsq", windows, weights, optimize=True) / self.pool**2
        return np.ascontiguousarray(parts.reshape(films, -1, *read.shape[2:]), np.float32)


def _positive(parts: Maps) -> Maps:
    return np.asarray(np.maximum(parts, 0.0), np.float32)


def _head(graph: Any) -> _Head:
    """Raises EngineError."""
    made_by = _made_by(graph)
    linear = made_by.get("logits")
    flatten = made_by.get(linear.input[0]) if linear is not None else None
    pool = made_by.get(flatten.input[0]) if flatten is not None else None
    kinds = [getattr(node, "op_type", None) for node in (pool, flatten, linear)]
    if linear is None or pool is None or kinds not in HEADS:
        raise EngineError(f"its head is {kinds}, not average pool, flatten, linear")
    gemm, pooling = _settings(linear), _settings(pool)
    side, *others = {*pooling["kernel_shape"], *pooling["strides"]}
    if others or any(pooling.get("pads", ())):
        raise EngineError("its average pool overlaps or pads")
    if gemm.get("transA") or gemm.get("alpha", 1.0) != 1.0 or gemm.get("beta", 1.0) != 1.0:
        raise EngineError("its linear layer turns or scales")
    weights, *bias = (_constant(graph, made_by, name) for name in linear.input[1:])
    weights = weights if gemm.get("transB") else weights.T
    return _Head(
        features=pool.input[0],
        weights=weights,
        bias=bias[0] if bias else np.zeros(len(weights), np.float32),
        pool=side,
    )


def _lattice(graph: Any, features: str, size: int) -> Lattice:
    """From the kernels, strides and pads between the images and a feature map. Raises EngineError."""
    made_by, name, layers = _made_by(graph), features, []
    while name in made_by:
        layers += [_settings(made_by[name])] if made_by[name].op_type in SLIDING else []
        name = made_by[name].input[0]
    step, first = 1.0, 0.0
    for layer in reversed(layers):
        kernel, pads = layer["kernel_shape"], layer.get("pads") or [0] * 4
        strides, dilations = layer.get("strides") or [1, 1], layer.get("dilations") or [1, 1]
        if any(pair[0] != pair[1] for pair in (kernel, pads, strides, dilations)):
            raise EngineError("its layers differ down and across")
        first += step * ((kernel[0] - 1) * dilations[0] / 2 - pads[0])
        step *= strides[0]
    if name != "images":
        raise EngineError(f"its feature map is made of {name}, not of the images")
    return Lattice(step=step, first=first, size=size)


def _made_by(graph: Any) -> dict[str, Any]:
    return {name: node for node in graph.node for name in node.output}


def _constant(graph: Any, made_by: dict[str, Any], name: str) -> Maps:
    """A weight in fp32; stored as fp16 it stands behind a Cast."""
    cast = made_by.get(name)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    return np.asarray(numpy_helper.to_array(tensors[name if cast is None else cast.input[0]]), np.float32)


def _settings(node: Any) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
