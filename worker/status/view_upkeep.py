"""Lines of the view about what a person looks after: processes, spool, alarms, bundles, the nightly report."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rich.text import Text

from worker.alarms.undelivered import Outage
from worker.audit_messages.transport import WORDS
from worker.backfill.progress import Progress
from worker.reporting.not_arrived import ResultOutage
from worker.status.queries import DatabaseContent
from worker.status.snapshot import Process, Snapshot
from worker.status.upkeep import OpenAlarm
from worker.status.view_text import BAD, GOOD, QUIET, short_time, with_label, wrapped
from worker.words import counted, size

REPORT_LATE = timedelta(minutes=10)
"""Time a report is overdue, from which the view says so."""


def process_lines(process: Process, width: int) -> list[Text]:
    """Several lines where it is not ready and what to do is long."""
    style = {True: GOOD, False: BAD, None: QUIET}[process.ready]
    lines = [Text(line, style) for line in wrapped("ready" if process.ready else process.text, width)]
    lines += [Text(line, BAD) for line in wrapped(process.trouble, width)]
    return [with_label("" if number else process.role, line) for number, line in enumerate(lines)]


def spool_line(snapshot: Snapshot) -> Text:
    free, reserve = snapshot.spool.free, snapshot.spool.reserve
    if free is None:
        return with_label("spool", Text("is not there", BAD))
    return with_label("spool", Text(f"{size(free)} free, reserve {size(reserve)}", BAD if free < reserve else ""))


def alarms_line(stored: DatabaseContent) -> Text:
    known = sum(alarm.acknowledged is not None for alarm in stored.alarms)
    number = len(stored.alarms) - known
    text = Text(f"{number} open", BAD) if number else Text("none open", GOOD)
    return with_label("alarms", text.append(f", {known} acknowledged", QUIET) if known else text)


def alarm_line(alarm: OpenAlarm, now: datetime, zone: ZoneInfo) -> Text:
    since, subject = f"{short_time(alarm.raised_at, now, zone):<11}", f"{alarm.subject}  " if alarm.subject else ""
    if alarm.acknowledged:
        known = f"acknowledged: {alarm.acknowledged.why} ({alarm.acknowledged.by})"
        return Text(f"  {since}  {subject}{known}", QUIET)
    return Text.assemble("  ", (since, QUIET), f"  {subject}{alarm.text}")


def outage_lines(outage: Outage, now: datetime, zone: ZoneInfo, width: int) -> list[Text]:
    words = []
    if outage.next_at:
        words.append(
            f"{counted(outage.failing, 'message')} did not arrive, {_tried(outage.attempts)}, "
            f"next try {short_time(outage.next_at, now, zone)}"
        )
    if outage.given_up_at:
        last = short_time(outage.given_up_at, now, zone)
        words.append(f"{counted(outage.given_up, 'message')} given up, the last {last}: {outage.why}")
    lines = wrapped("; ".join(words) + ". First: xrayq alarm test", width)
    return [with_label("" if number else outage.channel, Text(line, BAD)) for number, line in enumerate(lines)]


def result_outage_lines(outage: ResultOutage, now: datetime, zone: ZoneInfo, width: int) -> list[Text]:
    words = []
    if outage.next_at:
        words.append(
            f"{counted(outage.failing, 'result')} did not arrive at {outage.destination}, {_tried(outage.attempts)}, "
            f"next try {short_time(outage.next_at, now, zone)}"
        )
    others = (
        (outage.waiting - outage.failing, "waiting"),
        (outage.unconfirmed, "sent and not confirmed"),
        (outage.given_up, "given up"),
    )
    for number, what in others:
        if number:
            where = "" if words else f" at {outage.destination}"
            words.append(f"{counted(number, 'result')} {what}{where}")
    why = f": {outage.why}" if outage.why else ""
    lines = wrapped(f"{'; '.join(words)}{why}. First: xrayq report list", width)
    return [with_label("" if number else "results", Text(line, BAD)) for number, line in enumerate(lines)]


def _tried(attempts: int) -> str:
    return f"tried up to {attempts} times" if attempts > 1 else "tried once"


def bundle_line(stored: DatabaseContent) -> Text:
    service = stored.service
    return with_label("bundle", Text(f"{service.bundle}, {service.engine or 'nothing scored yet'}"))


def shadows_lines(stored: DatabaseContent) -> list[Text]:
    return [with_label("shadows", Text(", ".join(stored.service.shadows)))] if stored.service.shadows else []


def certificate_lines(snapshot: Snapshot) -> list[Text]:
    """None without a certificate. When it becomes urgent, the alarm `certificate` says so."""
    expires = snapshot.certificate_expires
    if expires is None:
        return []
    days = (expires - snapshot.at).total_seconds() / 86400
    return [with_label("tls", Text(f"certificate good for {days:.0f} days" if days > 0 else "certificate expired"))]


def repository_lines(stored: DatabaseContent, now: datetime, zone: ZoneInfo, width: int) -> list[Text]:
    """None without an audit repository."""
    stands = stored.repository
    if stands is None:
        return []
    if not stands.failures:
        words = f"repository has all but {counted(stands.waiting, 'event')}" if stands.waiting else "repository has all"
        return [with_label("audit", Text(words))]
    since = short_time(stands.oldest_at, now, zone) if stands.oldest_at else "now"
    words = (
        f"{counted(stands.waiting, 'audit event')} waiting since {since}, {_tried(stands.failures)}: "
        f"{WORDS.get(stands.reason, stands.reason)}. First: xrayq audit messages"
    )
    lines = wrapped(words, width)
    return [with_label("" if number else "audit", Text(line, BAD)) for number, line in enumerate(lines)]


def backfill_lines(stored: DatabaseContent, now: datetime, zone: ZoneInfo, width: int) -> list[Text]:
    """None without one that has not ended, or has just ended. What needs a person is said loudly; hours and live films
    are none of it."""
    found = []
    for one in stored.backfills:
        if one.job.ended_at:
            found += [Text(line) for line in wrapped(_ended(one, one.job.ended_at, now, zone), width)]
            continue
        over = f", ends about {short_time(one.over_at, now, zone)}" if one.over_at else ""
        failed = f", {sum(one.failed.values())} failed" if one.failed else ""
        words = f"{one.job.pacs}: {counted(one.here, 'film')} fetched, {one.left} left{failed}"
        days = f", {counted(one.days_left, 'day')} not asked for yet" if one.days_left else ""
        wrong = ["rests, " + one.rests] if one.rests else one.tried_in_words()
        rests = f"; {'; '.join(wrong)}. See: xrayq backfill status" if wrong else over
        lines = wrapped(f"{words}{days}{rests}", width)
        found += [Text(line, BAD if one.needs_somebody else "") for line in lines]
    return [with_label("" if number else "backfill", line) for number, line in enumerate(found)]


def _ended(one: Progress, ended_at: datetime, now: datetime, zone: ZoneInfo) -> str:
    missing, unknown = one.left + sum(one.failed.values()), sum(one.days_failed.values())
    came = f"{one.here} of {counted(one.here + missing, 'film')} came, {missing} not"
    words = f"{one.job.pacs}: {one.job.state} {short_time(ended_at, now, zone)}, "
    words += came if missing else f"{counted(one.here, 'film')} came"
    if unknown:
        words += f", films of {counted(unknown, 'day')} not known"
    return words + (". See: xrayq backfill status" if missing or unknown else "")


def report_line(stored: DatabaseContent, now: datetime, zone: ZoneInfo) -> Text:
    nightly = stored.nightly
    made = f"of {nightly.day} made {short_time(nightly.made_at, now, zone)}" if nightly.made_at else "none made yet"
    if nightly.due_at is None:
        return with_label("report", Text(f"{made}, none is due"))
    when = short_time(nightly.due_at, now, zone)
    tries = f"failed {counted(nightly.failed, 'time')}"
    due = f"that of {nightly.due_day} {tries}, next try {when}" if nightly.failed else f"next due {when}"
    late = nightly.failed > 0 or nightly.due_at < now - REPORT_LATE
    return with_label("report", Text.assemble(f"{made}, ", (due, BAD if late else "")))
