"""ONNX to a TensorRT plan. The only module that imports TensorRT.

Written for `tensorrt` 10 and 11 and for `tensorrt_rtx`, whose Python interfaces agree in every name used here. The
network is strongly typed: its precision is what the ONNX graph says.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model.errors import EngineError, first_line

log = logging.getLogger("xrayq.model")

Shape = tuple[int, ...]
Profile = tuple[Shape, Shape, Shape]
"""Smallest, best and largest shape of one input."""


@dataclass(frozen=True, kw_only=True)
class Built:
    plan: bytes
    timing: bytes
    """The timing cache: makes the next build on this GPU quicker. Empty where the library has none."""


def import_trt() -> Any:
    """The installed TensorRT module, `tensorrt` before `tensorrt_rtx`. Raises EngineError if there is none."""
    try:
        import tensorrt
    except ImportError:
        pass
    else:
        return tensorrt
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise EngineError(
            "TensorRT is not installed: pip install tensorrt-cu13 (NVIDIA's index) or tensorrt-rtx-cu13"
        ) from error
    return tensorrt_rtx


def make_logger(trt: Any) -> tuple[Any, list[str]]:
    """A TensorRT logger, and the list its errors go to: TensorRT answers None and says why only there."""
    errors: list[str] = []

    class Collected(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.Logger.Severity.ERROR, trt.Logger.Severity.INTERNAL_ERROR):
                errors.append(text.strip())
            elif severity == trt.Logger.Severity.WARNING:
                log.debug("TensorRT: %s", text)

    return Collected(), errors


def build(
    onnx: bytes, profiles: Mapping[str, Profile], *, timing: bytes = b"", report: Callable[[str], None] = log.debug
) -> Built:
    """Parse `onnx` and build a plan that takes every shape of `profiles` (input name -> shapes).

    `timing` is what an earlier build on the same GPU and version returned; anything else is started afresh.

    Raises:
        EngineError: TensorRT refuses the graph (the message names the node and the reason) or the profile.
    """
    trt = import_trt()
    logger, errors = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        raise EngineError(f"TensorRT cannot parse the network: {_parse_error(parser)}")
    report(f"parsed {network.num_layers} layers")
    config = builder.create_builder_config()
    cache = config.create_timing_cache(timing)
    if cache is None:
        cache = config.create_timing_cache(b"")
    if cache is not None:
        config.set_timing_cache(cache, ignore_mismatch=False)
    if profiles:
        config.add_optimization_profile(_profile(builder, network, profiles))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT cannot build a plan: {last(errors)}")
    kept = config.get_timing_cache()
    return Built(plan=bytes(plan), timing=b"" if kept is None else bytes(kept.serialize()))


def last(errors: list[str]) -> str:
    """What TensorRT said last, on one line."""
    return " ".join(errors[-1].split()) if errors else "it gives no reason"


def _profile(builder: Any, network: Any, profiles: Mapping[str, Profile]) -> Any:
    names = {network.get_input(at).name for at in range(network.num_inputs)}
    if names != set(profiles):
        raise EngineError(f"the network has the inputs {sorted(names)}, and shapes are given for {sorted(profiles)}")
    profile = builder.create_optimization_profile()
    for name, (smallest, best, largest) in profiles.items():
        try:
            profile.set_shape(name, smallest, best, largest)
        except Exception as error:
            raise EngineError(f"TensorRT refuses the shapes of {name}: {first_line(error)}") from error
    return profile


def _parse_error(parser: Any) -> str:
    if not parser.num_errors:
        return "it gives no reason"
    error = parser.get_error(0)
    node = f"node {error.node()} ({error.node_operator()}) {error.node_name()}: " if error.node_operator() else ""
    return node + first_line(Exception(error.desc()))
