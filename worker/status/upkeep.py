"""What a person looks after: open alarms, the bundle in service, the nightly report."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from worker.alarms.acknowledge import Acknowledgement
from worker.bundles.roles import PlacedBundle, in_service
from worker.db.scores import IS_LIVE
from worker.db.tables import alarm, audit_event, errand, score
from worker.queue import lease
from worker.queue.errands import Kind


@dataclass(frozen=True, kw_only=True)
class OpenAlarm:
    rule: str
    subject: str
    text: str
    raised_at: datetime
    acknowledged: Acknowledgement | None
    """An acknowledged alarm needs nobody."""


@dataclass(frozen=True, kw_only=True)
class InService:
    bundle: str
    """Name, version and twelve characters of the digest."""
    shadows: tuple[str, ...]
    engine: str | None
    """The engine of the last live score."""
    scored_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class NightlyReport:
    made_at: datetime | None
    day: str
    """Day of the last report, "" where there is none."""
    due_day: str
    """Day of the report that comes next, "" where none is due."""
    due_at: datetime | None
    """When the next try is due, where it failed."""
    failed: int
    """Attempts so far."""


def read_open_alarms(connection: Connection) -> tuple[OpenAlarm, ...]:
    rows = connection.execute(
        select(alarm.c.rule, alarm.c.subject, alarm.c.text, alarm.c.raised_at, alarm.c.acknowledged)
        .where(alarm.c.cleared_at.is_(None))
        .order_by(alarm.c.acknowledged.is_not(None), alarm.c.raised_at.desc(), alarm.c.id.desc())
    )
    return tuple(
        OpenAlarm(
            rule=row.rule,
            subject=row.subject,
            text=row.text,
            raised_at=row.raised_at,
            acknowledged=Acknowledgement.of_row(row.acknowledged) if row.acknowledged else None,
        )
        for row in rows
    )


def bundles_in_service(connection: Connection, default: str) -> InService:
    live, shadows = in_service(connection)
    newest = connection.execute(
        select(score.c.engine, score.c.scored_at).where(IS_LIVE).order_by(score.c.id.desc()).limit(1)
    ).one_or_none()
    return InService(
        bundle=named(live) if live else default,
        shadows=tuple(map(named, shadows)),
        engine=newest.engine if newest else None,
        scored_at=newest.scored_at if newest else None,
    )


def nightly_report(connection: Connection) -> NightlyReport:
    report = connection.execute(
        select(audit_event.c.at, audit_event.c.detail)
        # Few rows are about no film, and the index on instance_id finds them: no look through years of the trail.
        .where(audit_event.c.instance_id.is_(None), audit_event.c.action == "report_made")
        .order_by(audit_event.c.id.desc())
        .limit(1)
    ).one_or_none()
    due = connection.execute(
        select(errand.c.key, errand.c.next_attempt_at, errand.c.attempts, errand.c.lease_until)
        .where(errand.c.kind == Kind.NIGHT)
        .order_by(errand.c.next_attempt_at)
        .limit(1)
    ).one_or_none()
    return NightlyReport(
        made_at=report.at if report else None,
        day=str(report.detail.get("date", "")) if report else "",
        due_day=due.key if due else "",
        due_at=due.next_attempt_at if due else None,
        failed=lease.failed_attempts(due) if due else 0,
    )


def named(bundle: PlacedBundle) -> str:
    return f"{bundle.name} {bundle.version} ({bundle.digest[:12]})"
