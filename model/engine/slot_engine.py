"""What the GPU engines share: slots that are compared with the reference before the first film, and then serve."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.engine import parity
from model.engine.base import Engine, EngineSpec
from model.engine.slots import Slot, Slots
from model.errors import EngineError

log = logging.getLogger("xrayq.model")


class SlotEngine:
    """An Engine but for how its slots are made: a subclass makes them and calls `_serve`."""

    spec: EngineSpec
    difference: float
    """Largest difference of a logit from the reference at start."""

    def _serve(
        self,
        made: Mapping[int, Sequence[Slot]],
        wanted: tuple[int, ...],
        *,
        name: str,
        device: str,
        size: int,
        reference: Engine,
        tolerance: float,
    ) -> None:
        """Take the slots and compare each with `reference`. Raises EngineError, closed, when one does not agree."""
        self._shape = (1, size, size)
        self._slots = Slots(made)
        if self._slots.buckets != wanted:
            log.warning("%s: GPU memory is full, serving batches up to %d", name, self._slots.buckets[-1])
        self.spec = EngineSpec(name=name, precision="fp16", device=device, batches=self._slots.buckets)
        try:
            films = parity.films(size)
            self.difference = parity.check(name, self._slots.through_each(films), films, reference, tolerance)
        except BaseException:
            self.close()
            raise

    def warm_up(self) -> None:
        if not np.isfinite(self.infer(np.zeros((1, *self._shape), np.uint8))).all():
            raise EngineError("the network answers a blank film with non-finite logits")

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if images.dtype != np.uint8 or images.shape[1:] != self._shape or not len(images):
            raise EngineError(f"expected uint8 [N, {self._shape}], got {images.dtype} {images.shape}")
        return self._slots.infer(images)

    def close(self) -> None:
        self._slots.close()
