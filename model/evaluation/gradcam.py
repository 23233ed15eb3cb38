"""Grad-CAM (Selvaraju et al. 2017) of a bundle, without torch: where the last feature map spoke for a finding.

The network's head is linear behind an average pool, so the gradient of a logit with respect to the last feature map is
the same for every film, and Grad-CAM's channel weights are sums over the head's weights. The feature map itself is
read from a copy of the graph that also returns it.

An average pool of 2 drops the last row and column of a 7 x 7 map. Nothing keeps activations there in check, and
Grad-CAM, which weighs whole channels, lights them up; `GradCam.read` keeps the places that the head reads.
"""

from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from model.bundle import Bundle
from model.errors import EngineError, first_line

HEADS = [["AveragePool", flatten, "Gemm"] for flatten in ("Reshape", "Flatten")]
Maps = NDArray[np.float32]
Picture = NDArray[np.uint8]


class GradCam:
    """One bundle, opened with its feature map as a second output."""

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        """Raises EngineError when the graph has another head than average pool, flatten, linear."""
        try:
            model = onnx.load(str(bundle.onnx))
            self._features, self._weights, self._pool = _head(model.graph)
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(self._features))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except EngineError as error:
            raise EngineError(f"no Grad-CAM of {bundle.onnx}: {error}") from None
        except Exception as error:
            raise EngineError(f"no Grad-CAM of {bundle.onnx}: {first_line(error)}") from error

    def maps(self, images: Picture, findings: NDArray[np.int64]) -> Maps:
        """Maps of some findings for each film.

        Args:
            images: uint8 [N, 1, size, size].
            findings: index of the findings to explain, for each film [N, K].

        Returns:
            float32 [N, K, rows, columns] of the feature map, at least 0, in the logit's units; zero where nothing
            spoke for the finding.
        """
        (features,) = self._session.run([self._features], {"images": images})
        channels, cells = features.shape[1], features.shape[2] * features.shape[3]
        # Pooling without overlap hands each place's weight, shared out, to the cells it covers: summed over the cells,
        # as Grad-CAM does, they are the weights again.
        weights = self._weights.reshape(len(self._weights), channels, -1).sum(axis=2) / cells
        mixed = np.einsum("nfc,ncij->nfij", weights[findings], features)
        return np.asarray(np.maximum(mixed, 0.0), np.float32)

    def read(self, maps: Maps) -> Maps:
        """Maps [..., rows, columns] with zeros where the head does not read the feature map."""
        kept = np.zeros_like(maps)
        rows, columns = (size // self._pool * self._pool for size in maps.shape[-2:])
        kept[..., :rows, :columns] = maps[..., :rows, :columns]
        return kept


def overlay(image: Picture, heat: Maps) -> Picture:
    """A map over its film, each scaled to its own maximum: darker to brighter colours, a line at half.

    Args:
        image: uint8 [size, size].
        heat: float [rows, columns], at least 0.

    Returns:
        uint8 [size, size, 3], RGB. The film in grey where nothing spoke for the finding.
    """
    size = image.shape[0]
    grey = np.repeat(image[:, :, None], 3, axis=2).astype(np.float32)
    if not heat.max() > 0:
        return np.asarray(grey, np.uint8)
    strength = cv2.resize(heat / heat.max(), (size, size), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    share = (0.65 * np.clip((strength - 0.15) / 0.85, 0.0, 1.0))[:, :, None]
    blended = np.ascontiguousarray(np.rint(grey * (1 - share) + colours * share), dtype=np.uint8)
    lines, _ = cv2.findContours((strength >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(blended, lines, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return blended


def _head(graph: Any) -> tuple[str, NDArray[np.float32], int]:
    """Name of the last feature map, the linear layer's weights, float32 [findings, channels * pooled places], and the
    side of the pool."""
    made_by: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    linear = made_by.get("logits")
    flatten = made_by.get(linear.input[0]) if linear is not None else None
    pool = made_by.get(flatten.input[0]) if flatten is not None else None
    kinds = [getattr(node, "op_type", None) for node in (pool, flatten, linear)]
    if linear is None or pool is None or kinds not in HEADS:
        raise EngineError(f"its head is {kinds}, not average pool, flatten, linear")
    transposed, pooling = _settings(linear).get("transB"), _settings(pool)
    side, *others = {*pooling["kernel_shape"], *pooling["strides"]}
    if others or any(pooling.get("pads", ())):
        raise EngineError("its average pool overlaps or pads")
    cast = made_by.get(linear.input[1])  # weights are stored as fp16
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = numpy_helper.to_array(tensors[linear.input[1] if cast is None else cast.input[0]]).astype(np.float32)
    return pool.input[0], weights if transposed else weights.T, side


def _settings(node: Any) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
