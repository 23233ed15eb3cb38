"""The gate's network: what the pixels show, through ONNX Runtime, from the input that the main network gets too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.bundle import GATE, Bundle
from model.engine.ort import open_session
from model.errors import EngineError, first_line

VIEWS = ("PA", "AP", "OTHER")
"""OTHER: lateral, or no chest film at all."""
TURNS = (0, 90, 180, 270)
"""Degrees counter-clockwise by which a film lies turned."""
OUTPUTS = ("view", "turn", "inverted", "distance")


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the network sees in one film."""

    view: dict[str, float]
    """Probability of each of VIEWS, summing to 1."""
    rotated: float
    """Probability that the film lies turned by 90, 180 or 270 degrees."""
    inverted: float
    """Probability that black and white are exchanged."""
    distance: float
    """Mahalanobis distance of its features to the nearest group of training chest films (Lee et al. 2018)."""

    def as_dict(self) -> dict[str, float]:
        views = {f"view_{name.lower()}": chance for name, chance in self.view.items()}
        values = views | {"rotated": self.rotated, "inverted": self.inverted, "distance": self.distance}
        return {name: round(value, 4) for name, value in values.items()}


class GateNetwork:
    """gate.onnx of a bundle: uint8 [N, 1, size, size] -> view [N, 3], turn [N, 4], inverted [N], distance [N]."""

    def __init__(self, bundle: Bundle) -> None:
        """One thread: a film takes about a millisecond. Raises EngineError if ONNX Runtime refuses the file."""
        self._session = open_session(bundle.path / GATE, threads=1)
        self._shape = (1, bundle.preprocess.size, bundle.preprocess.size)

    def look(self, images: NDArray[np.uint8]) -> list[Sight]:
        """uint8 [N, 1, size, size] -> what is seen in each. Raises EngineError when it is not finite."""
        if images.dtype != np.uint8 or images.shape[1:] != self._shape or not len(images):
            raise EngineError(f"expected uint8 [N, {self._shape}], got {images.dtype} {images.shape}")
        try:
            found = self._session.run(list(OUTPUTS), {"images": images})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed: {first_line(error)}") from error
        if not all(np.isfinite(output).all() for output in found):
            raise EngineError("the gate's network gives values that are not finite")
        return [
            Sight(
                view={name: float(chance) for name, chance in zip(VIEWS, view, strict=True)},
                rotated=float(1.0 - turn[0]),
                inverted=float(inverted),
                distance=float(distance),
            )
            for view, turn, inverted, distance in zip(*found, strict=True)
        ]
