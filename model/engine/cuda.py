"""The few CUDA calls the TensorRT engine makes, each checked. Imports cuda-python when opened.

Asking for the devices comes before anything else: TensorRT's lean runtime crashes on a machine without a driver.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from model.errors import EngineError, NoGpuError, OutOfMemoryError

OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """Page-locked host memory, and the array that lies in it."""

    address: int
    array: NDArray[Any]


class Cuda:
    """CUDA device 0 of this process; CUDA_VISIBLE_DEVICES chooses which that is. Safe from several threads."""

    def __init__(self) -> None:
        """Raises NoGpuError, saying what is missing."""
        self._runtime = _runtime()
        status, *count = self._runtime.cudaGetDeviceCount()
        if status.name != "cudaSuccess" or not count[0]:
            raise NoGpuError(
                f"no usable NVIDIA GPU ({status.name}): install its driver, give the container the GPU, or use the CPU"
            )
        properties = self._call("cudaGetDeviceProperties", 0)
        self.gpu = properties.name.decode().rstrip("\x00")
        """Its marketing name: NVIDIA L4."""
        self.capability = f"{properties.major}.{properties.minor}"

    def stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def memory(self, size: int) -> int:
        """The address of `size` bytes on the GPU."""
        return int(self._call("cudaMalloc", size))

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pinned:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._call("cudaMallocHost", size))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)
        array[...] = 0
        return Pinned(address=address, array=array)

    def copy_in(self, target: int, source: Pinned, stream: Any) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source.address, source.array.nbytes, kind, stream)

    def copy_out(self, target: Pinned, source: int, stream: Any) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.address, source, target.array.nbytes, kind, stream)

    def wait(self, stream: Any) -> None:
        self._call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: Any) -> None:
        """Record what this thread enqueues on `stream` instead of running it."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """What was recorded, ready to `replay`. Raises EngineError when something in it cannot be recorded."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def replay(self, graph: Any, stream: Any) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def free(
        self, *, graph: Any = None, stream: Any = None, memory: tuple[int, ...] = (), pinned: tuple[Pinned, ...] = ()
    ) -> None:
        """Give everything back. What cannot be given back is left: the GPU is then beyond help and the process ends."""
        calls: list[tuple[str, Any]] = [] if graph is None else [("cudaGraphExecDestroy", graph)]
        calls += [] if stream is None else [("cudaStreamDestroy", stream)]
        calls += [("cudaFree", address) for address in memory]
        calls += [("cudaFreeHost", memory.address) for memory in pinned]
        for name, argument in calls:
            getattr(self._runtime, name)(argument)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *answer = getattr(self._runtime, name)(*arguments)
        if status.name != "cudaSuccess":
            self._runtime.cudaGetLastError()  # or TensorRT finds this error later and takes it for its own
        if status.name == OUT_OF_MEMORY:
            raise OutOfMemoryError(f"the GPU is out of memory ({name})")
        if status.name != "cudaSuccess":
            raise EngineError(f"CUDA failed: {name} answered {status.name}")
        return answer[0] if answer else None


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise NoGpuError("the package cuda-python is not installed: pip install 'xrayq[gpu]'") from error
    return runtime
