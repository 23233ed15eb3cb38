"""A bundle's plan on an NVIDIA GPU: fp16, one recorded CUDA graph for each slot."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.engine import build_plan, parity, slots
from model.engine.base import Engine
from model.engine.cuda import Cuda
from model.engine.plans import BATCHES, INPUT, OUTPUT, open_plan
from model.engine.slot_engine import SlotEngine
from model.errors import EngineError, OutOfMemoryError

log = logging.getLogger("xrayq.model")


class TensorRTEngine(SlotEngine):
    """An Engine on TensorRT or TensorRT-RTX. It serves a plan that `plan_cache.compile_plan` made; it builds none."""

    def __init__(
        self,
        bundle: Bundle,
        cache: Path,
        *,
        reference: Engine,
        tolerance: float = parity.TOLERANCE,
        graphs: bool = True,
    ) -> None:
        """Load the plan, record the graphs and compare every slot with `reference` (logits, at most `tolerance`).

        `graphs=False` enqueues each batch anew instead of replaying a recording.

        Raises:
            EngineError: no GPU, no plan for it in `cache`, a plan that was altered, too little memory for one film, or
                answers that are not the reference's.
        """
        self._cuda = Cuda()  # before anything of TensorRT's runtime
        plan, content = open_plan(bundle, cache)
        trt = build_plan.import_trt()
        self._logger, errors = build_plan.make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise EngineError(f"TensorRT cannot load {plan.path} on this GPU: {build_plan.last(errors)}")
        size, findings = bundle.preprocess.size, len(bundle.findings)
        self._shape = (1, size, size)
        self._check_interface(trt, findings)
        buckets = tuple(bucket for bucket in slots.BUCKETS if bucket <= BATCHES[-1])
        made = slots.fill(
            buckets,
            lambda bucket: TensorRTSlot(self._cuda, trt, self._engine, (bucket, *self._shape), findings, graphs),
        )
        self._serve(
            made,
            buckets,
            name=f"{plan.target.library}-{plan.target.version}-fp16",
            device=self._cuda.gpu,
            size=size,
            reference=reference,
            tolerance=tolerance,
        )

    def close(self) -> None:
        super().close()
        self._engine = self._runtime = None

    def _check_interface(self, trt: Any, findings: int) -> None:
        """The plan's tensors are the bundle's: a plan for another network would read and write past the buffers."""
        names = [self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)]
        found = {
            name: (
                self._engine.get_tensor_mode(name),
                self._engine.get_tensor_dtype(name),
                tuple(self._engine.get_tensor_shape(name)),
            )
            for name in names
        }
        expected = {
            INPUT: (trt.TensorIOMode.INPUT, trt.DataType.UINT8, (-1, *self._shape)),
            OUTPUT: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT, (-1, findings)),
        }
        if found != expected:
            raise EngineError(f"the plan takes and gives {found}, the bundle says {expected}")


class TensorRTSlot:
    """One batch size: an execution context with buffers of its own, and the work recorded once."""

    def __init__(self, cuda: Cuda, trt: Any, engine: Any, shape: tuple[int, ...], findings: int, graphs: bool) -> None:
        self._cuda, self._count = cuda, 0
        self._stream: Any = None
        self._context: Any = None
        self._graph: Any = None
        self._device: list[int] = []
        self._pinned: list[Any] = []
        try:
            self._stream = cuda.stream()
            self._pinned = [cuda.pinned(shape, np.uint8)]
            self._pinned.append(cuda.pinned((shape[0], findings), np.float32))
            for pinned in self._pinned:
                self._device.append(cuda.memory(pinned.array.nbytes))
            self._context = self._make_context(trt, engine, shape)
            self._enqueue()  # once unrecorded: the first call may allocate, which cannot be recorded
            cuda.wait(self._stream)
            if graphs and self._recordable():
                self._graph = self._record()
        except BaseException:
            self.close()
            raise

    @property
    def recorded(self) -> bool:
        """Whether batches replay a CUDA graph."""
        return self._graph is not None

    def launch(self, images: NDArray[np.uint8]) -> None:
        self._count = len(images)
        array = self._pinned[0].array
        array[: self._count] = images
        array[self._count :] = 0
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.replay(self._graph, self._stream)

    def collect(self) -> NDArray[np.float32]:
        self._cuda.wait(self._stream)
        logits: NDArray[np.float32] = self._pinned[1].array[: self._count].copy()
        return logits

    def close(self) -> None:
        self._context = None  # before the memory it points to
        self._cuda.free(graph=self._graph, stream=self._stream, memory=tuple(self._device), pinned=tuple(self._pinned))
        self._graph = self._stream = None
        self._device, self._pinned = [], []

    def _make_context(self, trt: Any, engine: Any, shape: tuple[int, ...]) -> Any:
        if trt.__name__ == "tensorrt_rtx":  # compiles kernels for a shape it meets: now, not while a film waits
            config = engine.create_runtime_config()
            config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None:
            raise OutOfMemoryError(f"TensorRT gives no execution context for a batch of {shape[0]}")
        stream = int(self._stream)
        done = (
            context.set_optimization_profile_async(0, stream)
            and context.set_input_shape(INPUT, shape)
            and context.set_tensor_address(INPUT, self._device[0])
            and context.set_tensor_address(OUTPUT, self._device[1])
        )
        if not done or context.infer_shapes():
            raise EngineError(f"the plan does not take a batch of {shape[0]}")
        return context

    def _enqueue(self) -> None:
        self._cuda.copy_in(self._device[0], self._pinned[0], self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EngineError("TensorRT could not enqueue a batch")
        self._cuda.copy_out(self._pinned[1], self._device[1], self._stream)

    def _recordable(self) -> bool:
        ask = getattr(self._context, "is_stream_capturable", None)
        return True if ask is None else bool(ask(int(self._stream)))

    def _record(self) -> Any:
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue()
        except BaseException:
            with suppress(EngineError):
                self._cuda.end_capture(self._stream)
            raise
        return self._cuda.end_capture(self._stream)
