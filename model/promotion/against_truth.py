"""What a shadow loses where the truth of films is known: flags by finding and label, probabilities, prediction sets.

A drawn film that has no label could be any: it stands in the upper end of an interval as whatever speaks most against
the shadow, and not in the lower end. So the films that readers leave out cannot make a shadow look good.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from model.decision import has
from model.json_value import JsonValue
from model.promotion.compared_film import ComparedFilm
from model.promotion.rule import LABELS, RULE, Criterion, at_most
from model.stats.betting import mean_interval, share_interval
from model.stats.binomial import proportion, sign_test
from model.stats.estimate import Interval, Proportion


@dataclass(frozen=True, kw_only=True)
class RateOfBoth(JsonValue):
    """How often each bundle's flag is right on the films with one label, and the share that live alone got right."""

    live: Proportion
    shadow: Proportion
    lost: Proportion


@dataclass(frozen=True, kw_only=True)
class OneSided(JsonValue):
    """Films on which one bundle's flag alone is right, and McNemar's exact p."""

    live_only: int
    shadow_only: int
    p: float


@dataclass(frozen=True, kw_only=True)
class FlagAgainstTruth(JsonValue):
    by_label: dict[str, RateOfBoth]
    """Of the films with a label that has the flag's finding a sensitivity, of the others a specificity."""
    mcnemar: OneSided


def flag_against_truth(
    films: Sequence[ComparedFilm], finding: str, labels: tuple[str, ...], negative: str
) -> FlagAgainstTruth:
    by_label = {label: _right(films, finding, label, negative) for label in labels}
    live_only = sum(right[True, False] for right in by_label.values())
    shadow_only = sum(right[False, True] for right in by_label.values())
    return FlagAgainstTruth(
        by_label={label: _rate(right) for label, right in by_label.items()},
        mcnemar=OneSided(live_only=live_only, shadow_only=shadow_only, p=round(sign_test(live_only, shadow_only), 4)),
    )


def lost_criteria(
    films: Sequence[ComparedFilm], flagged: Sequence[str], labels: tuple[str, ...], negative: str
) -> tuple[Criterion, ...]:
    """For each flag and label, the films that live alone got right."""
    return tuple(_lost(films, finding, label, negative) for finding in flagged for label in labels)


def brier_criterion(films: Sequence[ComparedFilm], labels: tuple[str, ...]) -> Criterion:
    """How much the shadow's probabilities are worse."""
    return _rise(
        "Brier score of the shadow, rise",
        films,
        lambda film, label: film.shadow.brier(label, labels) - film.live.brier(label, labels),
        RULE.brier,
        labels,
    )


def coverage_criterion(films: Sequence[ComparedFilm], labels: tuple[str, ...]) -> Criterion:
    """How much seldomer the shadow's prediction sets hold the truth."""
    return _rise(
        "prediction sets that hold the label, fall",
        films,
        lambda film, label: film.live.holds(label) - film.shadow.holds(label),
        RULE.coverage,
        labels,
    )


def _right(films: Sequence[ComparedFilm], finding: str, label: str, negative: str) -> Counter[tuple[bool, bool]]:
    """How often (live, shadow) were right on the films with this label."""
    wanted = has(finding, label, negative)
    return Counter(
        (film.live.findings[finding].flag == wanted, film.shadow.findings[finding].flag == wanted)
        for film in films
        if film.truth == label
    )


def _rate(right: Counter[tuple[bool, bool]]) -> RateOfBoth:
    films = right.total()
    return RateOfBoth(
        live=proportion(right[True, True] + right[True, False], films),
        shadow=proportion(right[True, True] + right[False, True], films),
        lost=proportion(right[True, False], films),
    )


def _lost(films: Sequence[ComparedFilm], finding: str, label: str, negative: str) -> Criterion:
    wanted = has(finding, label, negative)
    right = _right(films, finding, label, negative)
    lost, read = right[True, False], right.total()
    unread = sum(
        film.live.findings[finding].flag == wanted != film.shadow.findings[finding].flag for film in films if film.open
    )
    rate = "sensitivity" if wanted else "specificity"
    least = max(RULE.judged - read, 0)
    return at_most(
        f"{rate} of {finding} on {label}, lost",
        round(lost / read, 4) if read else None,
        (share_interval(lost, read)[0], share_interval(lost + unread, read + unread)[1]),
        RULE.lost,
        judged_on=LABELS,
        missing=f"films with the label {label}: {read}, at least {least} more" if least else "",
    )


def _rise(
    name: str,
    films: Sequence[ComparedFilm],
    rise: Callable[[ComparedFilm, str], float],
    limit: float,
    labels: tuple[str, ...],
) -> Criterion:
    """Of a mean over labelled films, each between -1 and 1."""
    known = [float(rise(film, film.truth)) for film in films if film.truth is not None]
    worst = [float(max(rise(film, label) for label in labels)) for film in films if film.open]
    interval: Interval = (mean_interval(known, most=1)[0], mean_interval([*known, *worst], most=1)[1])
    return at_most(name, round(fmean(known), 4) if known else None, interval, limit, judged_on=LABELS)
