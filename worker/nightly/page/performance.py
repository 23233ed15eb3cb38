"""Live flags and probabilities against readers' labels, in the night's page."""

from collections.abc import Iterable, Iterator

from markupsafe import Markup

from model.findings import SPOKEN
from model.pages.html import figure, paragraph, table
from worker.monitoring.performance import FindingRates
from worker.nightly.night_report import NightReport
from worker.nightly.page import charts
from worker.nightly.words import shown


def section(report: NightReport) -> Iterable[Markup]:
    performance = report.performance
    if performance is None:
        yield paragraph(report.performance_missing)
        return
    rates = performance.rates
    yield paragraph(
        f"{rates.labelled:,} of the {rates.scored:,} films that bundle {performance.name} {performance.version} scored "
        f"so far have a label from a reader; readers disagree on {rates.disputed:,}."
    )
    if rates.selected:
        yield paragraph(
            "Flagged films were labelled more often than the others, so the sensitivity is too high: label a random "
            "sample too.",
            "mark",
        )
    yield figure(
        charts.rates(rates.findings),
        "Point and line: the live rate with its exact 95 % interval. Grey: where it was calibrated. A cross: it left.",
    )
    least = max((finding.sensitivity.alarm_from for finding in rates.findings), default=0)
    yield table(
        ("finding", "rate", "now", "95 % interval", "right", "of films", "calibrated", "evidence", ""),
        _rates(rates.findings),
        caption="Live flags on labelled films. Evidence that a rate left where it was calibrated raises the alarm from "
        f"{least:.0f} on",
    )
    yield table(
        ("finding", "labelled", "expected with it, share", "have it, share", "95 % interval", "expected lies"),
        [
            (
                SPOKEN.get(stated.finding, stated.finding),
                shown(stated.films),
                f"{stated.expected:,.1f}, {stated.expected / stated.films:.3f}",
                f"{stated.observed:,}, {stated.observed / stated.films:.3f}",
                _bounds(stated.interval95),
                "within" if stated.holds else "outside",
            )
            for stated in performance.calibration
        ],
        caption="Calibration: labelled films that should have a finding by their probabilities, and that have it. "
        "One of 20 such intervals misses by chance, and each is looked at every night: no alarm comes of it",
    )


def _rates(findings: Iterable[FindingRates]) -> Iterator[tuple[object, ...]]:
    for finding in findings:
        for spoken, rate in charts.named_rates(finding).items():
            value, evidence = rate.published_value, rate.published_evidence
            yield (
                SPOKEN.get(finding.finding, finding.finding),
                spoken,
                "–" if value is None else f"{value:.3f}",
                "–" if value is None else _bounds(rate.interval95),
                shown(rate.successes),
                shown(rate.trials),
                _bounds(rate.calibrated) if rate.calibrated else "–",
                "–" if evidence is None else f"{evidence:.3g}",
                Markup('<b class="bad">alarm ✗</b>') if rate.alarm else "",
            )


def _bounds(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
