"""Rows and cells of the report's tables, and the words in them."""

from typing import Any

from markupsafe import Markup

from model.findings import FINDINGS, SPOKEN
from model.pages.figures import said_estimate
from model.stats.binomial import interval


def columns_of(first: str, second: str) -> list[object]:
    rates = [f"{rate}, {SPOKEN[name]}" for rate in ("recall", "precision") for name in FINDINGS]
    return [first, second, "accuracy", "balanced accuracy", *rates]


def row(name: str, found: dict[str, Any]) -> list[object]:
    rates = [found[rate][finding] for rate in ("recall", "precision") for finding in FINDINGS]
    return [name, found["films"], *(_stacked(one) for one in (found["accuracy"], balanced(found), *rates))]


def balanced(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": found["balanced_accuracy"],
        "interval95": found["bootstrap"]["balanced_accuracy"] if "bootstrap" in found else None,
    }


def published(paper: dict[str, Any], who: str, split: str = "test") -> dict[str, Any]:
    """A published row in the form of `metrics.summary`, with exact intervals where the number of films is known."""
    rates, counts = paper[who][split], paper["films"][split]
    films_all = sum(counts.values())

    def share(value: float, n: int) -> dict[str, Any]:
        return {"value": value, "interval95": list(interval(round(value * n), n)), "n": n}

    return {
        "films": films_all,
        "accuracy": share(rates["accuracy"], films_all),
        "balanced_accuracy": round(sum(rates["recall"].values()) / len(FINDINGS), 4),
        "recall": {name: share(rates["recall"][name], counts[name]) for name in FINDINGS},
        "precision": {name: {"value": rates["precision"][name], "interval95": None} for name in FINDINGS},
    }


def engine_of(content: dict[str, Any]) -> str:
    return f"{content['engine']['name']} on {content['engine']['device']}"


def views_of(content: dict[str, Any]) -> str:
    return ", ".join(content["data"]["views"])


def plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {plain(one)}" for key, one in value.items())
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _stacked(estimate: dict[str, Any]) -> Markup:
    if estimate["value"] is None:
        return Markup("–")
    bounds = estimate["interval95"]
    value = Markup("{:.3f}").format(estimate["value"])
    return value + (Markup("<br><small>{:.2f}–{:.2f}</small>").format(*bounds) if bounds else "")


def exact(estimate: dict[str, Any]) -> str:
    return f"{said_estimate(estimate)} of {estimate['n']}"


def cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)
