"""Everything a night's report says, as JSON-ready values: one day of instances, by when they were received."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from model.notice import NOTICE
from worker.alarms import acknowledge, night_rules, undelivered
from worker.alarms.rules import Condition
from worker.audit import trail, unaccounted
from worker.audit.reconciliation import reconcile
from worker.db.session import reading, snapshot, time_of
from worker.db.span import Span
from worker.monitoring import drift
from worker.monitoring.live_labels import against_labels
from worker.nightly import corrections, films, operations, published
from worker.receiving import orphans, refusals

AGAIN_DAYS = 7
"""Days before that are reconciled again: their films may be scored, lost or changed after their own report."""
MOST_REFUSED, MOST_CODES = 100, 20
"""AEs that were refused, and codes of each, that are named; the rest is summed up."""
COMMITTED = timedelta(minutes=1)
"""After its time, an audit event is there for everybody to see."""
GIVEN_UP_FOR = timedelta(days=28)
"""So long a day without a report is told of."""


@dataclass(frozen=True, kw_only=True)
class NightOptions:
    """What a report needs to know beside the database."""

    zone: ZoneInfo
    """Whose midnights begin and end a day."""
    drift: drift.DriftOptions
    site: str = ""
    spool: Path | None = None
    reports: Path | None = None
    reserve_bytes: int = 0
    """Of the spool: a film must leave so much."""
    bundle: Path | None = None
    """Live while none is activated; None: the shipped reference."""


def night_content(engine: Engine, day: date, options: NightOptions) -> dict[str, Any]:
    """The report of one day.

    Keys:
        date, zone, made_at, site
        start, end     of the time that it reports on
        day_over       False where the day runs: then `end` is when it was looked at, and a later report has more
        looked_at      what ended before this is in it
        follows        where the report of the day before ends: another time than `start` where the zone was changed;
                       None without one
        senders        as `reconciliation.Sender.as_dict`
        difference     sum over senders, of what is not accounted for, without sign
        unaccounted    the instances behind it: id, calling_ae, why
        unaccounted_before      the same, of films that were received before this day
        identity_changed        films that came again with another identity; see `corrections.of_day`
        demographics_changed    films sent again with another name of the same Patient ID: AE -> count
        refused        C-STOREs answered with an error, which were not received: AE -> status -> count
        contexts_refused        presentation contexts that were not accepted: AE -> SOP class, and why where it is not
                       the class -> count
        not_associated peers that were not let in: AE -> reason -> count; all three see `refusals.most`
        orphans        digests of films of the spool that are not in the database, the first twelve digits of each;
                       None where this process does not see the spool; see `orphans.orphans`
        hours          24 (23, 25) x {"hour", "received", "scored", "seconds": {"p50", "p95", "p99"} or None}, seconds
                       of those scored; of an hour that comes twice with its offset
        seconds        {"films", "p50", "p95", "p99"} of the day, received to scored, of all that are to be scored; a
                       share that falls among those that wait or failed is None. None without such a film
        untimed        films scored before they came, by clocks that differed: not in the percentiles
        throughput     {"received_in_an_hour", "busiest_hour", "scored_in_a_minute", "busiest_minute"}
        flags          {"scored", "flagged", "by_finding"}
        flagged        instance ids with their flags
        distributions  the day's live probabilities; see `films.distributions`
        failed         dead letters: id, calling_ae, reason, received_at
        late           films of days before that ended on this one; see `films.late`
        sources        who sends, and who fell silent; see `service.sources`
        in_force       [{"bundle_digest", "engine", "software_version", "role", "scores"}]
        changes        audit events of the day that changed what is in force
        performance, performance_missing    of the live bundle; see `live.against_labels`
        conditions     rules that this day breaks, as `rules.Condition`
        acknowledged   conditions that somebody knows of: rule, subject, at, by, why
        alarms         that stood at some time of the day; see `service.alarms`
        undelivered    messages about alarms that were given up on the day; see `alarms.undelivered.given_up`
        outages        channels on which messages do not arrive now, as `alarms.undelivered.Outage`
        storage        see `service.storage`
        drift          see `drift.evaluate`
        chain          {"whole", "rows", "head", "broken", "fault"} of the whole trail, and
                       "anchor", its head at the end of the day
        backlog        {"waiting", "oldest_seconds"} now
        given_up       days of the last weeks that have no report; see `made.given_up`
        page_without   parts that report.html lacks, [{"part", "reason"}]; see `page.render`

    Films are named by their instance ids alone; no UID is in it.
    """
    verdict = trail.verify(engine)
    now = time_of(engine)
    whole = Span.of_day(day, options.zone)
    span = whole.so_far(now)
    lost = orphans.orphans(engine, options.spool) if options.spool else None
    with snapshot(engine) as connection:
        before = published.of(connection, day - timedelta(days=1))
        wrong = unaccounted.of_day(connection, span)
        senders = reconcile(connection, span, wrong)
        again = Span.of_day(_again_from(connection, day), options.zone).start
        flagged = films.flagged(connection, span)
        found = {
            "date": day.isoformat(),
            "zone": options.zone.key,
            "start": span.start.isoformat(),
            "end": span.end.isoformat(),
            "day_over": span == whole,
            "made_at": now.isoformat(timespec="seconds"),
            "looked_at": (now - COMMITTED).isoformat(),
            "follows": before.end.isoformat() if before and before.end else None,
            "site": options.site,
            "notice": NOTICE,
            "senders": [sender.as_dict() for sender in senders],
            "difference": sum(abs(sender.difference) for sender in senders),
            "unaccounted": [one.as_dict() for one in wrong],
            "unaccounted_before": [one.as_dict() for one in unaccounted.of_earlier_days(connection, span, again)],
            "identity_changed": corrections.of_day(connection, span),
            "demographics_changed": corrections.demographics(connection, span),
            **films.turnaround(connection, span, options.zone),
            "orphans": lost and [digest[:12] for digest in lost],
            "refused": _refused(connection, span, refusals.FILMS),
            "contexts_refused": _refused(connection, span, refusals.CONTEXTS),
            "not_associated": _refused(connection, span, refusals.ASSOCIATIONS),
            "flags": {
                "scored": films.scored(connection, span),
                "flagged": len(flagged),
                "by_finding": dict(Counter(name for one in flagged for name in one["flags"])),
            },
            "flagged": flagged,
            "distributions": films.distributions(connection, span),
            "failed": films.failed(connection, span),
            "late": films.late(connection, span, *((before.start, before.looked_at) if before else (None, None))),
            "sources": operations.sources(connection, span),
            "in_force": operations.in_force(connection, span),
            "changes": operations.changes(connection, span),
            "alarms": operations.alarms(connection, span),
            "undelivered": undelivered.given_up(connection, span),
            "outages": [one.as_dict() for one in undelivered.outages(connection, now)],
            "storage": operations.storage(
                connection,
                span,
                spool=options.spool,
                reports=options.reports,
                reserve_bytes=options.reserve_bytes,
            ),
            "drift": drift.evaluate(connection, span, options.drift),
            "chain": operations.chain(connection, span, verdict) | _older(connection, day, options.reports),
            "given_up": published.given_up(connection, span.start - GIVEN_UP_FOR, options.reports),
            "backlog": operations.backlog(connection),
        }
    found |= against_labels(engine, options.bundle)
    broken: list[Condition] = [*night_rules.conditions(found), *night_rules.drift_conditions(found["drift"])]
    broken += [published.condition(one["date"], one["reason"]) for one in found["given_up"]]
    with reading(engine) as connection:
        known = acknowledge.of(connection, broken)
    return found | {"conditions": [asdict(one) for one in broken], "acknowledged": known, "page_without": []}


def _refused(connection: Connection, span: Span, action: str) -> dict[str, dict[str, int]]:
    return refusals.most(refusals.of_span(connection, span, action), titles=MOST_REFUSED, codes=MOST_CODES)


def _again_from(connection: Connection, day: date) -> date:
    """The first day that is reconciled again. No film that a report named is forgotten while its alarm stands.

    The alarm stands from the first of the last reports in a row that have it.
    """
    first = day
    for report in sorted(published.reports(connection), key=lambda one: one.day, reverse=True):
        if report.day < day:
            if night_rules.UNACCOUNTED not in report.alarms:
                break
            first = report.day
    return first - timedelta(days=AGAIN_DAYS)


def _older(connection: Connection, day: date, reports: Path | None) -> dict[str, Any]:
    """What a report of this day that stands already says of the trail: changes to `service.chain`."""
    anchor = published.lost_anchor(connection, published.folder_of(reports, day)) if reports else None
    if anchor is None:
        return {}
    fault = f"the database is older than a report of {day} that was made already: no row has its anchor {anchor[:12]}"
    return {"whole": False, "fault": fault}
