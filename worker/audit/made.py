"""Reports that were made, by the audit trail, and whether their files are still the same."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from worker.db.tables import audit_event

ACTION = "report_made"
REPORT, PAGE, INSTANCES = "report.json", "report.html", "instances.csv"
FILES = (PAGE, REPORT, INSTANCES)
"""Page and JSON name films by id alone, so they may be sent around. The CSV's column sop_instance_uid is for whoever
looks films up in the PACS: it stays in the house."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One `report_made` event."""

    day: date
    at: datetime
    digest: str
    """SHA-256 of report.json."""
    difference: int
    alarms: tuple[str, ...]
    """Rules that the night broke."""
    anchor: str | None
    """The chain's head when the day ended."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "date": self.day.isoformat(),
            "made_at": self.at.isoformat(timespec="seconds"),
            "difference": self.difference,
            "alarms": list(self.alarms),
            "digest": self.digest,
            "anchor": self.anchor,
        }


def reports(connection: Connection) -> list[Made]:
    """Oldest first."""
    rows = connection.execute(
        select(audit_event.c.at, audit_event.c.detail)
        .where(audit_event.c.instance_id.is_(None), audit_event.c.action == ACTION)  # the index on instance_id serves
        .order_by(audit_event.c.id)
    )
    return [
        Made(
            day=date.fromisoformat(row.detail["date"]),
            at=row.at,
            digest=row.detail["digest"],
            difference=row.detail["difference"],
            alarms=tuple(row.detail["alarms"]),
            anchor=row.detail["anchor"],
        )
        for row in rows
    ]


def last(connection: Connection) -> date | None:
    """The newest day that has a report."""
    return max((one.day for one in reports(connection)), default=None)


def folder_of(reports_folder: Path, day: date) -> Path:
    return reports_folder / day.isoformat()


def digest_of(folder: Path) -> str:
    return hashlib.sha256((folder / REPORT).read_bytes()).hexdigest()


def state_of(one: Made, folder: Path) -> str:
    """ "as made", "changed" or "missing": its report.json beside the digest in the audit trail."""
    try:
        return "as made" if digest_of(folder) == one.digest else "changed"
    except OSError:
        return "missing"
