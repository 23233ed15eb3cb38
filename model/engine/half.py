"""The bundle's graph with its trunk in fp16, for runtimes that take their precision from the graph.

Before: uint8 images, everything in fp32, kernels stored as fp16 behind a Cast.
After: uint8 images, normalised in fp32, every node from the first Conv up to the head in fp16, the head and the logits
in fp32. Input and output keep their names and types. What is written here is part of a plan's key: see plans.RECIPE.
"""

from typing import Any

from model.errors import EngineError, first_line

HEADS = ("Gemm", "MatMul")


def to_half(content: bytes) -> bytes:
    """model.onnx -> the same network with an fp16 trunk, as ONNX.

    Raises:
        EngineError: not ONNX, no convolution before a linear head, or a node whose types no longer fit.
    """
    import onnx
    from onnx import TensorProto, helper

    network = parse(content)
    graph = network.graph
    nodes = list(graph.node)
    first = next((at for at, node in enumerate(nodes) if node.op_type == "Conv"), None)
    last = next((at for at in reversed(range(len(nodes))) if nodes[at].op_type in HEADS), None)
    if first is None or last is None or last < first:
        raise EngineError("the network has no convolution that leads to a linear head; fp16 is made for that form only")
    trunk = nodes[first:last]
    weights = _constants(graph, nodes)
    used = {name for node in trunk for name in node.input if name in weights}
    made = {name for node in trunk for name in node.output}
    entering = [name for node in trunk for name in node.input if name and name not in made and name not in weights]
    leaving = [name for name in nodes[last].input if name in made]

    before = [node for node in nodes[:first] if node.output[0] not in used]
    rename = {name: f"{name}.half" for name in dict.fromkeys(entering)}
    into = [helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16) for name, half in rename.items()]
    for node in trunk:
        node.input[:] = [rename.get(name, name) for name in node.input]
    back = {name: f"{name}.full" for name in dict.fromkeys(leaving)}
    out = [helper.make_node("Cast", [name], [full], to=TensorProto.FLOAT) for name, full in back.items()]
    nodes[last].input[:] = [back.get(name, name) for name in nodes[last].input]

    kept = {name for node in (*before, *nodes[last:]) for name in node.input}
    initialisers = [tensor for tensor in graph.initializer if tensor.name in kept and tensor.name not in used]
    initialisers += [_as_half(weights[name], name) for name in sorted(used)]
    if used & kept:
        raise EngineError("a weight is shared between the fp16 trunk and the rest of the network")
    _replace(graph.node, [*before, *into, *trunk, *out, *nodes[last:]])
    _replace(graph.initializer, initialisers)
    del graph.value_info[:]
    try:
        onnx.checker.check_model(network, full_check=True)
    except Exception as error:
        raise EngineError(f"the network cannot be written with an fp16 trunk: {first_line(error)}") from error
    return bytes(network.SerializeToString())


def parse(content: bytes) -> Any:
    """ONNX bytes -> onnx.ModelProto. Raises EngineError when they are no network, or `onnx` is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise EngineError("the package onnx is not installed: pip install 'xrayq[gpu]'") from error
    try:
        network = onnx.load_from_string(content)
    except Exception as error:
        raise EngineError(f"the bundle's model.onnx is not ONNX: {first_line(error)}") from error
    if not network.graph.node:
        raise EngineError("the bundle's model.onnx holds no network")
    return network


def _constants(graph: Any, nodes: list[Any]) -> dict[str, Any]:
    """Name -> TensorProto for initialisers, and for what a Cast makes of one."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: constants[node.input[0]]
        for node in nodes
        if node.op_type == "Cast" and node.input[0] in constants
    }
    return constants


def _as_half(tensor: Any, name: str) -> Any:
    """The tensor under `name`, fp32 rounded to fp16; shapes and other integers stay."""
    import numpy as np
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    if values.dtype == np.float32:
        with np.errstate(over="ignore"):
            values = values.astype(np.float16)
        if not np.isfinite(values).all():
            raise EngineError(f"weight {name} does not fit fp16")
    return numpy_helper.from_array(values, name)


def _replace(repeated: Any, values: list[Any]) -> None:
    del repeated[:]
    repeated.extend(values)
