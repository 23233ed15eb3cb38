"""What a night's report says, gathered from the database: one day of instances, by when they were received."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from worker.alarms import night_rules, undelivered
from worker.alarms.acknowledge import acknowledged_among
from worker.audit import trail, unaccounted
from worker.audit.actions import Action
from worker.audit.reconciliation import reconcile
from worker.audit.trail import ChainCheck
from worker.db.session import reading, snapshot, time_of
from worker.db.span import Span
from worker.monitoring.drift import evaluate
from worker.monitoring.drift_result import DriftOptions
from worker.monitoring.live_labels import against_labels
from worker.nightly import corrections, disks, films, marks, operations, published
from worker.nightly.night_report import Counts, NightReport
from worker.pacs import kept
from worker.pacs.options import AskOptions
from worker.receiving import orphans, refusals
from worker.reporting import not_arrived
from worker.studies import view

AGAIN_DAYS = 7
"""Days before that are reconciled again: their films may be scored, lost or changed after their own report."""
MOST_REFUSED, MOST_CODES = 100, 20
"""AEs that were refused, and codes of each, that are named; the rest is summed up."""
COMMITTED = timedelta(minutes=1)
"""After its time, an audit event is there for everybody to see."""
GIVEN_UP_FOR = timedelta(days=28)
"""So long a day without a report is named."""


@dataclass(frozen=True, kw_only=True)
class NightOptions:
    """What a report needs to know beside the database."""

    zone: ZoneInfo
    """Whose midnights begin and end a day."""
    drift: DriftOptions
    site: str = ""
    spool: Path | None = None
    reports: Path | None = None
    reserve_bytes: int = 0
    """Bytes that a film must leave free in the spool."""
    bundle: Path | None = None
    """Live while none is activated; None: the shipped reference."""
    ask: AskOptions | None = None
    """PACSs that the night asks before its report is made; the report itself asks nobody."""


def night_report(engine: Engine, day: date, options: NightOptions) -> NightReport:
    """The report of one day."""
    report = _one_look(engine, day, options, trail.verify(engine))
    labels = against_labels(engine, options.bundle)
    report = replace(report, performance=labels.performance, performance_missing=labels.missing)
    broken = (
        *night_rules.conditions(report.facts),
        *(published.condition_of(missing) for missing in report.given_up),
    )
    with reading(engine) as connection:
        return replace(report, conditions=broken, acknowledged=acknowledged_among(connection, broken))


def _one_look(engine: Engine, day: date, options: NightOptions, check: ChainCheck) -> NightReport:
    """What the database says at one moment; see `NightReport`. Without labels and rules."""
    now = time_of(engine)
    whole = Span.of_day(day, options.zone)
    span = whole.so_far(now)
    lost = orphans.orphans(engine, options.spool) if options.spool else None
    with snapshot(engine) as connection:
        before = published.report_of(connection, day - timedelta(days=1))
        wrong = unaccounted.of_day(connection, span)
        marked = marks.marked(connection, span)
        again = Span.of_day(_again_from(connection, day), options.zone).start
        return NightReport(
            day=day,
            zone=options.zone,
            span=span,
            day_over=span == whole,
            made_at=now,
            looked_at=now - COMMITTED,
            follows=before.end if before else None,
            site=options.site,
            senders=tuple(reconcile(connection, span, wrong)),
            unaccounted=tuple(wrong),
            unaccounted_before=tuple(unaccounted.of_earlier_days(connection, span, again)),
            identity_changed=corrections.identity_changes(connection, span),
            demographics_changed=corrections.demographics(connection, span),
            turnaround=films.turnaround(connection, span, options.zone),
            orphans=None if lost is None else tuple(digest[:12] for digest in lost),
            refused=_refused(connection, span, refusals.FILMS),
            contexts_refused=_refused(connection, span, refusals.CONTEXTS),
            not_associated=_refused(connection, span, refusals.ASSOCIATIONS),
            studies=view.outcomes_of(connection, span),
            scored=films.scored(connection, span),
            marked=marked,
            marks=marks.by_sender(connection, span, marked),
            distributions=films.distributions(connection, span),
            failed=films.failed(connection, span),
            late=films.late(connection, span, *((before.start, before.looked_at) if before else (None, None))),
            sources=operations.sources(connection, span),
            in_force=operations.in_force(connection, span),
            changes=operations.changes(connection, span),
            alarms=operations.alarms(connection, span),
            undelivered=undelivered.given_up(connection, span),
            outages=undelivered.outages(connection, now),
            lost_results=not_arrived.given_up(connection, span),
            result_outages=not_arrived.outages(connection),
            storage=disks.storage(
                connection,
                span,
                spool=options.spool,
                reports=options.reports,
                reserve_bytes=options.reserve_bytes,
            ),
            drift=evaluate(connection, span, options.drift),
            chain=operations.chain(connection, span, _with_lost_anchor(connection, check, day, options.reports)),
            pacs=kept.of_day(connection, day),
            given_up=published.given_up(connection, span.start - GIVEN_UP_FOR, options.reports),
            backlog=operations.backlog(connection),
            performance=None,
            performance_missing="",
        )


def _refused(connection: Connection, span: Span, action: Action) -> Counts:
    return refusals.most(refusals.of_span(connection, span, action), titles=MOST_REFUSED, codes=MOST_CODES)


def _again_from(connection: Connection, day: date) -> date:
    """The first day that is reconciled again. No film that a report named is forgotten while its alarm stands.

    The alarm stands from the first of the last reports in a row that have it.
    """
    first = day
    for report in sorted(published.reports(connection), key=lambda report: report.day, reverse=True):
        if report.day < day:
            if night_rules.UNACCOUNTED not in report.alarms:
                break
            first = report.day
    return first - timedelta(days=AGAIN_DAYS)


def _with_lost_anchor(connection: Connection, check: ChainCheck, day: date, reports: Path | None) -> ChainCheck:
    """The trail is not whole where a report of this day that stands already has an anchor that no row has."""
    anchor = published.lost_anchor(connection, published.folder_of(reports, day)) if reports else None
    if anchor is None:
        return check
    fault = f"the database is older than a report of {day} that was made already: no row has its anchor {anchor[:12]}"
    return replace(check, fault=fault)
