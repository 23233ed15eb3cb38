"""A site's day under a flag: what it would flag, find and miss, from labelled films and a stated prevalence.

A day has F films; each has the finding with the chance `prevalence`. Those with it are flagged with the chance of the
sensitivity, the others with 1 - specificity. Both rates are known from labelled films alone, so an interval of a day
must hold two things at once: what is not known of the rates, and the chance of the day. Each of many drawn days takes
its rates from a Beta distribution (Jeffreys' prior; Brown, Cai & DasGupta 2001) and its counts from binomial ones: the
counts are beta-binomial. Films of one patient are not independent: the Beta distribution counts so many films as would
be known as well if each were of another patient (design effect; Kish 1965). The prevalence is taken as known.

A simulation in the tests shows that the intervals cover. They hold for one day each, not for the mean of many days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.decision import chance_of, truth_of
from model.findings import NOT_NORMAL
from model.json_value import JsonValue
from model.stats.binomial import proportion
from model.stats.estimate import Estimate, Proportion

DRAWS = 20_000
"""Days drawn for an interval: its ends then move by less than a film from seed to seed."""

Rows = NDArray[np.bool_]
Draws = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LabelledScores:
    """Labelled films with what a bundle says of them. Row i of everything is the same film."""

    findings: tuple[str, ...]
    """The bundle's; the first says that a film shows none of the others."""
    chances: NDArray[np.float64]
    """[N, findings], calibrated, before a prior shift: as flags are made."""
    labels: NDArray[np.int64]
    """[N] index of the finding."""
    patients: tuple[str, ...]
    """[N]"""
    unsure: Rows | None
    """[N] whether the prediction set is not exactly one finding; None where the bundle makes no sets."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def films(self) -> dict[str, int]:
        """By finding."""
        return {name: int((self.labels == index).sum()) for index, name in enumerate(self.findings)}


@dataclass(frozen=True, kw_only=True)
class FlagAt:
    """A flag and the smallest probability that raises it."""

    flag: str
    """A finding, or NOT_NORMAL."""
    threshold: float


@dataclass(frozen=True, kw_only=True)
class MeasuredFlagAt(JsonValue):
    """What a flag does on the labelled films."""

    flag: str
    threshold: float
    sensitivity: Proportion
    specificity: Proportion
    normals_flagged: Proportion
    """Of the films of the first finding."""


@dataclass(frozen=True, kw_only=True)
class SiteDay(JsonValue):
    """A day. Each value is what is expected; 19 of 20 days lie in its interval, whose ends are counts or shares of one
    day. A share is None where the day has no film that it would be of."""

    flag: str
    threshold: float
    prevalence: float
    flags: Estimate
    """Films flagged."""
    ppv: Estimate
    """Share of the flagged films that have the finding."""
    npv: Estimate
    """Share of the others that do not."""
    missed: Estimate
    """Films with the finding that are not flagged."""
    normals_flagged: Estimate
    """Share of the films of the first finding that are flagged."""
    unsure: Estimate | None
    """Films left unsure; None where the bundle makes no sets."""


@dataclass(frozen=True, kw_only=True)
class SiteDays(JsonValue):
    """Days for thresholds and prevalences."""

    films: dict[str, int]
    """Labelled films by finding."""
    patients: int
    films_per_day: int
    measured: tuple[MeasuredFlagAt, ...]
    days: tuple[SiteDay, ...]
    """By flag and threshold, then by prevalence, as asked."""


def site_days(
    scores: LabelledScores,
    points: Sequence[FlagAt],
    *,
    prevalences: Sequence[float],
    films_per_day: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> SiteDays:
    """A day for each flag at its threshold and each prevalence.

    The films with and without the finding are taken to be mixed as the labelled ones: the day's films without it are
    the labelled films without it, whatever these are.

    Args:
        scores: a random sample of the site's films, or films with and without the finding that are each one.
        prevalences: share of the day's films that have the flag's finding, 0..1.
        films_per_day: 1 or more.
        draws: days drawn for each.

    Raises:
        ValueError: a probability or threshold is not finite, a flag is no finding, or has no labelled film with it or
            without it; a prevalence outside 0..1; no film a day.
    """
    if films_per_day < 1:
        raise ValueError("a day needs at least one film")
    if wrong := [value for value in prevalences if not 0 <= value <= 1]:
        raise ValueError(f"a prevalence is a share between 0 and 1, not {wrong[0]:g}")
    if not np.isfinite(scores.chances).all():
        raise ValueError("a probability is not finite")
    if odd := [point for point in points if not np.isfinite(point.threshold)]:
        raise ValueError(f"the threshold of {odd[0].flag} is not a finite number")
    random = np.random.default_rng(seed)
    measured, days = [], []
    for point in points:
        positive = has_finding(scores, point.flag)
        flagged = np.asarray(chance_of(point.flag, scores.chances, scores.findings) >= point.threshold)
        for rows, what in ((positive, "with"), (~positive, "without")):
            if not rows.any():
                raise ValueError(f"there is no labelled film {what} {point.flag}: its rates are not known")
        measured.append(_measured(scores, point, flagged, positive))
        rates = _DrawnRates(scores, flagged, positive, random, draws)
        days += [_day(point, rates, prevalence, films_per_day, random) for prevalence in prevalences]
    return SiteDays(
        films=scores.films,
        patients=len(set(scores.patients)),
        films_per_day=films_per_day,
        measured=tuple(measured),
        days=tuple(days),
    )


def has_finding(scores: LabelledScores, flag: str) -> Rows:
    """[N] whether each film has what the flag says. Raises ValueError where the flag is no finding."""
    if flag not in (flags := (NOT_NORMAL, *scores.findings)):
        raise ValueError(f"{flag} is no flag: {', '.join(flags)} are")
    return truth_of(flag, scores.labels, scores.findings)


def _measured(scores: LabelledScores, point: FlagAt, flagged: Rows, positive: Rows) -> MeasuredFlagAt:
    def share(hit: Rows, among: Rows) -> Proportion:
        return proportion(int((hit & among).sum()), int(among.sum()))

    return MeasuredFlagAt(
        flag=point.flag,
        threshold=point.threshold,
        sensitivity=share(flagged, positive),
        specificity=share(~flagged, ~positive),
        normals_flagged=share(flagged, scores.labels == 0),
    )


class _DrawnRates:
    """Rates on the labelled films, and draws of what they may be, [draws] each."""

    def __init__(
        self, scores: LabelledScores, flagged: Rows, positive: Rows, random: np.random.Generator, draws: int
    ) -> None:
        def both(hit: Rows, among: Rows) -> tuple[float, Draws]:
            if not among.any():
                return float("nan"), np.full(draws, np.nan)
            return float(hit[among].mean()), _beta(hit[among], np.asarray(scores.patients)[among], random, draws)

        normal = scores.labels == 0
        self.flagged_with, self.flagged_without = both(flagged, positive), both(flagged, ~positive)
        self.normal_with = float(normal[positive].mean())
        """Share of normal films among those with the flag's finding: 0, or 1 for the flag of the first finding."""
        self.normal_without = float(normal[~positive].mean())
        self.normals_flagged = both(flagged, normal)
        unsure = scores.unsure
        self.unsure = None if unsure is None else (both(unsure, positive), both(unsure, ~positive))


