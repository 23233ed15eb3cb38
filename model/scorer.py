"""Inputs to scores: one engine, its bundle's calibration, operating points and prediction sets."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.conformal import unsure
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
    """By finding, how often calibration films with about this probability had it; {} where the bundle does not say."""
    prediction_set: tuple[str, ...] | None = None
    """Findings that the film may have; None where the bundle makes no sets."""

    @property
    def unsure(self) -> bool:
        """Whether the prediction set names several findings, or none."""
        return unsure(self.prediction_set)


def score(engine: Engine, bundle: Bundle, images: NDArray[np.uint8]) -> list[Score]:
    """uint8 [N, 1, size, size] -> N scores. Raises EngineError when a logit is not finite."""
    logits = engine.infer(images)
    if not np.isfinite(logits).all():
        raise EngineError("non-finite logits")
    scores = []
    for row, chances in zip(logits, bundle.calibration.probabilities(logits), strict=True):
        by_finding = {name: float(chance) for name, chance in zip(bundle.findings, chances, strict=True)}
        intervals = {name: bundle.calibration.interval(name, chance) for name, chance in by_finding.items()}
        scores.append(
            Score(
                logits={name: float(value) for name, value in zip(bundle.findings, row, strict=True)},
                probabilities=by_finding,
                flags=flags(by_finding, bundle.operating_points),
                intervals={name: found for name, found in intervals.items() if found is not None},
                prediction_set=bundle.conformal.prediction_set(by_finding) if bundle.conformal else None,
            )
        )
    return scores
