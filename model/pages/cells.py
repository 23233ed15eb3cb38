"""Rows and cells of the report's tables, and the words in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

from model.evaluation.evaluate import EvaluationContent
from model.evaluation.papers import PublishedRates
from model.findings import FINDINGS, SPOKEN
from model.pages.texts import estimate_text
from model.stats.binomial import interval
from model.stats.estimate import Estimate, Proportion

PARTS = {
    "train": "train",
    "val": "validation",
    "test": "test",
    "test_all": "test, all views",
    "more": "more, all views",
}


class Rated(Protocol):
    """What a row shows: a `Summary`, or what was published."""

    @property
    def films(self) -> int: ...
    @property
    def accuracy(self) -> Estimate: ...
    @property
    def balanced(self) -> Estimate: ...
    @property
    def recall(self) -> Mapping[str, Estimate]: ...
    @property
    def precision(self) -> Mapping[str, Estimate]: ...


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """Published rates, with exact intervals where the number of films is known."""

    films: int
    accuracy: Estimate
    balanced: Estimate
    recall: dict[str, Estimate]
    precision: dict[str, Estimate]


def columns_of(content: EvaluationContent, first: str, second: str) -> list[object]:
    rates = [f"{rate}, {SPOKEN[name]}" for rate in ("recall", "precision") for name in content.bundle.findings]
    return [first, second, "accuracy", "balanced accuracy", *rates]


def row(name: str, rated: Rated) -> list[object]:
    rates = [rate for by_class in (rated.recall, rated.precision) for rate in by_class.values()]
    return [name, rated.films, *map(_stacked, (rated.accuracy, rated.balanced, *rates))]


def published(rates: PublishedRates, counts: dict[str, int]) -> PublishedRow:
    """Rates on so many films of each class."""
    films = sum(counts.values())

    def share(value: float, n: int) -> Estimate:
        return Estimate(value=value, interval95=interval(round(value * n), n))

    balanced = round(sum(rates.recall.values()) / len(FINDINGS), 4)
    return PublishedRow(
        films=films,
        accuracy=share(rates.accuracy, films),
        balanced=Estimate(value=balanced, interval95=None),
        recall={name: share(rates.recall[name], counts[name]) for name in FINDINGS},
        precision={name: Estimate(value=rates.precision[name], interval95=None) for name in FINDINGS},
    )


def engine_of(content: EvaluationContent) -> str:
    return f"{content.engine.name} on {content.engine.device}"


def views_of(content: EvaluationContent) -> str:
    return ", ".join(content.data.views)


def _stacked(estimate: Estimate) -> Markup:
    if estimate.value is None:
        return Markup("–")
    bounds = estimate.interval95
    value = Markup("{:.3f}").format(estimate.value)
    return value + (Markup("<br><small>{:.2f}–{:.2f}</small>").format(*bounds) if bounds else "")


def exact(share: Proportion) -> str:
    return f"{estimate_text(share)} of {share.n}"


def cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)
