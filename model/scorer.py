"""Inputs to scores: one engine, its bundle's calibration, operating points and prediction sets."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.calibration import moved
from model.conformal import unsure
from model.decision import composite_logit, flags
from model.engine.base import Engine
from model.errors import EngineError
from model.findings import NOT_NORMAL, negative_of


@dataclass(frozen=True, kw_only=True)
class Composite:
    """Any finding but the negative one."""

    logit: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """What the bundle says of one film."""

    logits: dict[str, float]
    probabilities: dict[str, float]
    """By finding, calibrated, summing to 1."""
    flags: tuple[str, ...]
    """Findings at or over their operating point, NOT_NORMAL included."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """By flag, the smallest probability at which it would be up: of the operating point, moved with the probability
    where there is a prior shift."""
    composite: Composite | None = None
    """What it says of NOT_NORMAL; None where the bundle has no operating point for it."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By finding, how often calibration films with about this probability had it; {} where the bundle does not say."""
    prediction_set: tuple[str, ...] | None = None
    """Findings that the film may have; None where the bundle makes no sets."""
    device: str = ""
    """Name of the bundle's device whose calibration was taken; "" for the bundle's own."""

    @property
    def unsure(self) -> bool:
        """Whether the prediction set names several findings, or none."""
        return unsure(self.prediction_set)

    @property
    def stated(self) -> dict[str, tuple[float, float]]:
        """Logit and probability of NOT_NORMAL, where the bundle flags it, and of each finding: what is kept."""
        composite = self.composite and {NOT_NORMAL: (self.composite.logit, self.composite.probability)}
        return (composite or {}) | {name: (self.logits[name], chance) for name, chance in self.probabilities.items()}


def score(engine: Engine, bundle: Bundle, images: NDArray[np.uint8], devices: Sequence[str] = ()) -> list[Score]:
    """uint8 [N, 1, size, size] -> N scores.

    Args:
        devices: of each film the name of its device, as `Bundle.device_of` says; () takes the bundle's own calibration
            for all.

    Raises:
        EngineError: a logit is not finite.
        BundleError: the bundle has no such device.
    """
    logits = engine.infer(images)
    if not np.isfinite(logits).all():
        raise EngineError("non-finite logits")
    devices = devices or [""] * len(images)
    calibrated = {name: bundle.for_device(name) for name in devices}
    plain = {name: own.calibration.at_films.probabilities(logits) for name, own in calibrated.items()}
    shown = {name: own.calibration.probabilities(logits) for name, own in calibrated.items()}
    return [
        replace(
            _score(
                calibrated[name],
                *(
                    dict(zip(bundle.findings, map(float, own), strict=True))
                    for own in (logits[row], plain[name][row], shown[name][row])
                ),
            ),
            device=name,
        )
        for row, name in enumerate(devices)
    ]


def _score(bundle: Bundle, logits: dict[str, float], plain: dict[str, float], probabilities: dict[str, float]) -> Score:
    """One film, by finding; `plain`: probabilities before a prior shift, which decide flags and sets."""
    negative, decided, shown = negative_of(bundle.findings), dict(plain), dict(probabilities)
    composite = None
    if any(point.finding == NOT_NORMAL for point in bundle.operating_points):
        decided[NOT_NORMAL], shown[NOT_NORMAL] = 1 - plain[negative], 1 - probabilities[negative]
        composite = Composite(logit=composite_logit(logits), probability=shown[NOT_NORMAL])
    intervals = {}
    for name, chance in probabilities.items():
        interval = bundle.calibration.interval(name, plain[name])
        if interval is not None:
            low, high = (round(moved(bound, plain[name], chance), 4) for bound in interval)
            intervals[name] = (low, high)
    if composite and negative in intervals:
        low, high = intervals[negative]
        intervals[NOT_NORMAL] = (round(1 - high, 4), round(1 - low, 4))
    return Score(
        logits=logits,
        probabilities=probabilities,
        flags=flags(plain, bundle.operating_points),
        thresholds={
            point.finding: moved(point.threshold, decided[point.finding], shown[point.finding])
            for point in bundle.operating_points
        },
        composite=composite,
        intervals=intervals,
        prediction_set=bundle.conformal.prediction_set(plain) if bundle.conformal else None,
    )
