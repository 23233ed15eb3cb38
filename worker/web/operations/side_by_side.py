"""A comparison of two bundles as a page shows it: each criterion's interval as a bar beside its limit."""

from dataclasses import dataclass

from model.promotion.rule import BROKEN, KEEP, MET, NOT_ENOUGH, NOT_ENOUGH_LABELS, PROMOTE, Criterion
from model.promotion.side_by_side import SideBySide

WIDTH = 180
"""Of a bar, in its own units."""
IN_WORDS = {
    PROMOTE: "Every criterion is met.",
    KEEP: "A criterion is broken: its whole interval lies outside the limit.",
    NOT_ENOUGH: "A criterion is open: its interval reaches over the limit, and more films would settle it.",
    NOT_ENOUGH_LABELS: "A criterion is open, and only more labels can settle it.",
}
LOOKS = {PROMOTE: "well", KEEP: "flag", MET: "well", BROKEN: "flag"}
"""The rest is unsure."""


@dataclass(frozen=True, kw_only=True)
class CriterionBar:
    criterion: Criterion
    look: str
    bar: tuple[float, float] | None
    """Begin and length of the interval; None without one."""
    limit: float
    """Where it is."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    look: str
    words: str
    criteria: tuple[CriterionBar, ...]
    width: int = WIDTH


def figures(result: SideBySide) -> Figures:
    return Figures(
        look=LOOKS.get(result.verdict, "unsure"),
        words=IN_WORDS[result.verdict],
        criteria=tuple(_bar(criterion) for criterion in result.criteria),
    )


def _bar(criterion: Criterion) -> CriterionBar:
    look = LOOKS.get(criterion.state, "unsure")
    if criterion.interval95 is None or criterion.limit <= 0:
        return CriterionBar(criterion=criterion, look=look, bar=None, limit=0.0)
    low, high = criterion.interval95
    scale = WIDTH / max(2 * criterion.limit, min(high * 1.1, 4 * criterion.limit))
    begin, end = (min(max(at, 0.0) * scale, WIDTH) for at in (low, high))
    return CriterionBar(
        criterion=criterion, look=look, bar=(begin, max(end - begin, 2.0)), limit=criterion.limit * scale
    )
