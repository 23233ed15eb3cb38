"""Reports that were made, by the audit trail, and whether their files are still the same."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from model.digest import file_digest
from worker.alarms.rules import Condition
from worker.audit.actions import Action
from worker.db.tables import audit_event
from worker.errors import NotFound, WrongState

ACTION, GIVEN_UP, SET_BACK = Action.REPORT_MADE, Action.REPORT_FAILED, Action.REPORTS_SET_BACK
"""Audit events about a day: its report is there; is given up; the days from it on get another report."""
REPORT, PAGE, INSTANCES, REFUSED = "report.json", "report.html", "instances.csv", "refused.csv"
FILES = (PAGE, REPORT, INSTANCES, REFUSED)
"""Page and JSON name films by id alone, and refused.csv names none, so they may be sent around. instances.csv has
sop_instance_uid for whoever looks films up in the PACS: it stays in the house."""

CLOCK_SLACK = timedelta(hours=1)
"""Clocks may differ by this much before a report counts as made too early."""


@dataclass(frozen=True, kw_only=True)
class ReportRecord:
    """A report that was made, by its `report_made` event."""

    day: date
    at: datetime
    digest: str
    """SHA-256 of report.json, which names the report."""
    files: dict[str, str]
    """SHA-256 of each file."""
    difference: int
    alarms: tuple[str, ...]
    """Rules that the night broke."""
    anchor: str | None
    """The chain's head when the day ended."""
    start: datetime | None
    end: datetime | None
    """Of the time that it reports on; None of releases that did not record it, like the others."""
    looked_at: datetime | None
    """What ended before this is in it."""
    level: str = ""
    """"good", "look" or "bad"; "" of releases that did not record it, as the next."""
    headline: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "date": self.day.isoformat(),
            "made_at": self.at.isoformat(timespec="seconds"),
            "difference": self.difference,
            "alarms": list(self.alarms),
            "digest": self.digest,
            "anchor": self.anchor,
        }


@dataclass(frozen=True, kw_only=True)
class DayGivenUp:
    """A day that has no report: making it failed again and again."""

    date: str
    """ISO 8601."""
    reason: str


def reports(connection: Connection) -> list[ReportRecord]:
    """Oldest first."""
    rows = connection.execute(
        select(audit_event.c.at, audit_event.c.detail)
        .where(audit_event.c.instance_id.is_(None), audit_event.c.action == ACTION)  # the index on instance_id serves
        .order_by(audit_event.c.id)
    )
    return [
        ReportRecord(
            day=date.fromisoformat(row.detail["date"]),
            at=row.at,
            digest=row.detail["digest"],
            files=row.detail["files"],
            difference=row.detail["difference"],
            alarms=tuple(row.detail["alarms"]),
            anchor=row.detail["anchor"],
            start=_time(row.detail.get("start")),
            end=_time(row.detail.get("end")),
            looked_at=_time(row.detail.get("looked_at")),
            level=row.detail.get("level", ""),
            headline=row.detail.get("headline", ""),
        )
        for row in rows
    ]


def report_of(connection: Connection, day: date) -> ReportRecord | None:
    """The newest of this day."""
    return next((report for report in reversed(reports(connection)) if report.day == day), None)


def last_day(connection: Connection) -> date | None:
    """The newest day that has a report or was given up."""
    newest: date | None = None
    for row in _turns(connection):
        day = date.fromisoformat(row.detail["date"])
        newest = day - timedelta(days=1) if row.action == SET_BACK else max(newest or day, day)
    return newest


def first_early_day(connection: Connection, now: datetime) -> date | None:
    """The first day whose report was made at a time that has yet to come: a clock was ahead, and is right again.

    None for a day after each set back: while the clocks of two relays differ, days are not made over and over.
    """
    early: list[date] = []
    for row in _turns(connection):
        if row.action == SET_BACK:
            early = []
            if row.at > now - timedelta(days=1):
                return None
        elif row.at > now + CLOCK_SLACK:
            early.append(date.fromisoformat(row.detail["date"]))
    return min(early, default=None)


def given_up(connection: Connection, since: datetime, reports_folder: Path | None) -> tuple[DayGivenUp, ...]:
    """Days given up since then of which there is still no report."""
    have = {report.day.isoformat() for report in reports(connection)}
    return tuple(
        DayGivenUp(date=row.detail["date"], reason=row.detail["reason"])
        for row in _turns(connection)
        if row.action == GIVEN_UP
        and row.at >= since
        and row.detail["date"] not in have
        and not (reports_folder and (reports_folder / row.detail["date"] / REPORT).exists())
    )


def condition_of(missing: DayGivenUp) -> Condition:
    text = f"{missing.date} has no report: making it failed again and again ({missing.reason})"
    return Condition(rule="report_failed", subject=missing.date, value=1, threshold=0, text=text)


def lost_anchor(connection: Connection, folder: Path) -> str | None:
    """The anchor of the report in a folder, when the audit trail does not hold it: the database is an older one."""
    try:
        anchor = json.loads((folder / REPORT).read_bytes())["chain"]["anchor"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no report, or one that says nothing
    held = select(audit_event.c.id).where(audit_event.c.digest == anchor).limit(1)
    return None if anchor is None or connection.execute(held).first() else str(anchor)


def folder_of(reports_folder: Path, day: date) -> Path:
    return reports_folder / day.isoformat()


def digest_of(folder: Path) -> str:
    """SHA-256 of report.json."""
    return digests_of(folder, (REPORT,))[REPORT]


def digests_of(folder: Path, names: Sequence[str] = FILES) -> dict[str, str]:
    """SHA-256 of each file, hex. Raises OSError."""
    return {name: file_digest(folder / name) for name in names}


def replaced_folder(folder: Path, digest: str) -> Path:
    """Where a report of the same day is kept that another took the place of."""
    return folder.with_name(f"{folder.name}.replaced-{digest[:12]}")


def state_of(report: ReportRecord, folder: Path) -> str:
    """ "as made", "changed", "missing" or "replaced": its files beside their digests in the audit trail."""
    if replaced_folder(folder, report.digest).exists():
        return "replaced"
    try:
        names = tuple(report.files) or FILES  # an older release made fewer files
        return "as made" if digests_of(folder, names) == report.files else "changed"
    except OSError:
        return "missing"


def file_as_made(report: ReportRecord, reports_folder: Path, name: str) -> bytes:
    """A file of a report: the very bytes that the audit trail has the digest of.

    Raises NotFound where the report has no such file, or it is not here; WrongState where it is another than was made.
    """
    digest = report.files.get(name)
    if digest is None:
        raise NotFound(f"the report of {report.day} has no {name}")
    return as_made(folder_of(reports_folder, report.day) / name, digest)


def as_made(file: Path, digest: str) -> bytes:
    """Its content. Raises NotFound where it cannot be read, WrongState where its digest is another."""
    name = f"{file.name} of {file.parent.name}"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NotFound(f"{name} cannot be read here ({type(error).__name__}): look into XRAYQ_REPORT_FOLDER") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise WrongState(f"{name} was changed after it was made: its digest is not the audit trail's")
    return content


def _turns(connection: Connection) -> Sequence[Row[Any]]:
    """Events by which the next day is known, oldest first."""
    return connection.execute(
        select(audit_event)
        .where(audit_event.c.instance_id.is_(None), audit_event.c.action.in_((ACTION, GIVEN_UP, SET_BACK)))
        .order_by(audit_event.c.id)
    ).all()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
