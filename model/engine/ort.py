"""ONNX Runtime on the CPU. In fp32 it is the reference every other engine is compared with; int8 is the fast one."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.bundle import Bundle
from model.engine.base import EngineSpec
from model.errors import EngineError, first_line

REFERENCE = "fp32"


def open_session(onnx: Path, threads: int, content: bytes | None = None) -> onnxruntime.InferenceSession:
    """A network on the CPU provider. Raises EngineError if ONNX Runtime refuses the file.

    Args:
        content: what to load instead of the file, which the error names all the same.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle spinning would take the cores that decode films.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            content or str(onnx), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise EngineError(f"ONNX Runtime cannot load {onnx}: {first_line(error)}") from error


class OrtEngine:
    """An Engine on ONNX Runtime's CPU provider."""

    def __init__(self, bundle: Bundle, *, threads: int, precision: str = REFERENCE) -> None:
        """Load the network, or one of the bundle's variants, with `threads` cores for each call.

        Raises:
            BundleError: the bundle has no variant of this precision.
            EngineError: ONNX Runtime refuses the file.
        """
        onnx = bundle.onnx if precision == REFERENCE else bundle.variant(precision)
        self._session = open_session(onnx, threads)
        self.spec = EngineSpec(
            name=f"onnxruntime-{onnxruntime.__version__}-{precision}",
            precision=precision,
            device="cpu",
            batches=(1, 4, 8),
        )
        self._shape = (1, bundle.preprocess.size, bundle.preprocess.size)
        self._findings = len(bundle.findings)

    def warm_up(self) -> None:
        logits = self.infer(np.zeros((1, *self._shape), np.uint8))
        if not np.isfinite(logits).all():
            raise EngineError("the network answers a blank film with non-finite logits")

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if images.dtype != np.uint8 or images.shape[1:] != self._shape or not len(images):
            raise EngineError(f"expected uint8 [N, {self._shape}], got {images.dtype} {images.shape}")
        try:
            (logits,) = self._session.run(["logits"], {"images": images})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed: {first_line(error)}") from error
        if logits.shape != (len(images), self._findings):
            raise EngineError(f"expected logits [{len(images)}, {self._findings}], got {logits.shape}")
        return np.asarray(logits, np.float32)

    def close(self) -> None:
        del self._session
