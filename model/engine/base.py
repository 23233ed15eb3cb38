"""What every engine promises."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """What an engine is."""

    name: str
    """Runtime, version and precision, stored with every score: onnxruntime-1.32.0-fp32."""
    precision: str
    """fp32, fp16 or int8: what the trunk is computed in."""
    device: str
    """cpu, or the GPU's name."""
    batches: tuple[int, ...]
    """Batch sizes it runs best at, rising; others work too."""


class Engine(Protocol):
    """Runs one bundle. Safe to call from several threads; `infer` may wait its turn."""

    spec: EngineSpec

    def warm_up(self) -> None:
        """Run once so that the first film is not the slow one.

        Raises EngineError if the answer is not finite logits.

        """

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, 1, size, size] -> logits float32 [N, findings], N >= 1.

        Raises EngineError on a wrong shape or type.
        """

    def close(self) -> None:
        """Give memory back. The engine is not used after this."""
