"""May a shadow take over from the live bundle? What both said of the same films, and a written rule.

Standard library only: the rule's numbers stand in a command's help, which imports nothing heavy.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from model.exact import proportion, sign_test

PROMOTE, KEEP, NOT_ENOUGH = "promote", "keep", "not enough films"
MET, OPEN, BROKEN, NOT_JUDGED = "met", "open", "broken", "not judged"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True)
class Rule:
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
    """Largest share of the true positives of a flag that live flagged and the shadow does not; gains do not make up
    for losses. Likewise of the true negatives that the shadow alone flags."""
    judged: int = 36
    """Positives, or negatives, from which `lost` is judged; it may be broken before. With none lost, 36 are the fewest
    whose interval ends below 0.10."""


RULE = Rule()


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one bundle said of one film about one finding."""

    probability: float
    flag: bool


@dataclass(frozen=True, kw_only=True)
class Film:
    """What both said of one film, by finding, and what it is."""

    live: dict[str, Said]
    shadow: dict[str, Said]
    truth: str | None
    """A finding, None where nobody who read the film said."""


def compare(films: Sequence[Film], *, flagged: Sequence[str], missed: int, rule: Rule = RULE) -> dict[str, Any]:
    """The shadow beside live, and the verdict.

    Films count as independent: several of one patient make the intervals too narrow.

    Args:
        films: scored by both.
        flagged: findings with an operating point.
        missed: films that the shadow should have scored and could not.

    Returns:
        JSON-ready: {"films", "missed", "films_with_other_flags", "findings", "truth", "criteria", "verdict"}.
    """
    findings = list(films[0].live) if films else list(flagged)
    content = {
        "films": len(films),
        "missed": proportion(missed, len(films) + missed),
        "films_with_other_flags": proportion(
            sum(any(one.live[name].flag != one.shadow[name].flag for name in flagged) for one in films), len(films)
        ),
        "findings": {
            name: {"shift": _shift(films, name), "flags": _flags(films, name) if name in flagged else None}
            for name in findings
        },
        "truth": {name: _truth(films, name) for name in flagged if any(one.truth for one in films)},
    }
    criteria = _criteria(content, rule)
    return content | {"criteria": criteria, "verdict": verdict([one["state"] for one in criteria])}


def verdict(states: Sequence[str]) -> str:
    """One broken criterion keeps the live bundle; one open one asks for more films."""
    if BROKEN in states:
        return KEEP
    return NOT_ENOUGH if OPEN in states else PROMOTE


def _shift(films: Sequence[Film], finding: str) -> dict[str, Any] | None:
    """Shadow's probability minus live's; None without films. Four digits."""
    shifts: list[float] = sorted(one.shadow[finding].probability - one.live[finding].probability for one in films)
    if not shifts:
        return None
    return {
        "mean": round(fmean(shifts), 4),
        "quantiles": {f"{share:g}": round(_quantile(shifts, share), 4) for share in QUANTILES},
        "largest": round(shifts[0] if -shifts[0] > shifts[-1] else shifts[-1], 4),
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between the nearest two, as numpy's default."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _flags(films: Sequence[Film], finding: str) -> dict[str, Any]:
    on = sum(one.shadow[finding].flag and not one.live[finding].flag for one in films)
    off = sum(one.live[finding].flag and not one.shadow[finding].flag for one in films)
    return {"on": on, "off": off, "changed": proportion(on + off, len(films))}


def _truth(films: Sequence[Film], finding: str) -> dict[str, Any]:
    """Both flags against the truth: rates with intervals, what only one of them got right, McNemar's exact p."""
    read = [one for one in films if one.truth is not None]
    positives = [one for one in read if one.truth == finding]
    negatives = [one for one in read if one.truth != finding]

    counts = {
        rate: Counter((one.live[finding].flag == wanted, one.shadow[finding].flag == wanted) for one in part)
        for rate, part, wanted in (("sensitivity", positives, True), ("specificity", negatives, False))
    }
    live_only = sum(found[True, False] for found in counts.values())
    shadow_only = sum(found[False, True] for found in counts.values())
    return {rate: _rates(found) for rate, found in counts.items()} | {
        "mcnemar": {"live_only": live_only, "shadow_only": shadow_only, "p": sign_test(live_only, shadow_only)}
    }


def _rates(right: Counter[tuple[bool, bool]]) -> dict[str, Any]:
    """From how often (live, shadow) were right: the rate of each, and the share that live alone had."""
    films = right.total()
    return {
        "live": proportion(right[True, True] + right[True, False], films),
        "shadow": proportion(right[True, True] + right[False, True], films),
        "lost": proportion(right[True, False], films),
    }


def _criteria(content: dict[str, Any], rule: Rule) -> list[dict[str, Any]]:
    films, missed, other = content["films"], content["missed"], content["films_with_other_flags"]
    truth = [
        _criterion(f"{rate} of {finding}, lost", found[rate]["lost"], rule.lost, fewest=rule.judged)
        for finding, found in content["truth"].items()
        for rate in ("sensitivity", "specificity")
    ]
    harmless = bool(truth) and all(one["state"] == MET for one in truth)
    flags = _criterion("films with other flags", other, rule.other_flags)
    if harmless and flags["state"] != MET:
        flags |= {"state": MET, "because": "the truth of every flag is judged and met"}
    enough = {
        "criterion": "films scored by both",
        "value": films,
        "limit": rule.films,
        "state": MET if films >= rule.films else OPEN,
    }
    gaps = {
        "criterion": "films the shadow could not score",
        "value": missed["value"],
        "limit": rule.missed,
        "state": MET if (missed["value"] or 0.0) <= rule.missed else BROKEN,
    }
    return [enough, gaps, flags, *truth]


def _criterion(name: str, share: dict[str, Any], limit: float, *, fewest: int = 0) -> dict[str, Any]:
    """A share held against its limit by its interval; below `fewest` trials it is not judged unless it is broken."""
    low, high = share["interval95"]
    state = MET if high <= limit else BROKEN if low > limit else OPEN
    if share["n"] < fewest and state != BROKEN:
        state = NOT_JUDGED
    return {"criterion": name, "value": share["value"], "interval95": [low, high], "limit": limit, "state": state}
