"""Everything a night's report says, as JSON-ready values: one day of instances, by when they were received."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from worker import drift, refusals, trail
from worker.alarms import nightly
from worker.alarms.rules import Condition
from worker.audit import films, made, service, unaccounted
from worker.audit.live import against_labels
from worker.audit.reconciliation import Span, reconcile
from worker.db.session import snapshot, time_of

NOTICE = "Research software, not a medical device."
AGAIN_DAYS = 7
"""Days before that are reconciled again: their films may be scored, lost or changed after their own report."""
COMMITTED = timedelta(minutes=1)
"""After its time, an audit event is there for everybody to see."""
GIVEN_UP_FOR = timedelta(days=28)
"""So long a day without a report is told of."""


@dataclass(frozen=True, kw_only=True)
class Options:
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


def content(engine: Engine, day: date, options: Options) -> dict[str, Any]:
    """The report of one day.

    Keys:
        date, zone, start, end, made_at, site
        looked_at      what ended before this is in it
        follows        where the report of the day before ends: another time than `start` where the zone was changed;
                       None without one
        senders        as `reconciliation.Sender.as_dict`
        difference     sum over senders, of what is not accounted for, without sign
        unaccounted    the instances behind it: id, calling_ae, why
        unaccounted_before      the same, of films that were received before this day
        refused        C-STOREs answered with an error, which were not received: AE -> status -> count
        hours          24 (23, 25) x {"hour", "received", "scored", "seconds": {"p50", "p95", "p99"} or None}
        seconds        percentiles of the day, received to scored; None without a score
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
        alarms         that stood at some time of the day; see `service.alarms`
        storage        see `service.storage`
        drift          see `drift.evaluate`
        chain          {"whole", "rows", "unchained", "head", "broken", "fault"} of the whole trail, and
                       "anchor", its head at the end of the day
        backlog        {"waiting", "oldest_seconds"} now
        given_up       days of the last weeks that have no report; see `made.given_up`
        page_without   parts that report.html lacks, [{"part", "reason"}]; see `page.render`

    Films are named by their instance ids alone; no UID is in it.
    """
    span = Span.of_day(day, options.zone)
    verdict = trail.verify(engine)
    looked_at = time_of(engine) - COMMITTED
    with snapshot(engine) as connection:
        before = made.of(connection, day - timedelta(days=1))
        wrong = unaccounted.of_day(connection, span)
        senders = reconcile(connection, span, wrong)
        again = Span.of_day(_again_from(connection, day), options.zone).start
        flagged = films.flagged(connection, span)
        found = {
            "date": day.isoformat(),
            "zone": options.zone.key,
            "start": span.start.isoformat(),
            "end": span.end.isoformat(),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "looked_at": looked_at.isoformat(),
            "follows": before.end.isoformat() if before and before.end else None,
            "site": options.site,
            "notice": NOTICE,
            "senders": [sender.as_dict() for sender in senders],
            "difference": sum(abs(sender.difference) for sender in senders),
            "unaccounted": [one.as_dict() for one in wrong],
            "unaccounted_before": [one.as_dict() for one in unaccounted.of_earlier_days(connection, span, again)],
            **films.turnaround(connection, span, options.zone),
            "refused": refusals.of_span(connection, span),
            "flags": {
                "scored": films.scored(connection, span),
                "flagged": len(flagged),
                "by_finding": dict(Counter(name for one in flagged for name in one["flags"])),
            },
            "flagged": flagged,
            "distributions": films.distributions(connection, span),
            "failed": films.failed(connection, span),
            "late": films.late(connection, span, *((before.start, before.looked_at) if before else (None, None))),
            "sources": service.sources(connection, span),
            "in_force": service.in_force(connection, span),
            "changes": service.changes(connection, span),
            "alarms": service.alarms(connection, span),
            "storage": service.storage(
                connection,
                span,
                spool=options.spool,
                reports=options.reports,
                reserve_bytes=options.reserve_bytes,
            ),
            "drift": drift.evaluate(connection, span, options.drift),
            "chain": service.chain(connection, span, verdict) | _older(connection, day, options.reports),
            "given_up": made.given_up(connection, span.start - GIVEN_UP_FOR, options.reports),
            "backlog": service.backlog(connection),
        }
    found |= against_labels(engine, options.bundle)
    broken: list[Condition] = [*nightly.conditions(found), *drift.conditions(found["drift"])]
    broken += [made.condition(one["date"], one["reason"]) for one in found["given_up"]]
    return found | {"conditions": [asdict(one) for one in broken], "page_without": []}


def _again_from(connection: Connection, day: date) -> date:
    """The first day that is reconciled again. No film that a report named is forgotten while its alarm stands.

    The alarm stands from the first of the last reports in a row that have it.
    """
    first = day
    for report in sorted(made.reports(connection), key=lambda one: one.day, reverse=True):
        if report.day < day:
            if nightly.UNACCOUNTED not in report.alarms:
                break
            first = report.day
    return first - timedelta(days=AGAIN_DAYS)


def _older(connection: Connection, day: date, reports: Path | None) -> dict[str, Any]:
    """What a report of this day that stands already says of the trail: changes to `service.chain`."""
    anchor = made.lost_anchor(connection, made.folder_of(reports, day)) if reports else None
    if anchor is None:
        return {}
    fault = f"the database is older than a report of {day} that was made already: no row has its anchor {anchor[:12]}"
    return {"whole": False, "fault": fault}
