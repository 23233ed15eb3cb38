"""Reports of the night: by day, whether their files are still what was made, and the files themselves."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from starlette.responses import Response

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import reading, writing
from worker.db.span import Span
from worker.errors import NotFound, WrongState
from worker.nightly import published
from worker.nightly.published import INSTANCES, PAGE, REFUSED, REPORT, ReportRecord
from worker.web.blind import is_blind_in
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.words import counted

DAYS = 14
"""Of a page: each one's files are hashed."""
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Of report.html, which brings its styles and pictures with it."""
SANDBOXED = {"content-security-policy": REPORT_POLICY, "cross-origin-opener-policy": "unsafe-none"}
"""A browser opens no sandboxed page that asks for an opener policy (HTML 7.3.2.1)."""
TYPES = {REPORT: "application/json", REFUSED: "text/csv; charset=utf-8", INSTANCES: "text/csv; charset=utf-8"}

TELLING = (PAGE, REPORT, INSTANCES)
"""What has scores or flags of single films."""
BLIND = "This report tells of films drawn for you to label. Label your drawn films first (Reading), or ask a viewer."


@dataclass(frozen=True, kw_only=True)
class DayRow:
    """A day of the list."""

    day: date
    level: str
    """ "good", "look", "bad", or "none": no report."""
    headline: str
    made_at: datetime | None
    alarms: tuple[str, ...]
    files: tuple[str, ...]
    """That can be asked for: none of a report that another took the place of, or that is not here."""
    state: str
    """As `published.state_of`; "" of a day without one."""
    digest: str


def reports(ask: Ask) -> Response:
    """The newest days, or `?page=`."""
    folder = ask.site.options.reports
    number = max(1, int(text)) if (text := ask.query("page")).isdecimal() and len(text) < 6 else 1
    with reading(ask.site.database) as connection:
        records = published.reports(connection)[::-1]
        first = (number - 1) * DAYS
        shown = records[first : first + DAYS]
        since = shown[-1].day if shown else date.min
        until = records[first - 1].day if shown and first else None
        missing = published.given_up(connection, datetime(1, 1, 1, tzinfo=UTC), folder)
    days = [_of_report(record, folder) for record in shown]
    days += [
        _without(day, lost.reason)
        for lost in missing
        if (day := date.fromisoformat(lost.date)) >= since and (until is None or day < until)
    ]
    return ask.site.page(
        "reports.html",
        ask,
        days=sorted(days, key=lambda row: row.day, reverse=True),
        page=number,
        more=len(records) > first + DAYS,
        may_read=ask.visit.person.role.includes(WebRole.READER),
        report_page=PAGE,
        instances=INSTANCES,
        parts=tuple(TYPES),
    )


def report_page(ask: Ask) -> Response:
    """The report itself, where no script runs and nothing is loaded."""
    return Response(_content(ask, PAGE)[1], media_type="text/html; charset=utf-8", headers=SANDBOXED)


def instances_file(ask: Ask) -> Response:
    """It has UIDs, so the audit trail has who took it."""
    record, content = _content(ask, INSTANCES)
    if ask.request.method == "HEAD":  # takes nothing
        return _download(record, INSTANCES, content)
    with writing(ask.site.database) as connection:
        detail = {"date": record.day.isoformat(), "file": INSTANCES}
        trail.record(connection, action=Action.REPORT_TAKEN, instance_id=None, actor=ask.actor, detail=detail)
    return _download(record, INSTANCES, content)


def other_file(ask: Ask) -> Response:
    name = ask.path("name")
    if name not in (REPORT, REFUSED):
        raise NotFound("a report has no such file")
    record, content = _content(ask, name)
    return _download(record, name, content)


def _content(ask: Ask, name: str) -> tuple[ReportRecord, bytes]:
    """Raises NotFound; WrongState also where it would tell this reader of a film that they are to label. The file is
    given out as it was made or not at all, so nothing can be taken out of it."""
    try:
        day = date.fromisoformat(ask.path("day"))
    except ValueError:
        raise NotFound("this is no day: YYYY-MM-DD") from None
    with reading(ask.site.database) as connection:
        record = published.report_of(connection, day)
    if record is None or ask.site.options.reports is None:
        raise NotFound(f"there is no report of {day}")
    whole = Span.of_day(day, ask.site.options.zone)  # releases that recorded no times
    if name in TELLING and is_blind_in(ask, Span(start=record.start or whole.start, end=record.end or whole.end)):
        raise WrongState(BLIND)
    return record, published.file_as_made(record, ask.site.options.reports, name)


def _download(record: ReportRecord, name: str, content: bytes) -> Response:
    disposition = f'attachment; filename="{record.day}-{name}"'
    return Response(content, media_type=TYPES[name], headers={"content-disposition": disposition})


def _of_report(record: ReportRecord, folder: Path | None) -> DayRow:
    state = published.state_of(record, published.folder_of(folder, record.day)) if folder else "missing"
    level = "bad" if record.difference else "look" if record.alarms else "good"
    lost = f"{counted(record.difference, 'film')} not accounted for"
    return DayRow(
        day=record.day,
        level=record.level or level,
        headline=record.headline or (lost if record.difference else "All films accounted for"),
        made_at=record.at,
        alarms=tuple(rule.replace("_", " ") for rule in record.alarms),
        files=tuple(record.files) if state in ("as made", "changed") else (),
        state=state,
        digest=record.digest,
    )


def _without(day: date, reason: str) -> DayRow:
    return DayRow(
        day=day,
        level="none",
        headline=f"No report: making it failed again and again ({reason})",
        made_at=None,
        alarms=(),
        files=(),
        state="",
        digest="",
    )


PAGES = (
    Page(path="/reports", least=WebRole.VIEWER, answer=reports),
    Page(path="/reports/{day}/report.html", least=WebRole.VIEWER, answer=report_page),
    Page(path="/reports/{day}/instances.csv", least=WebRole.READER, answer=instances_file, part=True),
    Page(path="/reports/{day}/{name}", least=WebRole.VIEWER, answer=other_file, part=True),
)
