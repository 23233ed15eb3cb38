"""May a shadow take over from the live bundle? A written rule, held against what both said of the same films."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.json_value import JsonValue
from model.stats.estimate import Interval, Proportion

PROMOTE, KEEP, NOT_ENOUGH = "promote", "keep", "not enough films"
MET, OPEN, BROKEN, NOT_JUDGED = "met", "open", "broken", "not judged"


@dataclass(frozen=True, kw_only=True)
class PromotionRule:
    """Limits a shadow is held against. A share is compared by its exact 95 % interval: met when the whole interval lies
    within the limit, broken when it lies outside, open between."""

    films: int = 200
    """Fewest films scored by both."""
    missed: float = 0.02
    """Largest share of films that the shadow should have scored and could not."""
    other_flags: float = 0.05
    """Largest share of films with other flags. Of 200 films 3 may have them. More may where the truth of every flag is
    judged and met: then they changed without harm."""
    lost: float = 0.10
    """Largest share of the films with a finding that live flagged and the shadow does not; gains do not make up for
    losses. Likewise of the films without it that the shadow alone flags."""
    judged: int = 36
    """Positives, or negatives, from which `lost` is judged; it may be broken before. With none lost, 36 are the fewest
    whose interval ends below 0.10."""


RULE = PromotionRule()


@dataclass(frozen=True, kw_only=True)
class Criterion(JsonValue):
    """One line of the rule, and how the shadow stands to it."""

    criterion: str
    value: float | None
    interval95: Interval | None = None
    """None, and not in the JSON, where the value is judged without one, as `because`."""
    limit: float
    state: str
    """MET, OPEN, BROKEN or NOT_JUDGED."""
    because: str | None = None
    """Why it is met although its interval is not."""

    def as_dict(self) -> dict[str, Any]:
        plain = super().as_dict()
        absent = {name for name in ("interval95", "because") if plain[name] is None}
        return {name: value for name, value in plain.items() if name not in absent}


def counts_criteria(films: int, missed: Proportion) -> tuple[Criterion, Criterion]:
    """Enough films scored by both, and few enough that the shadow should have scored and could not."""
    return (
        Criterion(
            criterion="films scored by both",
            value=films,
            limit=RULE.films,
            state=MET if films >= RULE.films else OPEN,
        ),
        Criterion(
            criterion="films the shadow could not score",
            value=missed.value,
            limit=RULE.missed,
            state=MET if (missed.value or 0.0) <= RULE.missed else BROKEN,
        ),
    )


def flags_criteria(other_flags: Proportion, lost: Mapping[str, Proportion]) -> tuple[Criterion, ...]:
    """Few enough films with other flags, and little enough lost.

    Args:
        other_flags: films with other flags.
        lost: what live alone got right, by rate and finding, such as "sensitivity of covid19"; empty without truth.
    """
    truth = [_criterion(f"{rate}, lost", share, RULE.lost, fewest=RULE.judged) for rate, share in lost.items()]
    flags = _criterion("films with other flags", other_flags, RULE.other_flags)
    if flags.state != MET and truth and all(criterion.state == MET for criterion in truth):
        flags = replace(flags, state=MET, because="the truth of every flag is judged and met")
    return flags, *truth


def verdict(states: Sequence[str]) -> str:
    """One broken criterion keeps the live bundle; one open one asks for more films."""
    if BROKEN in states:
        return KEEP
    return NOT_ENOUGH if OPEN in states else PROMOTE


def _criterion(name: str, share: Proportion, limit: float, *, fewest: int = 0) -> Criterion:
    """A share held against its limit by its interval; below `fewest` trials it is not judged, unless
    something was lost."""
    low, high = share.interval95
    state = MET if high <= limit else BROKEN if low > limit else OPEN
    if share.n < fewest and state != BROKEN:
        state = OPEN if share.value else NOT_JUDGED
    return Criterion(criterion=name, value=share.value, interval95=share.interval95, limit=limit, state=state)
