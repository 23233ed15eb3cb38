"""Rows of the audit trail that are of one film, and what ties them to the whole chain.

A row's digest is made of the digest before it and of the row's content, all in one. So a row of another film cannot be
left half out: without its content nobody can compute its digest, and its content is not ours to hand out. A pack has

- each row of the film in full, as the bytes that its digest is made of: its content cannot be another;
- of the row before and the row after it the digests alone: where they stand, two rows of a film that follow each other
  are tied, and others are tied to what the hospital's own trail holds there;
- the head of the chain at the end of each day with such a row, which the night's report of that day names too;
- the head of the whole chain when the pack was made, and what verifying all of it found then.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, select

from worker.audit import trail
from worker.audit.trail import ChainCheck
from worker.db.span import Span
from worker.db.tables import audit_event
from worker.evidence.manifest import DayHead, ManifestTrail, RowName, RowTies, TrailTies
from worker.nightly import published


@dataclass(frozen=True, kw_only=True)
class FilmTrail:
    """The rows of one film."""

    lines: bytes
    """A line for each row, oldest first: the bytes whose SHA-256 is the row's digest."""
    ties: TrailTies
    days: tuple[date, ...]
    """Of the site, on which there is a row."""


def of_film(connection: Connection, instance_id: int, zone: ZoneInfo) -> FilmTrail:
    """Everything that the trail has of a film."""
    query = select(audit_event).where(audit_event.c.instance_id == instance_id).order_by(audit_event.c.id)
    rows = connection.execute(query).all()
    days = tuple(sorted({row.at.astimezone(zone).date() for row in rows}))
    return FilmTrail(
        lines=b"".join(trail.content_of(row.previous, row._asdict()) + b"\n" for row in rows),
        ties=TrailTies(
            rows=tuple(_ties(connection, row) for row in rows),
            days=tuple(_head_of(connection, day, zone) for day in days),
        ),
        days=days,
    )


def of_chain(check: ChainCheck) -> ManifestTrail:
    """What verifying the whole chain found, without the names of other films."""
    return ManifestTrail(
        whole=not check.fault,
        rows=check.rows,
        head=check.head,
        broken_row=check.broken,
        scores_checked=check.scores.checked,
        scores_before=check.scores.before,
        scores_wrong=check.scores.wrong,
    )


def _ties(connection: Connection, row: Row[Any]) -> RowTies:
    columns = select(audit_event.c.id, audit_event.c.digest)
    before = connection.execute(columns.where(audit_event.c.id < row.id).order_by(audit_event.c.id.desc()).limit(1))
    after = connection.execute(columns.where(audit_event.c.id > row.id).order_by(audit_event.c.id).limit(1))
    return RowTies(id=row.id, digest=row.digest, before=_name(before.one_or_none()), after=_name(after.one_or_none()))


def _name(row: Row[Any, Any] | None) -> RowName | None:
    return RowName(id=row.id, digest=row.digest) if row else None


def _head_of(connection: Connection, day: date, zone: ZoneInfo) -> DayHead:
    end = Span.of_day(day, zone).end
    query = select(audit_event.c.id, audit_event.c.digest).where(audit_event.c.at < end, audit_event.c.digest != "")
    newest = connection.execute(query.order_by(audit_event.c.id.desc()).limit(1)).one_or_none()
    report = published.report_of(connection, day)
    return DayHead(day=day.isoformat(), zone=zone.key, head=_name(newest), report=report.as_dict() if report else None)
