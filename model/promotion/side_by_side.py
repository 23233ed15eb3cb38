"""Two bundles on the same films: what changed, and what each got right where the truth is known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from model.promotion.rule import criteria, verdict
from model.stats.binomial import proportion, sign_test

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


def compare(films: Sequence[ComparedFilm], *, flagged: Sequence[str], missed: int) -> dict[str, Any]:
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
    judged = criteria(content)
    return content | {"criteria": judged, "verdict": verdict([one["state"] for one in judged])}


def _shift(films: Sequence[ComparedFilm], finding: str) -> dict[str, Any] | None:
    """Shadow's probability minus live's; None without films. Four digits."""
    shifts: list[float] = sorted(film.shadow[finding].probability - film.live[finding].probability for film in films)
    if not shifts:
        return None
    quantiles = np.quantile(shifts, QUANTILES, method="linear").tolist()
    return {
        "mean": round(fmean(shifts), 4),
        "quantiles": {f"{share:g}": round(value, 4) for share, value in zip(QUANTILES, quantiles, strict=True)},
        "largest": round(shifts[0] if -shifts[0] > shifts[-1] else shifts[-1], 4),
    }


def _flags(films: Sequence[ComparedFilm], finding: str) -> dict[str, Any]:
    on = sum(one.shadow[finding].flag and not one.live[finding].flag for one in films)
    off = sum(one.live[finding].flag and not one.shadow[finding].flag for one in films)
    return {"on": on, "off": off, "changed": proportion(on + off, len(films))}


def _truth(films: Sequence[ComparedFilm], finding: str) -> dict[str, Any]:
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
        "mcnemar": {
            "live_only": live_only,
            "shadow_only": shadow_only,
            "p": round(sign_test(live_only, shadow_only), 4),
        }
    }


def _rates(right: Counter[tuple[bool, bool]]) -> dict[str, Any]:
    """From how often (live, shadow) were right: the rate of each, and the share that live alone had."""
    films = right.total()
    return {
        "live": proportion(right[True, True] + right[True, False], films),
        "shadow": proportion(right[True, True] + right[False, True], films),
        "lost": proportion(right[True, False], films),
    }
