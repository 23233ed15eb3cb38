"""May a shadow take over from the live bundle? A written rule, held against what both said of the same films."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.json_value import JsonValue
from model.stats.estimate import Interval

PROMOTE, KEEP, NOT_ENOUGH, NOT_ENOUGH_LABELS = "promote", "keep", "not enough films", "not enough labels"
MET, OPEN, BROKEN = "met", "open", "broken"
FILMS, LABELS = "films", "labels"
"""What more of would settle an open criterion."""


@dataclass(frozen=True, kw_only=True)
class PromotionRule:
    """Limits a shadow is held against, each by an interval that holds however often one looks (`model.stats.betting`):
    met when the whole interval lies within the limit, broken when it lies outside, open between."""

    films: int = 200
    """Fewest films scored by both."""
    missed: float = 0.02
    """Largest share of films that the shadow should have scored and could not."""
    other_flags: float = 0.05
    """Largest share of films with other flags. More may where what every flag lost is judged and met: then they changed
    without harm."""
    moved: float = 0.2
    """A probability that differs by more has moved: beside thresholds of .04 to .5 it is another statement."""
    films_moved: float = 0.1
    """Largest share of films with a probability that moved. More may where the Brier score is judged and met."""
    unsure: float = 0.1
    """Largest rise of the share of unsure films: one film in ten more is work that a reader notices."""
    lost: float = 0.10
    """Largest share of the films with a label that live flagged, or left unflagged, rightly and the shadow does not;
    gains do not make up for losses."""
    judged: int = 43
    """Films with a label from which `lost` can be met: with none lost, 43 are the fewest whose interval ends below
    0.10."""
    brier: float = 0.03
    """Largest rise of the Brier score, halved to 0..1, over labelled films. Bundle 0.4.0 has .16 on its test
    films."""
    coverage: float = 0.05
    """Largest fall of the share of labelled films whose prediction set holds their label: sets promised at .90 would
    hold .85."""


RULE = PromotionRule()


@dataclass(frozen=True, kw_only=True)
class Criterion(JsonValue):
    """One line of the rule, and how the shadow stands to it."""

    criterion: str
    value: float | None
    interval95: Interval | None = None
    """Sequential; None, and not in the JSON, where the value is judged without one, as the next two."""
    limit: float
    state: str
    """MET, OPEN or BROKEN."""
    judged_on: str
    """FILMS or LABELS."""
    because: str | None = None
    """Why it is met although its interval is not."""
    missing: str | None = None
    """What an open one lacks."""

    def as_dict(self) -> dict[str, Any]:
        plain = super().as_dict()
        absent = {name for name in ("interval95", "because", "missing") if plain[name] is None}
        return {name: value for name, value in plain.items() if name not in absent}


def enough_films(films: int) -> Criterion:
    return Criterion(
        criterion="films scored by both",
        value=films,
        limit=RULE.films,
        state=MET if films >= RULE.films else OPEN,
        judged_on=FILMS,
        missing=None if films >= RULE.films else f"{RULE.films - films} films more that both score",
    )


def at_most(
    name: str, value: float | None, interval: Interval, limit: float, *, judged_on: str, missing: str = ""
) -> Criterion:
    """A value held against its limit by its interval.

    Args:
        missing: what it lacks where it is open; "" for more films or labels.
    """
    low, high = interval
    state = MET if high <= limit else BROKEN if low > limit else OPEN
    return Criterion(
        criterion=name,
        value=value,
        interval95=interval,
        limit=limit,
        state=state,
        judged_on=judged_on,
        missing=(missing or f"more {judged_on}: its interval reaches over the limit") if state == OPEN else None,
    )


def verdict(criteria: Sequence[Criterion]) -> str:
    """One broken criterion keeps the live bundle; an open one asks for more films, or for labels."""
    states = [criterion.state for criterion in criteria]
    if BROKEN in states:
        return KEEP
    if any(criterion.state == OPEN and criterion.judged_on == FILMS for criterion in criteria):
        return NOT_ENOUGH
    return NOT_ENOUGH_LABELS if OPEN in states else PROMOTE
