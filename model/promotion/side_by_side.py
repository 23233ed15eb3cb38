"""Two bundles on the same films: what changed, and what each got right where the truth is known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from model.decision import has
from model.findings import FINDINGS
from model.json_value import JsonValue
from model.promotion.rule import Criterion, counts_criteria, flags_criteria, verdict
from model.stats.binomial import proportion, sign_test
from model.stats.estimate import Proportion

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True)
class FindingScore:
    """What one bundle said of one film about one finding."""

    probability: float
    flag: bool


@dataclass(frozen=True, kw_only=True)
class ComparedFilm:
    """What both said of one film, by finding, and what it is."""

    live: dict[str, FindingScore]
    shadow: dict[str, FindingScore]
    truth: str | None
    """A finding, None where nobody who read the film said."""


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
class RateOfBoth(JsonValue):
    """A rate of each bundle's flags, and the share of films that live alone got right."""

    live: Proportion
    shadow: Proportion
    lost: Proportion


@dataclass(frozen=True, kw_only=True)
class OneSided(JsonValue):
    """Films that one bundle alone flagged rightly, and McNemar's exact p."""

    live_only: int
    shadow_only: int
    p: float


@dataclass(frozen=True, kw_only=True)
class FlagsAgainstTruth(JsonValue):
    sensitivity: RateOfBoth
    specificity: RateOfBoth
    mcnemar: OneSided


@dataclass(frozen=True, kw_only=True)
class SideBySide(JsonValue):
    """The shadow beside live, and the verdict."""

    films: int
    """Scored by both."""
    missed: Proportion
    """Films that the shadow should have scored and could not."""
    films_with_other_flags: Proportion
    findings: dict[str, FindingChange]
    truth: dict[str, FlagsAgainstTruth]
    """By finding with an operating point; empty where the truth of no film is known."""
    criteria: tuple[Criterion, ...]
    verdict: str


def compare(
    films: Sequence[ComparedFilm], *, flagged: Sequence[str], missed: int, negative: str = FINDINGS[0]
) -> SideBySide:
    """Both bundles on the same films, held against the rule.

    Films count as independent: several of one patient make the intervals too narrow.

    Args:
        films: scored by both.
        flagged: findings with an operating point.
        missed: films that the shadow should have scored and could not.
        negative: the finding that says that a film shows none.
    """
    findings = list(films[0].live) if films else list(flagged)
    not_scored = proportion(missed, len(films) + missed)
    changed = sum(any(film.live[name].flag != film.shadow[name].flag for name in flagged) for film in films)
    other_flags = proportion(changed, len(films))
    truth = {name: _truth(films, name, negative) for name in flagged if any(film.truth for film in films)}
    lost = {}
    for finding, rates in truth.items():
        lost[f"sensitivity of {finding}"] = rates.sensitivity.lost
        lost[f"specificity of {finding}"] = rates.specificity.lost
    criteria = (*counts_criteria(len(films), not_scored), *flags_criteria(other_flags, lost))
    return SideBySide(
        films=len(films),
        missed=not_scored,
        films_with_other_flags=other_flags,
        findings={
            name: FindingChange(shift=_shift(films, name), flags=_flags(films, name) if name in flagged else None)
            for name in findings
        },
        truth=truth,
        criteria=criteria,
        verdict=verdict([criterion.state for criterion in criteria]),
    )


def _shift(films: Sequence[ComparedFilm], finding: str) -> ProbabilityShift | None:
    shifts: list[float] = sorted(film.shadow[finding].probability - film.live[finding].probability for film in films)
    if not shifts:
        return None
    quantiles = np.quantile(shifts, QUANTILES, method="linear").tolist()
    return ProbabilityShift(
        mean=round(fmean(shifts), 4),
        quantiles={f"{share:g}": round(value, 4) for share, value in zip(QUANTILES, quantiles, strict=True)},
        largest=round(shifts[0] if -shifts[0] > shifts[-1] else shifts[-1], 4),
    )


def _flags(films: Sequence[ComparedFilm], finding: str) -> FlagChanges:
    on = sum(film.shadow[finding].flag and not film.live[finding].flag for film in films)
    off = sum(film.live[finding].flag and not film.shadow[finding].flag for film in films)
    return FlagChanges(on=on, off=off, changed=proportion(on + off, len(films)))


def _truth(films: Sequence[ComparedFilm], finding: str, negative: str) -> FlagsAgainstTruth:
    """Both flags against the truth: rates with intervals, and what only one of them got right."""
    read = [(film, has(finding, film.truth, negative)) for film in films if film.truth is not None]
    positives = [film for film, positive in read if positive]
    negatives = [film for film, positive in read if not positive]

    def right(part: list[ComparedFilm], wanted: bool) -> Counter[tuple[bool, bool]]:
        """How often (live, shadow) were right."""
        return Counter((film.live[finding].flag == wanted, film.shadow[finding].flag == wanted) for film in part)

    hits, passes = right(positives, True), right(negatives, False)
    live_only, shadow_only = hits[True, False] + passes[True, False], hits[False, True] + passes[False, True]
    return FlagsAgainstTruth(
        sensitivity=_rate(hits),
        specificity=_rate(passes),
        mcnemar=OneSided(live_only=live_only, shadow_only=shadow_only, p=round(sign_test(live_only, shadow_only), 4)),
    )


def _rate(right: Counter[tuple[bool, bool]]) -> RateOfBoth:
    films = right.total()
    return RateOfBoth(
        live=proportion(right[True, True] + right[True, False], films),
        shadow=proportion(right[True, True] + right[False, True], films),
        lost=proportion(right[True, False], films),
    )
