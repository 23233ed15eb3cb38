"""May the results of an AE's films be sent? A written rule, held against readers' labels of its own films.

Each flag has two rates: its sensitivity, and its specificity. Each is held against a floor, what the bundle had where
it was calibrated less a margin, by exact (Clopper-Pearson) limits: met when the lower limit is at or above the floor,
broken when the upper limit is below it, open between.

What is controlled, at `ALPHA` in all, over all rates together and over all looks since the last reset, silencing or
change of bundle, with each of which they begin anew at 1:

- An AE with any rate below its floor is called `go` with a chance of at most `ALPHA`. Every rate must be met, so that
  one is wrong only where its own limit is: no correction for the number of rates is needed (an intersection-union
  test). Look k has `ALPHA / (k (k + 1))`, which sums to `ALPHA`. The first look's lower limit is thus that of the usual
  two-sided 95 % interval.
- An AE with every rate at its floor or above is called `no-go` with a chance of at most `ALPHA`. One broken rate is
  enough for that, so each has its share of the look's chance (Bonferroni).

The floor is taken as it is; how surely the bundle knows its own rates is not part of it. Films are taken as
independent. Of films with several labels on one side the floor is the mean of theirs, and the limits are conservative
(Hoeffding 1956).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from model.json_value import JsonValue
from model.promotion.rule import BROKEN, MET, OPEN
from model.stats.binomial import at_least, interval, least_successes

GO, NO_GO, UNDECIDED = "go", "no-go", "undecided"
ALPHA = 0.05
POWER = 0.8
"""Chance that so many more films make it a go, for an AE that is as the bundle was calibrated; shared among its open
rates."""
MOST_FILMS = 20_000
"""Of one kind: what takes more is not settled by reading."""


@dataclass(frozen=True, kw_only=True)
class CountedRate:
    """How often a flag was right on an AE's films of one side: with its finding, or without."""

    finding: str
    rate: str
    """SENSITIVITY or SPECIFICITY of `model.decision`."""
    right: int
    films: int
    calibrated: float
    """What the bundle had where it was calibrated, each label weighted as among these films."""


@dataclass(frozen=True, kw_only=True)
class JudgedRate(JsonValue):
    """A rate, its limits, and how it stands to its floor."""

    finding: str
    rate: str
    right: int
    films: int
    value: float | None
    """None without films."""
    limits: tuple[float, float]
    """One-sided: the lower one at the level of `go`, the upper one at that of `no-go`."""
    calibrated: float
    floor: float
    state: str
    """MET, OPEN or BROKEN."""
    more: int | None
    """Films of this kind that an open rate lacks, see `POWER`; None where it is not open, or takes over MOST_FILMS."""
    drawn: int | None
    """Films to draw for that, at this kind's share of the films read; where none was read yet, at the largest share
    that is still likely (upper 95 % limit), so at least so many. None as `more`, and before any film was read."""


@dataclass(frozen=True, kw_only=True)
class RuleInForce(JsonValue):
    """The rule's numbers at one look."""

    margin: float
    look: int
    """0 before the first: the levels are those that it will have."""
    lower_level: float
    """Confidence of each lower limit, one-sided."""
    upper_level: float
    """Of each upper limit."""


@dataclass(frozen=True, kw_only=True)
class AcceptanceVerdict:
    verdict: str
    """GO, NO_GO or UNDECIDED."""
    rule: RuleInForce
    rates: tuple[JudgedRate, ...]


def judge(counted: Sequence[CountedRate], *, margin: float, look: int) -> AcceptanceVerdict:
    """Hold an AE's rates against the rule.

    Args:
        margin: by how much a rate may be below what was calibrated, 0..1.
        look: 1 for the first; the films of a later look include those before. 0 where no film was read yet.
    """
    lower, upper = alphas(max(1, look), len(counted))
    floors = [floor_of(rate.calibrated, margin) for rate in counted]
    states = [
        state_of(rate.right, rate.films, floor, lower, upper) for rate, floor in zip(counted, floors, strict=True)
    ]
    power = 1 - (1 - POWER) / max(1, states.count(OPEN))
    following = alphas(look + 1, len(counted))[0]
    rates = []
    for rate, floor, state in zip(counted, floors, states, strict=True):
        more = None
        if state == OPEN:
            more = more_films(rate.right, rate.films, rate.calibrated, floor, following, power)
        low, _ = interval(rate.right, rate.films, 1 - 2 * lower)
        _, high = interval(rate.right, rate.films, 1 - 2 * upper)
        judged = JudgedRate(
            finding=rate.finding,
            rate=rate.rate,
            right=rate.right,
            films=rate.films,
            value=round(rate.right / rate.films, 4) if rate.films else None,
            limits=(low, high),
            calibrated=round(rate.calibrated, 4),
            floor=floor,
            state=state,
            more=more,
            drawn=_drawn(more, rate.films, sum(other.films for other in counted if other.finding == rate.finding)),
        )
        rates.append(judged)
    return AcceptanceVerdict(
        verdict=verdict(states),
        rule=RuleInForce(margin=margin, look=look, lower_level=1 - lower, upper_level=1 - upper),
        rates=tuple(rates),
    )


def alphas(look: int, rates: int) -> tuple[float, float]:
    """The chances of error of one lower and of one upper limit at this look."""
    of_look = ALPHA / (look * (look + 1))
    return of_look, of_look / max(1, rates)


def floor_of(calibrated: float, margin: float) -> float:
    return round(max(0.0, calibrated - margin), 4)


def state_of(right: int, films: int, floor: float, lower: float, upper: float) -> str:
    """MET, OPEN or BROKEN, by the limits with these chances of error."""
    if not films:
        return OPEN
    if at_least(right, films, floor) <= lower or floor == 0:
        return MET
    return BROKEN if 1 - at_least(right + 1, films, floor) < upper else OPEN


def verdict(states: Sequence[str]) -> str:
    """One broken rate is a no-go; go needs every rate met, and one at least."""
    if BROKEN in states:
        return NO_GO
    return GO if states and all(state == MET for state in states) else UNDECIDED


def more_films(right: int, films: int, calibrated: float, floor: float, alpha: float, power: float) -> int | None:
    """About the fewest films more with which a rate is met, if theirs is as calibrated; None for over MOST_FILMS.

    Args:
        alpha: chance of error of the lower limit at the next look.
        power: chance that it is met.
    """
    if floor == 0:
        return 0 if films else 1

    def enough(more: int) -> bool:
        needed = least_successes(films + more, floor, alpha)
        return needed is not None and at_least(needed - right, more, calibrated) >= power

    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_FILMS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _drawn(more: int | None, films: int, read: int) -> int | None:
    """Films to draw so that `more` of a kind are among them."""
    if more is None or not read:
        return None
    share = films / read if films else interval(0, read)[1]
    return ceil(more / share)
