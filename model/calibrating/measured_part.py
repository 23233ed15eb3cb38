"""What a calibration is worth on one part of the films: probabilities, flags, prediction sets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.calibrating.cross_fit import Predictions, Wish
from model.calibrating.labelled_films import LabelledLogits
from model.calibration import probabilities
from model.decision import SENSITIVITY
from model.json_value import JsonValue
from model.stats.binomial import proportion
from model.stats.calibration_error import ErrorByChance, by_finding, if_true
from model.stats.estimate import Estimate, Proportion
from model.stats.operating_points import FlagMeasures, flag_measures
from model.stats.reliability import PatientReliability, patient_reliability
from model.stats.thresholds import shortage


@dataclass(frozen=True, kw_only=True)
class CalibrationReliability(PatientReliability):
    ece_if_true: ErrorByChance
    by_finding: Estimate
    """Calibration error of each finding's own probability, the mean of all."""


@dataclass(frozen=True, kw_only=True)
class FilmsNeeded(JsonValue):
    """Films for an interval of +- .05 around the same rate; None where there are enough."""

    sensitivity: int | None
    specificity: int | None

    def rate(self, name: str) -> int | None:
        """By SENSITIVITY or SPECIFICITY."""
        return self.sensitivity if name == SENSITIVITY else self.specificity


@dataclass(frozen=True, kw_only=True)
class MeasuredFlag(FlagMeasures):
    films_needed: FilmsNeeded


@dataclass(frozen=True, kw_only=True)
class Coverage(JsonValue):
    """What prediction sets hold."""

    coverage: Proportion
    """Films whose set holds their finding."""
    by_finding: dict[str, Proportion]
    sizes: dict[str, Proportion]
    """Findings in the set -> share of films."""
    abstentions: Proportion


@dataclass(frozen=True, kw_only=True)
class MeasuredPart(JsonValue):
    """One part of the films."""

    how: str
    """cross-fitted, or not fitted on."""
    films: dict[str, int]
    """By finding."""
    patients: int
    reliability: dict[str, CalibrationReliability]
    """temperature 1, as it was, calibrated."""
    flags: dict[str, MeasuredFlag]
    """By operating point's id."""
    sets: Coverage

    @property
    def counts(self) -> list[tuple[int, int | None]]:
        """Films and their patients, of all and of what each rate is a share of."""
        rates = [rate for flag in self.flags.values() for rate in (flag.sensitivity, flag.specificity)]
        return [(sum(self.films.values()), self.patients), *((rate.n, rate.patients) for rate in rates)]


def measure(part: LabelledLogits, predictions: Predictions, bundle: Bundle, wish: Wish, how: str) -> MeasuredPart:
    """What the predictions of one part of the films are worth."""
    chances = {
        "temperature 1": probabilities(part.logits, 1.0),
        "as it was": bundle.calibration.at_films.probabilities(part.logits),
        "calibrated": predictions.chances,
    }
    flags = {}
    for target, flagged in zip(wish.targets, predictions.flags.T, strict=True):
        rates = flag_measures(target.finding, flagged, part.labels, bundle.findings, part.patients)
        flags[f"{target.finding}@{target.rate}-{target.value:g}"] = MeasuredFlag(
            **vars(rates),
            films_needed=FilmsNeeded(sensitivity=shortage(rates.sensitivity), specificity=shortage(rates.specificity)),
        )
    return MeasuredPart(
        how=how,
        films={name: int((part.labels == index).sum()) for index, name in enumerate(bundle.findings)},
        patients=len(set(part.patients)),
        reliability={
            name: CalibrationReliability(
                **vars(patient_reliability(rows, part.labels, part.patients)),
                ece_if_true=if_true(rows),
                by_finding=by_finding(rows, part.labels, part.patients),
            )
            for name, rows in chances.items()
        },
        flags=flags,
        sets=coverage(predictions.sets, part.labels, bundle.findings),
    )


def coverage(sets: NDArray[np.bool_], labels: NDArray[np.int64], findings: tuple[str, ...]) -> Coverage:
    """What prediction sets [N, findings] hold of the labels [N]."""
    held, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    return Coverage(
        coverage=proportion(int(held.sum()), len(labels)),
        by_finding={
            name: proportion(int(held[labels == index].sum()), int((labels == index).sum()))
            for index, name in enumerate(findings)
        },
        sizes={str(size): proportion(int((sizes == size).sum()), len(labels)) for size in range(len(findings) + 1)},
        abstentions=proportion(int((sizes != 1).sum()), len(labels)),
    )
