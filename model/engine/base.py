"""What every engine promises."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Runs one bundle. Safe to call from several threads; `infer` may wait its turn."""

    name: str
    """Engine and version, stored with every score."""

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
