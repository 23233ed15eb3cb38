"""What the relay must know of a report that its child made."""

from dataclasses import dataclass
from datetime import datetime

from worker.alarms import night_rules
from worker.alarms.rules import Condition
from worker.db.span import Span
from worker.nightly.headline import judge
from worker.nightly.night_report import MissingPart, NightReport


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """What the relay needs of a report: for the alarms, for its audit event, and for its log."""

    span: Span
    looked_at: datetime
    """What ended before this is in it."""
    level: str
    """How the night went, and in a sentence; see `headline`."""
    headline: str
    difference: int
    anchor: str | None
    page_without: tuple[MissingPart, ...]
    conditions: tuple[Condition, ...]
    rules_looked_at: frozenset[str | tuple[str, str]]
    """See `night_rules.looked_at`."""
    gone: dict[tuple[str, str], str]
    """See `night_rules.gone`."""


def summary_of(report: NightReport) -> ReportSummary:
    verdict = judge(report)
    return ReportSummary(
        span=report.span,
        looked_at=report.looked_at,
        level=verdict.level.value,
        headline=verdict.headline,
        difference=report.difference,
        anchor=report.chain.anchor,
        page_without=report.page_without,
        conditions=report.conditions,
        rules_looked_at=night_rules.looked_at(report.facts),
        gone=night_rules.gone(report.facts),
    )
