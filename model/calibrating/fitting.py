"""How a calibration is fitted, and which: films held out by patient decide between none, a temperature and vectors.

None leaves the logits as they are. A temperature is one number, vector scaling has two a finding. They cost nothing
where they are needed and thousands of films are at hand, and too much where they are not: so the one is taken whose log
loss on films it was not fitted on is least; of those alike, the simplest. Log loss is a proper score, least for the
true probabilities; calibration error is not (a network that says the same of each film has none).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model.calibrating.intervals import intervals
from model.calibration import (
    METHODS,
    NONE,
    TEMPERATURE,
    VECTOR,
    Calibration,
    Logits,
    Probabilities,
    brier_scores,
    fit_temperature,
    log_losses,
    probabilities,
)
from model.stats.summaries import Labels

FOLDS, REPEATS = 5, 5
PRIOR = 0.5
"""Standard deviation of the Gaussian prior of vector scaling, around scale 1 and bias 0: what the temperature left. It
weighs as much as a few films; without it a finding that its logit tells apart without error gets an endless scale."""
STEPS = 50


def fit(logits: Logits, labels: Labels, patients: Sequence[str], findings: tuple[str, ...]) -> Calibration:
    """The calibration that held-out films prefer, fitted on all of the films.

    Args:
        logits: [N, findings].
        labels: [N] index of the finding of each film; each finding occurs.
        patients: the patient of each film, [N].

    Returns:
        With bins of `model.calibrating.intervals`, and as record
         {"folds", "repeats", "held_out": method -> {"log_loss", "brier"}}.
    """
    held_out = compare(logits, labels, patients)
    best = min(METHODS, key=lambda method: held_out[method]["log_loss"])  # the first of those alike
    chosen = Calibration(temperature=1.0 if best == NONE else fit_temperature(logits, labels))
    if best == VECTOR:
        chosen = fit_vector(logits, labels, chosen.temperature)
    record = {"folds": FOLDS, "repeats": REPEATS, "held_out": held_out}
    steps = intervals(chosen.probabilities(logits), labels, patients, findings)
    return replace(chosen, bins=steps, record=record)


def compare(logits: Logits, labels: Labels, patients: Sequence[str]) -> dict[str, dict[str, float]]:
    """Log loss (nats) and Brier score (0..2) of films held out in turn: method -> means over films and repeats."""
    scores: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    for repeat in range(REPEATS):
        found = {name: np.zeros(logits.shape) for name in scores}
        for fitted, held in splits(labels, patients, FOLDS, repeat):
            plain = Calibration(temperature=fit_temperature(logits[fitted], labels[fitted]))
            vector = fit_vector(logits[fitted], labels[fitted], plain.temperature)
            found[NONE][held] = probabilities(logits[held], 1.0)
            found[TEMPERATURE][held] = plain.probabilities(logits[held])
            found[VECTOR][held] = vector.probabilities(logits[held])
        for name, chances in found.items():
            scores[name].append((log_losses(chances, labels).mean(), brier_scores(chances, labels).mean()))
    means = {name: np.mean(values, axis=0) for name, values in scores.items()}
    return {
        name: {"log_loss": round(float(loss), 5), "brier": round(float(brier), 5)}
        for name, (loss, brier) in means.items()
    }


def splits(
    labels: Labels, patients: Sequence[str], count: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(all other rows, rows of the fold) of each fold of `folds`."""
    fold = folds(labels, patients, count, seed)
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def folds(labels: Labels, patients: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """[N] fold of each film, 0..count - 1. Films of a patient go together; each class is dealt out on its own.

    A patient with films of several classes is dealt with the rarest. The order of the films does not matter.
    """
    rarity = Counter(labels.tolist())
    own: dict[str, int] = {}
    for label, patient in zip(labels.tolist(), patients, strict=True):
        other = own.setdefault(patient, label)
        own[patient] = min(label, other, key=lambda finding: (rarity[finding], finding))
    random, fold, dealt = np.random.default_rng(seed), {}, 0
    for label in sorted(rarity):
        names = sorted(patient for patient, finding in own.items() if finding == label)
        for place in random.permutation(len(names)):
            fold[names[place]] = dealt % count
            dealt += 1
    return np.array([fold[patient] for patient in patients], np.int64)


def fit_vector(logits: Logits, labels: Labels, temperature: float) -> Calibration:
    """Scale and bias of each finding with the least log loss under PRIOR, after `temperature`. By Newton's method.

    The loss is convex. A scale that would not be positive says that the logit means nothing here: then the temperature
    stands alone.
    """
    findings = logits.shape[1]
    left = logits.astype(np.float64) / temperature
    truth = np.eye(findings)[labels]
    start = np.concatenate([np.ones(findings), np.zeros(findings)])
    found, weight = start.copy(), 1 / PRIOR**2
    inputs = np.concatenate([left, np.ones_like(left)], axis=1)  # [N, 2 findings]: what each parameter multiplies
    owner = np.tile(np.arange(findings), 2)

    def chances_of(values: NDArray[np.float64]) -> Probabilities:
        return probabilities(left * values[:findings] + values[findings:], 1.0)

    def loss_of(values: NDArray[np.float64]) -> float:
        likelihood = np.clip((chances_of(values) * truth).sum(axis=1), 1e-300, 1.0)
        return float(-np.log(likelihood).sum() + weight / 2 * ((values - start) ** 2).sum())

    for _ in range(STEPS):
        chances = chances_of(found)
        slope = ((chances - truth)[:, owner] * inputs).sum(axis=0) + weight * (found - start)
        spread = chances[:, owner, None] * (np.eye(findings)[owner][:, owner] - chances[:, None, owner])
        bend = (inputs[:, :, None] * spread * inputs[:, None, :]).sum(axis=0) + weight * np.eye(len(found))
        step, length, before = np.linalg.solve(bend, slope), 1.0, loss_of(found)
        while loss_of(found - length * step) > before and length > 1e-6:
            length /= 2
        found = found - length * step
        if np.abs(length * step).max() < 1e-8:
            break
    if not (found[:findings] > 0).all():
        return Calibration(temperature=temperature)
    scale, bias = (tuple(round(float(value), 5) for value in part) for part in (found[:findings], found[findings:]))
    return Calibration(temperature=temperature, scale=scale, bias=bias)
