"""The trained network as ONNX: batch norm folded, dynamic batch, weights stored as fp16 and computed in fp32."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 20


def export_onnx(network: nn.Module, path: Path, size: int, outputs: tuple[str, ...] = ("logits",)) -> None:
    """Write `path`: uint8 images [batch, 1, size, size] -> float32 logits [batch, findings], or what else the network
    returns, by these names; normalisation is in the graph."""
    images = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations while it traces
        program = torch.onnx.export(
            network.eval(),
            (images,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    program.optimize()
    graph_model = program.model_proto
    store_weights_as_fp16(graph_model.graph)
    _strip_provenance(graph_model)
    onnx.checker.check_model(graph_model)
    path.write_bytes(graph_model.SerializeToString())


def store_weights_as_fp16(graph: onnx.GraphProto) -> None:
    """Replace every fp32 matrix or kernel by fp16 plus a Cast, which runtimes fold when they load. Halves the file."""
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float16)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values, tensor.name + ".fp16"))
        casts.append(helper.make_node("Cast", [tensor.name + ".fp16"], [tensor.name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _strip_provenance(graph_model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they carry source paths of the machine that trained."""
    for part in (graph_model.graph, *graph_model.graph.node, *graph_model.graph.input, *graph_model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*graph_model.graph.value_info, *graph_model.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    graph_model.ClearField("metadata_props")
