"""A day's service around the films: who sent, what scored, which alarms stood, what waits, and the audit trail."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from worker.alarms.acknowledge import Acknowledgement
from worker.alarms.rules import USUAL_DAYS
from worker.audit.actions import Action
from worker.audit.reconciliation import CHAINED
from worker.audit.trail import ChainCheck
from worker.db.session import database_time
from worker.db.span import Span
from worker.db.tables import alarm, audit_event, instance, outbox, score
from worker.receiving import waiting
from worker.states import Role, State

CHANGES = (
    Action.BUNDLE_ACTIVATED,
    Action.BUNDLE_SHADOWED,
    Action.BUNDLE_RETIRED,
    Action.LABELS_IMPORTED,
    Action.LABELLED,
    Action.LABELS_DRAWN,
    Action.LABELS_RESET,
    Action.REFERENCE_FROZEN,
    Action.DEVICE_ACCEPTED,
    Action.DEVICE_SILENCED,
)
"""What an operator or the service changed, as the page lists it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An AE that sent a film on the day or in the USUAL_DAYS before it."""

    calling_ae: str
    last_film: datetime
    silent_hours: float
    """At the end of the day."""
    films: int
    """Of the day."""
    usual: float | None
    """Films of a day, mean of the days before since its first; None on its first day."""


@dataclass(frozen=True, kw_only=True)
class InForce:
    """What wrote scores on the day."""

    bundle_digest: str
    role: Role
    engine: str
    software_version: str
    scores: int


@dataclass(frozen=True, kw_only=True)
class ServiceChange:
    """An audit event of the day that changed what is in force."""

    at: datetime
    action: str
    actor: str
    detail: dict[str, Any]
    """The event's detail, as the audit trail has it."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat()}


@dataclass(frozen=True, kw_only=True)
class DayAlarm:
    """An alarm that stood at some time of the day."""

    rule: str
    subject: str
    value: float
    text: str
    raised_at: datetime
    cleared_at: datetime | None
    """None: it still stands."""
    acknowledged: Acknowledgement | None
    open_at_end: bool
    """Of the day."""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Films that wait now."""

    waiting: int
    oldest_seconds: int | None
    """None where none waits."""


@dataclass(frozen=True, kw_only=True)
class DayChain:
    """The whole audit trail as verified, and the day's anchor in it."""

    check: ChainCheck
    anchor: str | None
    """The trail's head when the day ended, None if nothing was audited before."""

    def as_dict(self) -> dict[str, Any]:
        return self.check.as_dict() | {"anchor": self.anchor}


def sources(connection: Connection, span: Span) -> tuple[Source, ...]:
    """Who sends, by AE title."""
    of_day = instance.c.received_at >= span.start
    begin = span.start - timedelta(days=USUAL_DAYS)
    rows = connection.execute(
        select(
            instance.c.calling_ae,
            func.max(instance.c.received_at).label("last"),
            func.sum(case((of_day, 1), else_=0)).label("films"),
            func.count().label("all"),
            func.min(instance.c.received_at).label("first"),
        )
        .where(
            instance.c.received_at >= begin,
            instance.c.received_at < span.end,
            instance.c.is_film,
            instance.c.admitted,
            ~instance.c.backfilled,
        )
        .group_by(instance.c.calling_ae)
        .order_by(instance.c.calling_ae)
    )
    return tuple(
        Source(
            calling_ae=row.calling_ae,
            last_film=row.last,
            silent_hours=round((span.end - row.last).total_seconds() / 3600, 1),
            films=int(row.films),
            usual=_usual(row.all - int(row.films), row.first, span),
        )
        for row in rows
    )


def _usual(films: int, first: datetime, span: Span) -> float | None:
    days = (span.start - first) / timedelta(days=1)
    return round(films / max(1.0, days), 1) if films else None


def in_force(connection: Connection, span: Span) -> tuple[InForce, ...]:
    """Each bundle, role, engine and version that wrote scores in the span."""
    columns = (score.c.bundle_digest, score.c.role, score.c.engine, score.c.software_version)
    rows = connection.execute(
        select(*columns, func.count().label("scores"))
        .where(span.covers(score.c.scored_at))
        .group_by(*columns)
        .order_by(*columns)
    )
    return tuple(InForce(**dict(row._mapping) | {"role": Role(row.role)}) for row in rows)


def changes(connection: Connection, span: Span) -> tuple[ServiceChange, ...]:
    """The events of CHANGES in the span, oldest first; labels that one reader gave one by one are one change, at the
    time of the last."""
    rows = connection.execute(
        select(audit_event)
        .where(span.covers(audit_event.c.at), audit_event.c.action.in_(CHANGES))
        .order_by(audit_event.c.id)
    )
    found: dict[object, ServiceChange] = {}
    for row in rows:
        change = ServiceChange(at=row.at, action=row.action, actor=row.actor, detail=row.detail)
        if row.action != Action.LABELLED:
            found[row.id] = change
            continue
        before = found.pop(row.actor, None)  # to stand where its last one does
        labels, blind = (before.detail["labels"], before.detail["blind"]) if before else (0, 0)
        detail = {"labels": labels + 1, "blind": blind + bool(row.detail["blind"])}
        found[row.actor] = replace(change, detail=detail)
    return tuple(found.values())


def alarms(connection: Connection, span: Span) -> tuple[DayAlarm, ...]:
    """Oldest first."""
    stood = and_(alarm.c.raised_at < span.end, or_(alarm.c.cleared_at.is_(None), alarm.c.cleared_at >= span.start))
    rows = connection.execute(select(alarm).where(stood).order_by(alarm.c.raised_at, alarm.c.id))
    return tuple(
        DayAlarm(
            rule=row.rule,
            subject=row.subject,
            value=row.value,
            text=row.text,
            raised_at=row.raised_at,
            cleared_at=row.cleared_at,
            acknowledged=Acknowledgement.of_row(row.acknowledged) if row.acknowledged else None,
            open_at_end=row.cleared_at is None or row.cleared_at >= span.end,
        )
        for row in rows
    )


def backlog(connection: Connection) -> Backlog:
    """Films in state received at this moment, and since when the oldest waits."""
    number = connection.execute(
        select(func.count())
        .select_from(instance)
        .join(outbox, outbox.c.instance_id == instance.c.id)
        .where(instance.c.state == State.RECEIVED, ~instance.c.backfilled)
    ).scalar_one()
    oldest = waiting.oldest(connection)
    seconds = max(0, round((database_time(connection) - oldest).total_seconds())) if oldest else None
    return Backlog(waiting=number, oldest_seconds=seconds)


def chain(connection: Connection, span: Span, check: ChainCheck) -> DayChain:
    """What verifying found, with the digest of the newest event before the span's end."""
    before = (audit_event.c.at < span.end) & CHAINED
    newest = select(audit_event.c.digest).where(before).order_by(audit_event.c.id.desc()).limit(1)
    return DayChain(check=check, anchor=connection.execute(newest).scalar_one_or_none())
