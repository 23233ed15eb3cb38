"""A bundle on an NVIDIA GPU through torch: fp16, channels last, CUDA graphs. For machines without TensorRT."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.bundle import Bundle
from model.engine import parity, slots, torch_graph
from model.engine.base import Engine
from model.engine.half import to_half
from model.engine.slot_engine import SlotEngine
from model.errors import EngineError, NoGpuError, OutOfMemoryError, first_line

log = logging.getLogger("xrayq.model")


class TorchCudaEngine(SlotEngine):
    """An Engine on torch and CUDA device 0. Same promises as TensorRTEngine, without a plan."""

    def __init__(
        self, bundle: Bundle, *, reference: Engine, tolerance: float = parity.TOLERANCE, graphs: bool = True
    ) -> None:
        """Load the weights, record the graphs and compare every slot with `reference` (logits, at most `tolerance`).

        Raises:
            EngineError: no GPU, an ONNX operation torch_graph does not know, too little memory for one film, or answers
                that are not the reference's.
        """
        if not torch.cuda.is_available():
            raise NoGpuError(
                "torch sees no usable NVIDIA GPU: install its driver and a CUDA build of torch, give the container the "
                "GPU, or use the CPU"
            )
        size = bundle.preprocess.size
        self._shape = (1, size, size)
        network = torch_graph.OnnxModule(to_half(bundle.onnx.read_bytes()))
        try:
            network = network.to("cuda").to(memory_format=torch.channels_last)
        except RuntimeError as error:
            raise EngineError(f"torch cannot move the network to the GPU: {first_line(error)}") from error
        made = slots.fill(slots.BUCKETS, lambda bucket: TorchSlot(network, (bucket, *self._shape), graphs))
        self._serve(
            made,
            slots.BUCKETS,
            name=f"torch-{torch.__version__}-fp16",
            device=torch.cuda.get_device_name(0),
            size=size,
            reference=reference,
            tolerance=tolerance,
        )


class TorchSlot:
    """One batch size: buffers, a stream, and the network recorded once. Copies go around the recording."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], graphs: bool) -> None:
        self._network, self._count = network, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        try:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._images = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
            self._input = torch.zeros(shape, dtype=torch.uint8, device="cuda")
            torch.cuda.synchronize()
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                self._output: Tensor = network(self._input)  # unrecorded: the first call chooses algorithms
            self._stream.synchronize()
            if graphs:
                graph = torch.cuda.CUDAGraph()
                with torch.inference_mode(), torch.cuda.graph(graph, stream=self._stream):
                    self._output = network(self._input)
                self._graph = graph
            self._logits = torch.zeros(self._output.shape, dtype=torch.float32, pin_memory=True)
        except torch.cuda.OutOfMemoryError as error:
            self.close()
            raise OutOfMemoryError(first_line(error)) from error
        except RuntimeError as error:
            self.close()
            raise EngineError(f"torch cannot run a batch of {shape[0]}: {first_line(error)}") from error

    @property
    def recorded(self) -> bool:
        """Whether batches replay a CUDA graph."""
        return self._graph is not None

    def launch(self, images: NDArray[np.uint8]) -> None:
        self._count = len(images)
        array = self._images.numpy()
        array[: self._count] = images
        array[self._count :] = 0
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                self._input.copy_(self._images, non_blocking=True)
                if self._graph is None:
                    self._output = self._network(self._input)
                else:
                    self._graph.replay()
                self._logits.copy_(self._output, non_blocking=True)
        except RuntimeError as error:
            raise EngineError(f"torch failed: {first_line(error)}") from error

    def collect(self) -> NDArray[np.float32]:
        try:
            self._stream.synchronize()
        except RuntimeError as error:
            raise EngineError(f"torch failed: {first_line(error)}") from error
        return np.array(self._logits.numpy()[: self._count], np.float32)

    def close(self) -> None:
        self._graph = None
        for name in ("_images", "_input", "_output", "_logits"):
            self.__dict__.pop(name, None)
