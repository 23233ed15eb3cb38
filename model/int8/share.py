"""Weights that a variant has in common with the bundle's network are read from the network's file, not stored twice.

ONNX lets a tensor lie in another file, by offset and length. The convolutions that int8 leaves in fp32 are stored in
fp16, to the byte as in model.onnx: in bundle 0.3.0, which stored it
twice, that is 14.8 MB of the variant's 31.5.
"""

import onnx
from onnx import TensorProto

LEAST = 1024
"""Bytes; below it, saying where a tensor lies takes as much as the tensor."""


def shared(variant: bytes, network: bytes, name: str) -> bytes:
    """The variant with every weight that lies in the network's file left out and pointed at.

    Args:
        variant, network: ONNX files.
        name: of the network's file, which lies beside the variant.
    """
    made = onnx.load_from_string(variant)
    for tensor in made.graph.initializer:
        length = len(tensor.raw_data)
        offset = network.find(tensor.raw_data) if length >= LEAST else -1
        if offset >= 0:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
                tensor.external_data.add(key=key, value=value)
    content: bytes = made.SerializeToString(deterministic=True)
    return content
