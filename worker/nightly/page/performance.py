"""Live flags and probabilities against readers' labels, in the night's page."""

from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from model.findings import SPOKEN
from model.pages.html import figure, paragraph, table
from worker.nightly.page import film_figures
from worker.nightly.page.words import shown


def section(content: dict[str, Any]) -> Iterable[Markup]:
    found = content["performance"]
    if found is None:
        yield paragraph(content["performance_missing"])
        return
    yield paragraph(
        f"{found['labelled']:,} of the {found['scored']:,} films that bundle {found['name']} {found['version']} scored "
        f"so far have a label from a reader; readers disagree on {found['disputed']:,}."
    )
    if found["selected"]:
        yield paragraph(
            "Flagged films were labelled more often than the others, so the sensitivity is too high: label a random "
            "sample too.",
            "mark",
        )
    yield figure(
        film_figures.rates(found["findings"]),
        "Point and line: the live rate with its exact 95 % interval. Grey: where it was calibrated. A cross: it left.",
    )
    least = max((one["sensitivity"]["alarm_from"] for one in found["findings"]), default=0)
    yield table(
        ("finding", "rate", "now", "95 % interval", "right", "of films", "calibrated", "evidence", ""),
        _rates(found["findings"]),
        caption="Live flags on labelled films. Evidence that a rate left where it was calibrated raises the alarm from "
        f"{least:.0f} on",
    )
    yield table(
        ("finding", "labelled", "expected with it, share", "have it, share", "95 % interval", "expected lies"),
        [
            (
                _spoken(one),
                shown(one["films"]),
                f"{one['expected']:,.1f}, {one['expected'] / one['films']:.3f}",
                f"{one['observed']:,}, {one['observed'] / one['films']:.3f}",
                f"{one['interval95'][0]:.3f} to {one['interval95'][1]:.3f}",
                "within" if one["holds"] else "outside",
            )
            for one in found["calibration"]
        ],
        caption="Calibration: labelled films that should have a finding by their probabilities, and that have it. "
        "One of 20 such intervals misses by chance, and each is looked at every night: no alarm comes of it",
    )


def _rates(findings: Iterable[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for one in findings:
        for name, spoken in film_figures.SPOKEN_RATES.items():
            rate = one[name]
            none = rate["value"] is None
            yield (
                _spoken(one),
                spoken,
                "–" if none else f"{rate['value']:.3f}",
                "–" if none else _bounds(rate["interval95"]),
                shown(rate["successes"]),
                shown(rate["trials"]),
                _bounds(rate["calibrated"]) if rate["calibrated"] else "–",
                "–" if rate["evidence"] is None else f"{rate['evidence']:.3g}",
                Markup('<b class="bad">alarm ✗</b>') if rate["alarm"] else "",
            )


def _bounds(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _spoken(one: dict[str, Any]) -> str:
    name = str(one["finding"])
    return SPOKEN.get(name, name)
