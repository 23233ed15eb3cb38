"""May a shadow take over from the live bundle? A written rule, held against what both said of the same films."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


def criteria(content: dict[str, Any]) -> list[dict[str, Any]]:
    """What `side_by_side.compare` found, held against the rule: name, value, limit and state of each. JSON-ready."""
    films, missed, other = content["films"], content["missed"], content["films_with_other_flags"]
    truth = [
        _criterion(f"{rate} of {finding}, lost", found[rate]["lost"], RULE.lost, fewest=RULE.judged)
        for finding, found in content["truth"].items()
        for rate in ("sensitivity", "specificity")
    ]
    harmless = bool(truth) and all(one["state"] == MET for one in truth)
    flags = _criterion("films with other flags", other, RULE.other_flags)
    if harmless and flags["state"] != MET:
        flags |= {"state": MET, "because": "the truth of every flag is judged and met"}
    enough = {
        "criterion": "films scored by both",
        "value": films,
        "limit": RULE.films,
        "state": MET if films >= RULE.films else OPEN,
    }
    gaps = {
        "criterion": "films the shadow could not score",
        "value": missed["value"],
        "limit": RULE.missed,
        "state": MET if (missed["value"] or 0.0) <= RULE.missed else BROKEN,
    }
    return [enough, gaps, flags, *truth]


def verdict(states: Sequence[str]) -> str:
    """One broken criterion keeps the live bundle; one open one asks for more films."""
    if BROKEN in states:
        return KEEP
    return NOT_ENOUGH if OPEN in states else PROMOTE


def _criterion(name: str, share: dict[str, Any], limit: float, *, fewest: int = 0) -> dict[str, Any]:
    """A share held against its limit by its interval; below `fewest` trials it is not judged, unless
    something was lost."""
    low, high = share["interval95"]
    state = MET if high <= limit else BROKEN if low > limit else OPEN
    if share["n"] < fewest and state != BROKEN:
        state = OPEN if share["value"] else NOT_JUDGED
    return {"criterion": name, "value": share["value"], "interval95": [low, high], "limit": limit, "state": state}
