"""An engine serves only after its answers agree with the reference's."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from model.engine.base import Engine
from model.errors import EngineError

TOLERANCE = 0.02
"""Largest difference of a logit; it moves a probability by .005 at most. The fp16 graph of bundle 0.3.0, computed by
ONNX Runtime and torch on a CPU, differs by .0024 and .0034."""


def films(size: int) -> NDArray[np.uint8]:
    """uint8 [8, 1, size, size], always the same: blank, white, gradients, smooth and rough noise."""
    random = np.random.default_rng(2020)
    ramp = np.linspace(0, 255, size)
    rows, columns = np.meshgrid(ramp, ramp, indexing="ij")
    waves = [
        127 + 120 * np.sin(rows / 255 * 2 * np.pi * k + k) * np.cos(columns / 255 * 3 * np.pi * k) for k in (1, 2, 5)
    ]
    noise = random.integers(0, 256, (size, size))
    several = [np.zeros((size, size)), np.full((size, size), 255), rows, columns[:, ::-1], *waves, noise]
    return np.stack(several).clip(0, 255).astype(np.uint8)[:, None]


def check(
    name: str,
    answers: Iterable[tuple[int, NDArray[np.float32]]],
    images: NDArray[np.uint8],
    reference: Engine,
    tolerance: float,
) -> float:
    """Hold (batch, logits) of `images`, repeated to fill the batch, against the reference. The largest difference.

    Raises:
        EngineError: a logit that is not finite, a wrong shape, or a difference over `tolerance`; names the batch.
    """
    expected = reference.infer(images)
    largest = 0.0
    for batch, logits in answers:
        wanted = np.resize(expected, (batch, expected.shape[1]))
        if logits.shape != wanted.shape or not np.isfinite(logits).all():
            raise EngineError(f"{name} does not serve: at batch {batch} its warm-up gives no finite logits")
        largest = max(largest, float(np.abs(logits - wanted).max()))
        if not largest <= tolerance:
            raise EngineError(
                f"{name} does not serve: at batch {batch} a logit differs by {largest:.3g} from {reference.spec.name}, "
                f"{tolerance:g} is allowed"
            )
    return largest
