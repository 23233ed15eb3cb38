"""Two bundles on the same films: what changed, and what each got right where the truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from model.findings import NOT_NORMAL
from model.json_value import JsonValue
from model.promotion.against_truth import (
    FlagAgainstTruth,
    brier_criterion,
    coverage_criterion,
    flag_against_truth,
    lost_criteria,
)
from model.promotion.compared_film import ComparedFilm
from model.promotion.rule import (
    FILMS,
    LABELS,
    MET,
    OPEN,
    RULE,
    Criterion,
    at_most,
    enough_films,
    verdict,
)
from model.stats.betting import mean_interval, share_interval
from model.stats.binomial import proportion
from model.stats.estimate import Proportion

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True)
class ProbabilityShift(JsonValue):
    """Shadow's probability minus live's, four digits."""

    mean: float
    quantiles: dict[str, float]
    """By share, as text: 0.05, 0.5, ..."""
    largest: float
    """By its absolute value."""


@dataclass(frozen=True, kw_only=True)
class FlagChanges(JsonValue):
    on: int
    """Films that the shadow alone flags."""
    off: int
    """Films that live alone flags."""
    changed: Proportion


@dataclass(frozen=True, kw_only=True)
class FindingChange(JsonValue):
    shift: ProbabilityShift | None
    """None without films."""
    flags: FlagChanges | None
    """None without an operating point."""


@dataclass(frozen=True, kw_only=True)
class SideBySide(JsonValue):
    """The shadow beside live, and the verdict."""

    films: int
    """Scored by both."""
    missed: Proportion
    """Films that the shadow should have scored and could not."""
    films_with_other_flags: Proportion
    findings: dict[str, FindingChange]
    truth: dict[str, FlagAgainstTruth]
    """By finding with an operating point; empty where the truth of no film is known."""
    criteria: tuple[Criterion, ...]
    verdict: str


def compare(
    films: Sequence[ComparedFilm], *, flagged: Sequence[str], negative: str, missed: int, representative: bool
) -> SideBySide:
    """Both bundles on the same films, held against the rule.

    Films count as independent: several of one patient make the intervals too narrow.

    Args:
        films: scored by both, in an order that has nothing to do with what they are.
        flagged: findings with an operating point.
        negative: the finding that says that a film shows none.
        missed: films that the shadow should have scored and could not.
        representative: whether labelled films stand for all films: drawn at random, or vouched for.
    """
    findings = list(films[0].live.findings) if films else list(flagged)
    labels = tuple(name for name in findings if name != NOT_NORMAL)
    lost = lost_criteria(films, flagged, labels, negative)
    brier = brier_criterion(films, labels)
    other_flags = sum(
        any(film.live.findings[name].flag != film.shadow.findings[name].flag for name in flagged) for film in films
    )
    moved = sum(any(abs(_moved(film, name)) > RULE.moved for name in findings) for film in films)
    criteria = (
        enough_films(len(films)),
        _share_at_most("films the shadow could not score", missed, len(films) + missed, RULE.missed, judged_on=FILMS),
        _unless(
            _share_at_most("films with other flags", other_flags, len(films), RULE.other_flags, judged_on=FILMS),
            lost,
            because="the truth of every flag is judged and met",
        ),
        _unless(
            _share_at_most("films with a probability that moved", moved, len(films), RULE.films_moved, judged_on=FILMS),
            [brier],
            because="the Brier score is judged and met",
        ),
        _unsure(films),
        _sampled(representative),
        *lost,
        brier,
        coverage_criterion(films, labels),
    )
    return SideBySide(
        films=len(films),
        missed=proportion(missed, len(films) + missed),
        films_with_other_flags=proportion(other_flags, len(films)),
        findings={
            name: FindingChange(shift=_shift(films, name), flags=_flags(films, name) if name in flagged else None)
            for name in findings
        },
        truth={
            name: flag_against_truth(films, name, labels, negative)
            for name in flagged
            if any(film.truth for film in films)
        },
        criteria=criteria,
        verdict=verdict(criteria),
    )


def _share_at_most(name: str, events: int, films: int, limit: float, *, judged_on: str) -> Criterion:
    """A share of films held against its limit."""
    value = round(events / films, 4) if films else None
    return at_most(name, value, share_interval(events, films), limit, judged_on=judged_on)


def _unless(change: Criterion, truth: Sequence[Criterion], *, because: str) -> Criterion:
    """A change that is larger than its limit is no harm where the truth says so."""
    if change.state != MET and truth and all(criterion.state == MET for criterion in truth):
        return replace(change, state=MET, because=because, missing=None)
    return change


def _unsure(films: Sequence[ComparedFilm]) -> Criterion:
    """How many more films have no single finding in their prediction set."""
    rises = [float(film.shadow.unsure) - film.live.unsure for film in films]
    return at_most(
        "unsure films, rise",
        round(fmean(rises), 4) if rises else None,
        mean_interval(rises, most=1),
        RULE.unsure,
        judged_on=FILMS,
    )


def _sampled(representative: bool) -> Criterion:
    """Labels that somebody chose may hide just what was lost."""
    return Criterion(
        criterion="labels of a random sample",
        value=float(representative),
        limit=1.0,
        state=MET if representative else OPEN,
        judged_on=LABELS,
        missing=None if representative else "labels of films that were drawn at random: 'xrayq labels sample'",
    )


def _moved(film: ComparedFilm, finding: str) -> float:
    """By how much the shadow's probability is higher."""
    return film.shadow.findings[finding].probability - film.live.findings[finding].probability


def _shift(films: Sequence[ComparedFilm], finding: str) -> ProbabilityShift | None:
    shifts: list[float] = sorted(_moved(film, finding) for film in films)
    if not shifts:
        return None
    quantiles = np.quantile(shifts, QUANTILES, method="linear").tolist()
    return ProbabilityShift(
        mean=round(fmean(shifts), 4),
        quantiles={f"{share:g}": round(value, 4) for share, value in zip(QUANTILES, quantiles, strict=True)},
        largest=round(shifts[0] if -shifts[0] > shifts[-1] else shifts[-1], 4),
    )


def _flags(films: Sequence[ComparedFilm], finding: str) -> FlagChanges:
    on = sum(film.shadow.findings[finding].flag and not film.live.findings[finding].flag for film in films)
    off = sum(film.live.findings[finding].flag and not film.shadow.findings[finding].flag for film in films)
    return FlagChanges(on=on, off=off, changed=proportion(on + off, len(films)))
