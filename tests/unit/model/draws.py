"""Random scores of films, and the resamples that intervals are made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.stats.over_patients import bootstrap


def drawn_films(count: int, seed: int = 3) -> dict[str, Any]:
    """Random films of patients with one to four films each, scores rounded so that many tie."""
    random = np.random.default_rng(seed)
    chances = random.dirichlet([1, 1, 1], count).round(1)
    chances[:, 2] = 1 - chances[:, 0] - chances[:, 1]
    truth = np.where(random.random(count) < 0.5, chances.argmax(axis=1), random.integers(3, size=count))
    return {"chances": chances, "truth": truth, "patients": [f"p{index * 2 // 5}" for index in range(count)]}


def drawn_weights(patients: list[str]) -> NDArray[np.float64]:
    """The weights [resamples, N] that `bootstrap` draws at its default seed."""
    seen: list[NDArray[np.float64]] = []

    def spy(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(weights.copy())
        return weights.sum(axis=1)

    bootstrap(spy, patients)
    return np.concatenate(seen)
