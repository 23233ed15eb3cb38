"""A day's service around the films: who sent, what scored, which alarms, how much room, and the audit trail."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from dicom_gateway.spool import is_spool
from worker.alarms.acknowledge import Acknowledgement
from worker.alarms.rules import USUAL_DAYS
from worker.audit.reconciliation import CHAINED
from worker.audit.trail import ChainCheck
from worker.db.session import database_time
from worker.db.span import Span
from worker.db.tables import alarm, audit_event, instance, outbox, score
from worker.states import State

CHANGES = ("bundle_activated", "bundle_shadowed", "bundle_retired", "labels_imported", "reference_frozen")
RATE_DAYS = 7
"""At most, to the end of the day, so that a weekend is part of the rate at which the spool fills."""


def sources(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Every AE that sent a film on the day or in the USUAL_DAYS before it.

    Keys: calling_ae, last_film (time), silent_hours (at the end of the day), films (of the day), usual (films of a day,
    mean of the days before since its first; None on its first day).
    """
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
        .where(instance.c.received_at >= begin, instance.c.received_at < span.end, instance.c.is_film)
        .group_by(instance.c.calling_ae)
        .order_by(instance.c.calling_ae)
    )
    return [
        {
            "calling_ae": row.calling_ae,
            "last_film": row.last.isoformat(timespec="seconds"),
            "silent_hours": round((span.end - row.last).total_seconds() / 3600, 1),
            "films": int(row.films),
            "usual": _usual(row.all - int(row.films), row.first, span),
        }
        for row in rows
    ]


def _usual(films: int, first: datetime, span: Span) -> float | None:
    days = (span.start - first) / timedelta(days=1)
    return round(films / max(1.0, days), 1) if films else None


def in_force(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """What wrote scores on the day."""
    columns = (score.c.bundle_digest, score.c.role, score.c.engine, score.c.software_version)
    rows = connection.execute(
        select(*columns, func.count().label("scores"))
        .where(span.covers(score.c.scored_at))
        .group_by(*columns)
        .order_by(*columns)
    )
    return [dict(row._mapping) for row in rows]


def changes(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Audit events of the day that changed what is in force."""
    rows = connection.execute(
        select(audit_event)
        .where(span.covers(audit_event.c.at), audit_event.c.action.in_(CHANGES))
        .order_by(audit_event.c.id)
    )
    return [{"at": row.at.isoformat(), "action": row.action, "actor": row.actor, "detail": row.detail} for row in rows]


def alarms(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Alarms that stood at some time of the day, oldest first.

    Keys: rule, subject, value, text, raised_at, cleared_at (None: it still stands), acknowledged (at, by, why, or
    None), open_at_end (of the day).
    """
    stood = and_(alarm.c.raised_at < span.end, or_(alarm.c.cleared_at.is_(None), alarm.c.cleared_at >= span.start))
    rows = connection.execute(select(alarm).where(stood).order_by(alarm.c.raised_at, alarm.c.id))
    return [
        {
            "rule": row.rule,
            "subject": row.subject,
            "value": row.value,
            "text": row.text,
            "raised_at": row.raised_at.isoformat(timespec="seconds"),
            "cleared_at": row.cleared_at.isoformat(timespec="seconds") if row.cleared_at else None,
            "acknowledged": Acknowledgement.of_row(row.acknowledged).as_dict() if row.acknowledged else None,
            "open_at_end": row.cleared_at is None or row.cleared_at >= span.end,
        }
        for row in rows
    ]


def backlog(connection: Connection) -> dict[str, Any]:
    """Films that wait now: how many, and since when the oldest."""
    number, oldest = connection.execute(
        select(func.count(), func.min(instance.c.received_at))
        .select_from(instance)
        .join(outbox, outbox.c.instance_id == instance.c.id)
        .where(instance.c.state == State.RECEIVED)
    ).one()
    return {
        "waiting": number,
        "oldest_seconds": max(0, round((database_time(connection) - oldest).total_seconds())) if oldest else None,
    }


def storage(
    connection: Connection, span: Span, *, spool: Path | None, reports: Path | None, reserve_bytes: int
) -> dict[str, Any]:
    """Room on the disks now, and how fast what is kept fills it, bytes.

    Keys: spool and reports, each {"free", "total"} or None where the folder is not on this machine; reserve;
    received (on the day); received_a_day (mean of rate_days); rate_days (since the first film, 1 to RATE_DAYS);
    days_left until the reserve, None where nothing came or the spool is elsewhere.
    """
    days = _rate_days(connection, span)
    rate = _bytes(connection, Span(start=span.end - timedelta(days=days), end=span.end)) / days
    room = _disk(spool) if spool and is_spool(spool) else None
    known = room is not None and rate > 0
    return {
        "spool": room,
        "reports": _disk(reports) if reports and reports.is_dir() else None,
        "reserve": reserve_bytes,
        "received": _bytes(connection, span),
        "received_a_day": round(rate),
        "rate_days": round(days, 1),
        "days_left": round(max(0, room["free"] - reserve_bytes) / rate, 1) if room and known else None,
    }


def chain(connection: Connection, span: Span, verdict: ChainCheck) -> dict[str, Any]:
    """The whole trail, as verified, and the anchor: its head when the day ended, None if nothing was audited before."""
    before = (audit_event.c.at < span.end) & CHAINED
    newest = select(audit_event.c.digest).where(before).order_by(audit_event.c.id.desc()).limit(1)
    return verdict.as_dict() | {"anchor": connection.execute(newest).scalar_one_or_none()}


def _rate_days(connection: Connection, span: Span) -> float:
    """A service that is new has no week yet, and its first hour is no day."""
    first = connection.execute(select(func.min(instance.c.received_at))).scalar_one()
    days = (span.end - first) / timedelta(days=1) if first else RATE_DAYS
    return min(max(days, 1.0), RATE_DAYS)


def _bytes(connection: Connection, span: Span) -> int:
    total = connection.execute(
        select(func.sum(instance.c.size)).where(span.covers(instance.c.received_at), instance.c.in_spool)
    ).scalar_one()
    return int(total or 0)


def _disk(folder: Path) -> dict[str, int]:
    """Of the folder's file system."""
    usage = shutil.disk_usage(folder)
    return {"free": usage.free, "total": usage.total}
