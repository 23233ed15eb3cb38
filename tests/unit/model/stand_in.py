"""A stand-in for a GPU: cuda-python's and TensorRT's run-time calls on host memory, computed by ONNX Runtime.

It proves bookkeeping (which calls, in which order, with which buffers; what is given back), never that CUDA or TensorRT
does what is asked: tests/gpu does that. It is strict where the real ones are: nothing enqueued happens before the
stream is waited for, a recording runs nothing, an address that was freed or never given is an error, and each call has
as many arguments as cuda-python's own.
"""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from cuda.bindings import runtime as real

OK = SimpleNamespace(name="cudaSuccess")
FULL = SimpleNamespace(name="cudaErrorMemoryAllocation")
BROKEN = SimpleNamespace(name="cudaErrorIllegalAddress")
Work = list[Callable[[], object]]


class Stream:
    def __init__(self, number: int) -> None:
        self.number = number
        self.pending: Work = []
        self.recording: Work | None = None

    def __int__(self) -> int:
        return self.number

    def enqueue(self, work: Callable[[], object]) -> None:
        (self.pending if self.recording is None else self.recording).append(work)


class StandIn:
    """Stands for cuda.bindings.runtime, and keeps what is allocated."""

    def __init__(self, *, memory: int = 1 << 40, gpu: str = "Stand-in") -> None:
        self.room, self.gpu = memory, gpu
        self.buffers: dict[int, Any] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: set[int] = set()
        self.replays = 0
        self.forgotten = False
        """Whether the last error was taken back."""
        self.fail: set[str] = set()
        """Calls that answer with an error from now on."""

    def __getattr__(self, name: str) -> Any:
        call = type(self).__dict__.get(f"_{name}")
        if call is None:
            return getattr(real, name)
        signature = str(getattr(real, name).__doc__).partition("\n")[0]
        inside = signature[signature.index("(") + 1 : signature.rindex(")")]
        arity = len(inside.split(",")) if inside else 0

        def checked(*arguments: Any) -> Any:
            assert len(arguments) == arity, signature
            return (BROKEN, None) if name in self.fail else call(self, *arguments)

        return checked

    @property
    def leaked(self) -> list[Any]:
        return [*self.buffers, *self.streams, *self.graphs]

    def at(self, address: int, size: int) -> Any:
        assert ctypes.sizeof(self.buffers[address]) >= size
        return address

    def _cudaGetDeviceCount(self) -> Any:
        return OK, 1

    def _cudaGetDeviceProperties(self, device: int) -> Any:
        assert device == 0
        return OK, SimpleNamespace(name=self.gpu.encode() + b"\x00\x00", major=8, minor=9)

    def _cudaGetLastError(self) -> Any:
        self.forgotten = True
        return (OK,)

    def _cudaStreamCreateWithFlags(self, flags: int) -> Any:
        assert flags == real.cudaStreamNonBlocking
        stream = Stream(1000 + len(self.streams))
        self.streams[int(stream)] = stream
        return OK, stream

    def _cudaStreamDestroy(self, stream: Stream) -> Any:
        del self.streams[int(stream)]
        return (OK,)

    def _cudaMalloc(self, size: int) -> Any:
        if size > self.room:
            return FULL, 0
        self.room -= size
        return self._cudaMallocHost(size)

    def _cudaMallocHost(self, size: int) -> Any:
        buffer = (ctypes.c_uint8 * size)(*[0xA5] * min(size, 64))
        self.buffers[ctypes.addressof(buffer)] = buffer
        return OK, ctypes.addressof(buffer)

    def _cudaFree(self, address: int) -> Any:
        self.room += ctypes.sizeof(self.buffers.pop(address))
        return (OK,)

    def _cudaFreeHost(self, address: int) -> Any:
        del self.buffers[address]
        return (OK,)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Any, stream: Stream) -> Any:
        assert isinstance(kind, real.cudaMemcpyKind)
        stream.enqueue(lambda: ctypes.memmove(self.at(target, size), self.at(source, size), size))
        return (OK,)

    def _cudaStreamSynchronize(self, stream: Stream) -> Any:
        assert stream.recording is None, "a stream that records cannot be waited for"
        while stream.pending:
            stream.pending.pop(0)()
        return (OK,)

    def _cudaStreamBeginCapture(self, stream: Stream, mode: Any) -> Any:
        assert isinstance(mode, real.cudaStreamCaptureMode)
        assert not stream.pending
        stream.recording = []
        return (OK,)

    def _cudaStreamEndCapture(self, stream: Stream) -> Any:
        recorded, stream.recording = stream.recording, None
        return self._graph(recorded)

    def _cudaGraphInstantiate(self, graph: Work, flags: int) -> Any:
        return self._graph(list(graph))

    def _cudaGraphLaunch(self, graph: Work, stream: Stream) -> Any:
        assert id(graph) in self.graphs
        self.replays += 1
        for work in graph:
            stream.enqueue(work)
        return (OK,)

    def _cudaGraphDestroy(self, graph: Work) -> Any:
        self.graphs.remove(id(graph))
        return (OK,)

    def _cudaGraphExecDestroy(self, graph: Work) -> Any:
        self.graphs.remove(id(graph))
        return (OK,)

    def _graph(self, work: Any) -> Any:
        self.graphs.add(id(work))
        return OK, work


