"""Logits to probabilities: softmax at a temperature fitted on the validation split (Guo et al. 2017)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a bundle's logits become probabilities. Lives in the bundle."""

    temperature: float
    """Logits are divided by it."""
    record: dict[str, Any] = field(default_factory=dict)
    """On which films it was fitted and what it changed there; {} where only `xrayq train` fitted it."""

    @classmethod
    def read(cls, found: dict[str, Any]) -> "Calibration":
        """From a manifest. Raises KeyError, TypeError or ValueError."""
        temperature = float(found["temperature"])
        if not temperature > 0:
            raise ValueError("temperature must be positive")
        return cls(temperature=temperature, record=dict(found.get("record", {})))

    def as_dict(self) -> dict[str, Any]:
        return {"method": "temperature", "temperature": self.temperature} | (
            {"record": self.record} if self.record else {}
        )

    def probabilities(self, logits: Logits) -> Probabilities:
        """float [N, findings] -> float64 [N, findings], each row summing to 1."""
        return probabilities(logits, self.temperature)


def probabilities(logits: Logits, temperature: float) -> Probabilities:
    """float [N, findings] -> float64 [N, findings], each row summing to 1."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))


def log_loss(logits: Logits, labels: NDArray[np.int64], temperature: float) -> float:
    """Mean negative log likelihood, nats."""
    chosen = probabilities(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(chosen, 1e-12, 1.0)).mean())


def fit_temperature(logits: Logits, labels: NDArray[np.int64]) -> float:
    """The temperature in 0.05..20 with the least log loss, to three digits."""
    grid = np.geomspace(0.05, 20.0, 600)
    losses = [log_loss(logits, labels, float(temperature)) for temperature in grid]
    return round(float(grid[int(np.argmin(losses))]), 3)