def _beta(hit: Rows, patients: NDArray[np.str_], random: np.random.Generator, draws: int) -> Draws:
    """What the share of `hit` may be, with so many films as know it as well as these do."""
    films = independent_films(hit, patients)
    return random.beta(hit.mean() * films + 0.5, (1 - hit.mean()) * films + 0.5, size=draws)


def independent_films(values: NDArray[Any], patients: NDArray[np.str_]) -> float:
    """Films of as many patients that would know the mean of `values` [N >= 1] as well as these films do; at most their
    number.

    The films divided by the design effect: the variance of the mean over patients, by that over independent films. It
    is at least what is left where all films of a patient are alike, and that where all films are.
    """
    _, of_patient = np.unique(patients, return_inverse=True)
    sizes, films = np.bincount(of_patient), float(len(values))
    least = films**2 / float((sizes**2).sum())
    if (values == values[0]).all() or len(sizes) < 2:
        return least
    left = np.bincount(of_patient, weights=values - values.mean())
    over_patients = float((left**2).sum()) / films**2 * len(sizes) / (len(sizes) - 1)
    effect = over_patients / (float(values.var()) / films)
    return min(films, max(least, films / effect)) if effect else films


def _day(point: FlagAt, rates: _DrawnRates, prevalence: float, films: int, random: np.random.Generator) -> SiteDay:
    (sensitivity, of_with), (alarms, of_without) = rates.flagged_with, rates.flagged_without
    having = random.binomial(films, prevalence, size=len(of_with))
    hits, false_flags = random.binomial(having, of_with), random.binomial(films - having, of_without)
    right, wrong = prevalence * sensitivity, (1 - prevalence) * alarms
    missed, passed = prevalence - right, 1 - prevalence - wrong
    return SiteDay(
        flag=point.flag,
        threshold=point.threshold,
        prevalence=prevalence,
        flags=_estimate(films * (right + wrong), hits + false_flags),
        ppv=_share(right, right + wrong, hits, hits + false_flags),
        npv=_share(passed, passed + missed, films - having - false_flags, films - hits - false_flags),
        missed=_estimate(films * missed, having - hits),
        normals_flagged=_normals(rates, having, films, prevalence, random),
        unsure=_unsure(rates, having, films, prevalence, random),
    )


def _normals(
    rates: _DrawnRates, having: NDArray[np.int64], films: int, prevalence: float, random: np.random.Generator
) -> Estimate:
    share, drawn = rates.normals_flagged
    if np.isnan(share) or prevalence * rates.normal_with + (1 - prevalence) * rates.normal_without == 0:
        return Estimate(value=None, interval95=None)
    normals = random.binomial(having, rates.normal_with) + random.binomial(films - having, rates.normal_without)
    return _share(share, 1.0, random.binomial(normals, drawn), normals)


def _unsure(
    rates: _DrawnRates, having: NDArray[np.int64], films: int, prevalence: float, random: np.random.Generator
) -> Estimate | None:
    if rates.unsure is None:
        return None
    (of_with, drawn_with), (of_without, drawn_without) = rates.unsure
    unsure = random.binomial(having, drawn_with) + random.binomial(films - having, drawn_without)
    return _estimate(films * (prevalence * of_with + (1 - prevalence) * of_without), unsure)


def _estimate(value: float, drawn: NDArray[np.int64]) -> Estimate:
    low, high = np.quantile(drawn, (0.025, 0.975), method="inverted_cdf").tolist()
    return Estimate(value=round(value, 1), interval95=(low, high))


def _share(part: float, whole: float, drawn: NDArray[np.int64], of: NDArray[np.int64]) -> Estimate:
    """Over the drawn days that have a film to be a share of."""
    if whole <= 0 or not of.any():
        return Estimate(value=None, interval95=None)
    shares = drawn[of > 0] / of[of > 0]
    low, high = np.quantile(shares, (0.025, 0.975), method="inverted_cdf").tolist()
    return Estimate(value=round(part / whole, 4), interval95=(round(low, 4), round(high, 4)))
