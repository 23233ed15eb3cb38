"""What a set of predictions is worth, with exact 95 % intervals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta


def interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion; (0, 1) when nothing was tried."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return round(low, 4), round(high, 4)


def proportion(successes: int, trials: int) -> dict[str, Any]:
    return {
        "value": round(successes / trials, 4) if trials else None,
        "interval95": list(interval(successes, trials)),
        "n": trials,
    }


def summary(probabilities: NDArray[np.float64], labels: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, and recall and precision of each class, of the most probable class.

    Args:
        probabilities: [N, classes].
        labels: [N].

    Returns:
        A JSON-ready dict; `confusion[i][j]` counts films of class i called j.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (labels, predicted), 1)
    correct = np.diag(confusion)
    return {
        "films": len(labels),
        "accuracy": proportion(int(correct.sum()), len(labels)),
        "recall": {n: proportion(int(correct[i]), int(confusion[i].sum())) for i, n in enumerate(names)},
        "precision": {n: proportion(int(correct[i]), int(confusion[:, i].sum())) for i, n in enumerate(names)},
        "balanced_accuracy": round(float(np.mean(correct / confusion.sum(axis=1).clip(min=1))), 4),
        "confusion": confusion.tolist(),
    }
