"""Inputs to scores: one engine, its bundle's calibration and operating points."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.decision import flags
from model.engine.base import Engine
from model.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class Score:
    """What the bundle says of one film."""

    logits: dict[str, float]
    probabilities: dict[str, float]
    """By finding, calibrated, summing to 1."""
    flags: tuple[str, ...]
    """Findings at or over their operating point."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By finding, 95 %; {} where the bundle has none."""
    prediction_set: tuple[str, ...] | None = None
    """Findings that cannot be ruled out; None where the bundle makes no sets."""


def score(engine: Engine, bundle: Bundle, images: NDArray[np.uint8]) -> list[Score]:
    """uint8 [N, 1, size, size] -> N scores. Raises EngineError when a logit is not finite."""
    logits = engine.infer(images)
    if not np.isfinite(logits).all():
        raise EngineError("non-finite logits")
    scores = []
    for row, chances in zip(logits, bundle.calibration.probabilities(logits), strict=True):
        by_finding = {name: float(chance) for name, chance in zip(bundle.findings, chances, strict=True)}
        scores.append(
            Score(
                logits={name: float(value) for name, value in zip(bundle.findings, row, strict=True)},
                probabilities=by_finding,
                flags=flags(by_finding, bundle.operating_points),
            )
        )
    return scores
