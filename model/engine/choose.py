"""Which engine runs a bundle: by name, or the fastest that this machine and this bundle allow."""

import importlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from model.bundle import Bundle
from model.engine.base import Engine
from model.engine.ort import OrtEngine
from model.errors import EngineError, ModelError, first_line

log = logging.getLogger("xrayq.model")

AUTO, REFERENCE = "auto", "onnxruntime"
GPU = Path("/dev/nvidiactl")
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an engine is opened with."""

    bundle: Bundle
    threads: int
    """Threads of one inference on the CPU."""
    plans: Path | None
    """Folder of compiled TensorRT plans."""
    flag_tolerance: float
    """Largest share of validation films whose flags a variant may have changed when it was compiled."""


def open_engine(
    bundle: Bundle,
    name: str = AUTO,
    *,
    threads: int = 1,
    plans: Path | None = None,
    flag_tolerance: float = 0.02,
    fallback: bool = False,
) -> Engine:
    """Load an engine and run it once.

    Args:
        name: a key of ENGINES.
        threads: of one inference on the CPU.
        plans: folder of TensorRT plans; the engine of that name needs one.
        flag_tolerance: largest share of films whose flags a variant may change.
        fallback: open the reference engine, and say so in the log, when the wanted one cannot start.

    Raises:
        EngineError: no such engine, its library or device is missing, it fails, or it may not run this bundle.
    """
    if name not in ENGINES:
        raise EngineError(f"no engine {name!r}: there are {', '.join(ENGINES)}")
    wanted = Wanted(bundle=bundle, threads=threads, plans=plans, flag_tolerance=flag_tolerance)
    try:
        engine = _warm(ENGINES[name](wanted))
    except ModelError as error:
        if not fallback or name == REFERENCE:
            raise
        log.warning("engine cannot start, falling back", extra={"engine": name, "reason": first_line(error)})
        engine = _warm(_reference(wanted))
    return engine


def _warm(engine: Engine) -> Engine:
    """The engine after its first run; closed when that fails."""
    try:
        engine.warm_up()
    except ModelError:
        engine.close()
        raise
    return engine


def _auto(wanted: Wanted) -> Engine:
    """A GPU's engine where there is a GPU; on the CPU the fastest variant that agrees, by the clock of this machine."""
    for name, (module, library, _) in GPU_ENGINES.items():
        if GPU.exists() and find_spec(module) and find_spec(library):
            return ENGINES[name](wanted)
    engines = [_reference(wanted)]
    with suppress(ModelError):  # no such variant, or not within the tolerance
        engines.append(_int8(wanted))
    if len(engines) == 1:
        return engines[0]
    seconds = _seconds(engines, wanted.bundle)
    fastest = min(range(len(engines)), key=seconds.__getitem__)
    for index, engine in enumerate(engines):
        log.info("engine timed on one film", extra={"engine": engine.spec.name, "ms": round(seconds[index] * 1e3, 1)})
        if index != fastest:
            engine.close()
    return engines[fastest]


def _seconds(engines: list[Engine], bundle: Bundle) -> list[float]:
    """The best of a few single films for each engine, in turns. Not every CPU is faster with integers."""
    image = np.zeros((1, 1, bundle.preprocess.size, bundle.preprocess.size), np.uint8)
    best = [float("inf")] * len(engines)
    for engine in engines:
        engine.warm_up()
    for _ in range(ROUNDS):
        for index, engine in enumerate(engines):
            started = time.perf_counter()
            engine.infer(image)
            best[index] = min(best[index], time.perf_counter() - started)
    return best


def _reference(wanted: Wanted) -> Engine:
    return OrtEngine(wanted.bundle, threads=wanted.threads)


def _int8(wanted: Wanted) -> Engine:
    wanted.bundle.variant("int8")
    record = wanted.bundle.variants["int8"]
    share = (record.get("val") or {}).get("share_with_other_flags")
    if record.get("passed") is not True or share is None:
        raise EngineError(f"int8 of bundle {wanted.bundle.name} was not measured to agree: 'xrayq compile' does that")
    if share > wanted.flag_tolerance:
        raise EngineError(
            f"int8 of bundle {wanted.bundle.name} changed the flags of {share:.2%} of validation films, more than "
            f"{wanted.flag_tolerance:.2%} (XRAYQ_FLAG_TOLERANCE)"
        )
    return OrtEngine(wanted.bundle, threads=wanted.threads, precision="int8")


def _torch_cuda(wanted: Wanted) -> Engine:
    made: Engine = _gpu_class("torch-cuda")(wanted.bundle, reference=_reference(wanted))
    return made


def _tensorrt(wanted: Wanted) -> Engine:
    if wanted.plans is None:
        raise EngineError("tensorrt needs a folder of plans: set XRAYQ_PLAN_CACHE")
    made: Engine = _gpu_class("tensorrt")(wanted.bundle, wanted.plans, reference=_reference(wanted))
    return made


def _gpu_class(name: str) -> Any:
    """A GPU engine's class, imported now: its library takes seconds and is not in the base install."""
    module, library, attribute = GPU_ENGINES[name]
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise EngineError(f"engine {name} needs {library}: {first_line(error)}") from error


GPU_ENGINES = {
    "tensorrt": ("model.engine.tensorrt", "tensorrt", "TensorRTEngine"),
    "torch-cuda": ("model.engine.torch_cuda", "torch", "TorchCudaEngine"),
}
"""Module, library and class, best first."""

ENGINES: dict[str, Callable[[Wanted], Engine]] = {
    AUTO: _auto,
    REFERENCE: _reference,
    "onnxruntime-int8": _int8,
    "torch-cuda": _torch_cuda,
    "tensorrt": _tensorrt,
}