class StandInTrt:
    """Stands for the tensorrt_rtx module at run time; everything but `Runtime` is the real module's."""

    def __init__(self, trt: Any, gpu: StandIn, graph: bytes) -> None:
        self._trt, self._gpu = trt, gpu
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.enqueued = 0
        self.recordable = True
        self.loads = True
        self.shift: Callable[[int], float] = lambda _: 0.0
        """Added to every logit of a batch."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trt, name)

    def Runtime(self, logger: Any) -> Any:
        assert isinstance(logger, self._trt.ILogger)
        return SimpleNamespace(deserialize_cuda_engine=lambda _: Engine(self) if self.loads else None)


class Engine:
    def __init__(self, trt: StandInTrt) -> None:
        self._trt = trt
        self._tensors = {
            one.name: ([-1, *one.shape[1:]], mode, kind)
            for one, mode, kind in (
                (trt.session.get_inputs()[0], trt.TensorIOMode.INPUT, trt.DataType.UINT8),
                (trt.session.get_outputs()[0], trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT),
            )
        }
        self.num_io_tensors = 2

    def get_tensor_name(self, at: int) -> str:
        return str(list(self._tensors)[at])

    def get_tensor_shape(self, name: str) -> list[int]:
        return self._tensors[name][0]

    def get_tensor_mode(self, name: str) -> Any:
        return self._tensors[name][1]

    def get_tensor_dtype(self, name: str) -> Any:
        return self._tensors[name][2]

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(dynamic_shapes_kernel_specialization_strategy=None)

    def create_execution_context(self, config: Any) -> Any:
        eager = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        assert config.dynamic_shapes_kernel_specialization_strategy == eager
        return Context(self._trt)


class Context:
    def __init__(self, trt: StandInTrt) -> None:
        self._trt, self._gpu = trt, trt._gpu
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        self._warm = False

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        return profile == 0 and stream in self._gpu.streams

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return name == "images" and shape[0] <= 64

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in ("images", "logits")

    def infer_shapes(self) -> list[str]:
        return []

    def is_stream_capturable(self, stream: int) -> bool:
        assert stream in self._gpu.streams
        return self._trt.recordable

    def execute_async_v3(self, stream: int) -> bool:
        found = self._gpu.streams[stream]
        if "execute_async_v3" in self._gpu.fail or (found.recording is not None and not self._warm):
            return False
        self._warm = True
        self._trt.enqueued += 1
        found.enqueue(self._compute)
        return True

    def _compute(self) -> None:
        images = np.empty(self._shape, np.uint8)
        ctypes.memmove(images.ctypes.data, self._gpu.at(self._addresses["images"], images.nbytes), images.nbytes)
        (logits,) = self._trt.session.run(["logits"], {"images": images})
        logits = logits + np.float32(self._trt.shift(len(images)))
        ctypes.memmove(self._gpu.at(self._addresses["logits"], logits.nbytes), logits.ctypes.data, logits.nbytes)
