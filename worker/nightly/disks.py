"""Room on the disks, and how fast what is kept fills it."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select

from dicom_gateway.spool import is_spool
from worker.db.span import Span
from worker.db.tables import instance

RATE_DAYS = 7
"""Most days, to the end of the day, that the rate is taken from, so that a weekend is part of it."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Room on a folder's file system, bytes."""

    free: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Room now, bytes."""

    spool: Room | None
    """None where the folder is not on this machine, like `reports`."""
    reports: Room | None
    reserve: int
    """Bytes that a film must leave free in the spool."""
    received: int
    """Bytes received on the day."""
    received_a_day: int
    """Bytes received in a day, mean of `rate_days`."""
    rate_days: float
    """Days since the first film, 1 to RATE_DAYS."""
    days_left: float | None
    """Days until the reserve is reached; None where nothing came or the spool is elsewhere."""


def storage(
    connection: Connection, span: Span, *, spool: Path | None, reports: Path | None, reserve_bytes: int
) -> Storage:
    """Room in both folders now, and how long the spool's lasts at the rate of the days before the span's end."""
    days = _rate_days(connection, span)
    rate = _bytes(connection, Span(start=span.end - timedelta(days=days), end=span.end)) / days
    room = _room(spool) if spool and is_spool(spool) else None
    return Storage(
        spool=room,
        reports=_room(reports) if reports and reports.is_dir() else None,
        reserve=reserve_bytes,
        received=_bytes(connection, span),
        received_a_day=round(rate),
        rate_days=round(days, 1),
        days_left=round(max(0, room.free - reserve_bytes) / rate, 1) if room and rate > 0 else None,
    )


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


def _room(folder: Path) -> Room:
    usage = shutil.disk_usage(folder)
    return Room(free=usage.free, total=usage.total)
