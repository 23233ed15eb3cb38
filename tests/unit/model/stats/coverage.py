"""Films whose truth is known, so that the intervals that hold it can be counted. Run as a module: the whole table."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from model.calibrating.intervals import intervals
from model.calibration import Bin
from model.stats.binomial import interval
from model.stats.curves import pr_curve, roc_curve
from model.stats.estimate import Interval
from model.stats.over_patients import bootstrap, patient_summary
from model.stats.paired import mean_gain
from model.stats.reliability import membership, patient_reliability
from model.stats.summaries import Weights

Random = np.random.Generator
Floats = NDArray[np.float64]
Bounds = tuple[Interval | None, Interval | None]
"""Of one sample: by the percentile bootstrap, as it was, and as it is."""
STATED = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99])
NETWORKS: dict[str, Callable[[Floats], Floats]] = {
    "calibrated": lambda stated: stated,
    "overconfident": lambda stated: expit(0.6 * logit(stated) - 0.2),
    "underconfident": lambda stated: expit(1.5 * logit(stated)),
    "shifted": lambda stated: expit(logit(stated) - 1),
    "a step": lambda stated: 0.1 + 0.6 * expit(25 * (stated - 0.5)),
    "a plateau": lambda stated: np.minimum(stated, 0.55),
}
"""Stated probability to true one."""
CALLS: dict[str, Callable[[Floats], Floats]] = {
    "calibrated": lambda stated: stated,
    "overconfident": lambda stated: stated - 0.45 * (stated - 1 / 3),
    "underconfident": lambda stated: np.minimum(1, stated + 0.08 * np.sin(np.pi * (stated - 1 / 3) * 1.5)),
    "wrong at the top": lambda stated: np.where(stated > 0.9, stated - 0.25, stated),
}
"""Probability of the called class to how often it is right."""


def of_probabilities(network: str, films: int, random: Random, samples: int) -> Iterator[tuple[Floats, Floats, Floats]]:
    """True probability at STATED, and the intervals [STATED, 2] as they were, in seven bins, and as they are."""
    true = NETWORKS[network]
    for _ in range(samples):
        stated = expit(2.2 * random.normal(size=films) - 1)
        labels = (random.random(films) < true(stated)).astype(np.int64)
        chances, people = np.stack([1 - stated, stated], axis=1), [str(film) for film in range(films)]
        now = intervals(chances, labels, people, ("without", "with"))["with"]
        yield true(STATED), at_stated(in_seven_bins(stated, labels)), at_stated(now)


def in_seven_bins(stated: Floats, labels: NDArray[np.int64]) -> tuple[Bin, ...]:
    order = np.argsort(stated)
    parts = np.array_split(order, 7)
    ends = [float(stated[part].max()) for part in parts[:-1]] + [1.0]
    counts = [(int(labels[part].sum()), len(part)) for part in parts]
    return tuple(
        Bin(up_to=end, films=films, positives=hits, interval95=interval(hits, films))
        for end, (hits, films) in zip(ends, counts, strict=True)
    )


def at_stated(steps: tuple[Bin, ...]) -> Floats:
    found = np.searchsorted([step.up_to for step in steps], STATED)
    return np.array([steps[index].interval95 for index in found])


def areas(
    positives: int, area: float, per_patient: int, random: Random, samples: int, negatives: int = 100
) -> Iterator[Bounds]:
    """Of the area under the ROC curve; two normal distributions, films of a patient correlated by .7."""
    patient = np.repeat(np.arange(positives + negatives), per_patient)
    positive, names = patient < positives, [str(number) for number in patient]
    for _ in range(samples):
        own = random.normal(size=positives + negatives)[patient] * np.sqrt(0.7)
        scores = own + random.normal(size=len(patient)) * np.sqrt(0.3) + positive * norm.ppf(area) * np.sqrt(2)
        yield (
            bootstrap(auroc_of(scores, positive), names, resamples=200),
            roc_curve(scores, positive, names).auroc.interval95,
        )


def auroc_of(scores: Floats, positive: NDArray[np.bool_]) -> Callable[[Weights], Floats]:
    order = np.argsort(scores)
    ranked = positive[order]

    def statistic(weights: Weights) -> Floats:
        weights = weights[:, order]
        below = np.cumsum(weights * ~ranked, axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray((below * weights * ranked).sum(axis=1) / (weights @ ranked) / (weights @ ~ranked))

    return statistic


def called(network: str, films: int, per_patient: int, random: Random) -> tuple[Floats, NDArray[np.int64], list[str]]:
    """Probabilities of three classes, labels and patients; films of a patient are right or wrong together, mostly."""
    patient = np.arange(films) // per_patient
    own = random.normal(size=films)[patient] * 0.9 + random.normal(size=films) * 0.44
    stated = 1 / 3 + 2 / 3 * expit(1 + 1.6 * own)
    luck = np.where(random.random(films) < (0.6 if per_patient > 1 else 0), random.random(films)[patient], 2.0)
    luck = np.where(luck > 1, random.random(films), luck)
    rest = (1 - stated) / 2
    labels = np.where(luck < CALLS[network](stated), 0, 1)
    return np.stack([stated, rest, rest], axis=1), labels, [str(number) for number in patient]


def true_error(network: str) -> float:
    stated = called("calibrated", 100_000, 1, np.random.default_rng(0))[0][:, 0]
    return float(np.abs(stated - CALLS[network](stated)).mean())


def errors(network: str, films: int, per_patient: int, random: Random, samples: int) -> Iterator[Bounds]:
    """Of the calibration error of the called class."""
    for _ in range(samples):
        chances, labels, names = called(network, films, per_patient, random)
        stated = chances[:, 0]
        shares = (stated - (labels == 0))[:, None] * np.eye(10)[membership(stated, 10)]

        def plain(weights: Weights, shares: Floats = shares) -> Floats:
            return np.asarray(np.abs(weights @ shares).sum(axis=1) / weights.sum(axis=1))

        now = patient_reliability(chances, labels, names).ece_interval95
        yield bootstrap(plain, names, resamples=200), now


def balanced(recalls: tuple[float, ...], patients: tuple[int, ...], random: Random, samples: int) -> Iterator[Bounds]:
    """Of balanced accuracy."""
    labels = np.repeat(np.arange(len(patients)), patients)
    names = [str(number) for number in range(len(labels))]
    for _ in range(samples):
        right = random.random(len(labels)) < np.array(recalls)[labels]
        chances = np.eye(len(patients))[np.where(right, labels, (labels + 1) % len(patients))]

        def plain(weights: Weights, right: NDArray[np.bool_] = right) -> Floats:
            with np.errstate(invalid="ignore"):
                found = [
                    weights[:, labels == one] @ right[labels == one] / weights[:, labels == one].sum(axis=1)
                    for one in range(len(patients))
                ]
            return np.asarray(np.mean(found, axis=0))

        kinds = tuple("abc")[: len(patients)]
        yield (
            bootstrap(plain, names, resamples=200),
            patient_summary(chances, labels, kinds, names).bootstrap.balanced_accuracy,
        )


def precisions(positives: int, area: float, random: Random, samples: int) -> tuple[float, Iterator[Bounds]]:
    """True average precision, and its intervals."""

    def drawn(times: int) -> tuple[Floats, NDArray[np.bool_]]:
        positive = np.arange(times * (positives + 100)) < times * positives
        return random.normal(size=len(positive)) + positive * norm.ppf(area) * np.sqrt(2), positive

    def statistic(scores: Floats, positive: NDArray[np.bool_]) -> Callable[[Weights], Floats]:
        order = np.argsort(-scores)
        ranked = positive[order]

        def of(weights: Weights) -> Floats:
            weights = weights[:, order]
            hits, shown = np.cumsum(weights * ranked, axis=1), np.cumsum(weights, axis=1)
            with np.errstate(invalid="ignore"):
                return np.asarray((weights * ranked * hits / np.maximum(shown, 1)).sum(axis=1) / hits[:, -1])

        return of

    def found() -> Iterator[Bounds]:
        for _ in range(samples):
            scores, positive = drawn(1)
            names = [str(number) for number in range(len(scores))]
            now = pr_curve(scores, positive, names).average_precision.interval95
            yield bootstrap(statistic(scores, positive), names, resamples=200), now

    many = drawn(1000)
    return float(statistic(*many)(np.ones((1, len(many[0]))))[0]), found()


GAINS: dict[str, tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...], int]] = {
    "hardly differ": ((86, 32, 15), (0.8, 0.8, 0.8), (0.02, 0.02, 0.02), (0.01, 0.01, 0.01), 1),
    "first better": ((86, 32, 15), (0.7, 0.5, 0.5), (0.18, 0.25, 0.3), (0.04, 0.05, 0.03), 1),
    "first better, two a patient": ((86, 32, 15), (0.7, 0.5, 0.5), (0.18, 0.25, 0.3), (0.04, 0.05, 0.03), 2),
    "few of a class": ((70, 20, 10), (0.85, 0.7, 0.7), (0.05, 0.1, 0.2), (0.05, 0.05, 0.02), 1),
    "first alone": ((70, 20, 10), (0.05, 0.05, 0.05), (0.92, 0.9, 0.92), (0.01, 0.01, 0.01), 1),
}
"""Films of each class; share of them that both get right, only the first, only the second; films a patient."""


def gains(case: str, random: Random, samples: int) -> Iterator[tuple[Bounds, Bounds]]:
    """Of the difference of accuracy, and of balanced accuracy; films of a patient are alike in 6 of 10 cases."""
    films, both, first, second, per_patient = GAINS[case]
    label = np.repeat(np.arange(len(films)), films)
    names = [f"{one}-{n // per_patient}" for one, count in enumerate(films) for n in range(count)]
    patient = np.unique(names, return_inverse=True)[1]
    ends = np.cumsum([both, first, second], axis=0)[:, label]
    groups = [np.flatnonzero(label == one) for one in range(len(films))]
    for _ in range(samples):
        alone = random.random(len(label))
        luck = np.where(random.random(len(label)) < 0.6 * (per_patient > 1), random.random(len(label))[patient], alone)
        gain = ((luck >= ends[0]) & (luck < ends[1])).astype(float) - ((luck >= ends[1]) & (luck < ends[2]))

        def mean(weights: Weights, rows: NDArray[np.int64], gain: Floats = gain) -> Floats:
            with np.errstate(invalid="ignore"):
                return np.asarray(weights[:, rows] @ gain[rows] / weights[:, rows].sum(axis=1))

        def over(weights: Weights, chosen: list[NDArray[np.int64]], mean: Any = mean) -> Floats:
            return np.asarray(np.mean([mean(weights, rows) for rows in chosen], axis=0))

        yield tuple(  # type: ignore[misc]
            (
                bootstrap(lambda weights, chosen=chosen, over=over: over(weights, chosen), names, resamples=200),  # type: ignore[misc]
                mean_gain(gain, names, chosen).interval95,
            )
            for chosen in ([np.arange(len(label))], groups)
        )


def true_gains(case: str) -> tuple[float, float]:
    films, _, first, second, _ = (np.array(column) for column in GAINS[case])
    return float((first - second) @ films / films.sum()), float((first - second).mean())


def share(true: float, bounds: Iterator[Bounds]) -> tuple[float, float]:
    """Of the intervals, as they were and as they are, that hold the true value."""
    held = [[pair is not None and pair[0] <= true <= pair[1] for pair in both] for both in bounds]
    before, after = np.mean(held, axis=0)
    return float(before), float(after)


def table(samples: int) -> Iterator[tuple[str, float, float]]:
    """What, and the share of intervals that hold the truth, before and after."""
    random = np.random.default_rng(14)
    for films in (100, 200, 400):
        for network in NETWORKS:
            found = list(of_probabilities(network, films, random, samples))
            worst = [
                min(np.mean([(e[which][:, 0] <= e[0]) & (e[0] <= e[which][:, 1]) for e in found], axis=0))
                for which in (1, 2)
            ]
            widths = [np.mean([np.diff(e[which], axis=1).mean() for e in found]) for which in (1, 2)]
            yield f"probability, {films} films, {network}: the worst of 15", *map(float, worst)
            yield f"probability, {films} films, {network}: mean width", *map(float, widths)
    for positives in (10, 15, 40):
        for area in (0.7, 0.9, 0.97):
            for per_patient in (1, 3):
                name = f"AUROC {area}, {positives} positive patients with {per_patient}"
                yield name, *share(area, areas(positives, area, per_patient, random, samples))
    for films, per_patient in ((130, 1), (300, 1), (300, 3)):
        for network in CALLS:
            name = f"ECE, {films} films, {per_patient} a patient, {network}"
            yield name, *share(true_error(network), errors(network, films, per_patient, random, samples))
    for recalls in ((0.7, 0.7, 0.8), (0.9, 0.9, 0.95), (0.97, 0.97, 0.97)):
        for patients in ((10, 15, 75), (15, 48, 54)):
            name = f"balanced accuracy, recalls {recalls}, patients {patients}"
            yield name, *share(float(np.mean(recalls)), balanced(recalls, patients, random, samples))
    for case in GAINS:
        drawn = list(gains(case, random, samples))
        for which, (what, true) in enumerate(zip(("accuracy", "balanced accuracy"), true_gains(case), strict=True)):
            yield f"difference of {what}, {case}", *share(true, (pair[which] for pair in drawn))
    for positives in (10, 15, 40):
        for area in (0.7, 0.9, 0.97):
            true, found = precisions(positives, area, random, samples)
            yield f"average precision {true:.2f}, {positives} positive films", *share(true, found)


if __name__ == "__main__":
    for name, before, after in table(200):
        print(f"{name}: {before:.3f} -> {after:.3f}", flush=True)
