"""Shares of films with two intervals: an exact one, and one over patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluation.scored import ScoredFilms
from model.stats.binomial import proportion
from model.stats.estimate import Interval, Proportion
from model.stats.over_patients import share_interval
from model.stats.summaries import Weights, ratio


@dataclass(frozen=True, kw_only=True)
class PatientProportion(Proportion):
    bootstrap95: Interval | None
    """Over patients, whose films are not independent; the exact interval takes them as independent."""


def share(part: ScoredFilms, hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> PatientProportion:
    """Share of the films `among` that are `hit`; both [N]."""
    exact = proportion(int((hit & among).sum()), int(among.sum()))
    return over_patients(exact, hit, among, part.films.patients)


def over_patients(
    exact: Proportion, hit: NDArray[np.bool_], among: NDArray[np.bool_], patients: Sequence[str]
) -> PatientProportion:
    return PatientProportion(**vars(exact), bootstrap95=share_over_patients(hit, among, patients))


def share_over_patients(hit: NDArray[np.bool_], among: NDArray[np.bool_], patients: Sequence[str]) -> Interval | None:
    """Interval over patients of the share of `among` that is `hit`; both [N]."""

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return ratio(weights @ (hit & among), weights @ among)

    return share_interval(statistic, patients, [among])
