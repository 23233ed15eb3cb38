"""Logits to probabilities: softmax at a temperature fitted on the validation split (Guo et al. 2017)."""

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Probabilities = NDArray[np.float64]


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
