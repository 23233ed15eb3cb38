"""Live rules of what others are owed, and owe us: results, storage commitment, audit messages, films, certificates."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from dicom_gateway.errors import BadCertificate
from dicom_gateway.tls import facts_of
from worker.alarms.limits import AlarmLimits, clock
from worker.alarms.rules import USUAL_DAYS, Condition
from worker.audit_messages import feed
from worker.audit_messages.transport import WORDS
from worker.committing.listing import unreported
from worker.pacs import kept
from worker.pacs.words import reasons_in_words
from worker.reporting import not_arrived
from worker.reporting.not_arrived import LateResults
from worker.words import counted

DAY, HOUR = timedelta(hours=24), timedelta(hours=1)
MOST_ABOUT = 1000
"""Missing films that an alarm keeps by id; of more, their number says that there are others."""
SUBJECT = 64
"""Characters of an alarm's subject; the name of a destination may have 128."""
MOST_SENDERS = 20
"""AEs that have an alarm of their own."""


def report_undelivered(connection: Connection, limits: AlarmLimits, now: datetime) -> Iterator[Condition]:
    """One for each destination. What was given up counts until it is sent again, or confirmed after all."""
    late = not_arrived.late(connection, now - timedelta(minutes=limits.result_minutes))
    by_subject: dict[str, list[LateResults]] = {}
    for found in late:
        by_subject.setdefault(found.destination[:SUBJECT], []).append(found)
    for subject, of_subject in by_subject.items():
        oldest = min(found.oldest for found in of_subject)
        yield Condition(
            rule="report_undelivered",
            subject=subject,
            value=round((now - oldest).total_seconds() / 60),
            threshold=limits.result_minutes,
            text=f"{not_arrived.in_words(of_subject)}, the oldest of {clock(oldest, limits.zone)}",
        )


def not_received(connection: Connection, limits: AlarmLimits, now: datetime) -> Iterator[Condition]:
    """One for each PACS; over when the films are here."""
    first = now.astimezone(limits.zone).date() - timedelta(days=USUAL_DAYS)
    for found in kept.still_missing(connection, first, MOST_ABOUT):
        if found.films >= limits.not_received:
            yield Condition(
                rule="not_received",
                subject=found.pacs,
                value=found.films,
                threshold=limits.not_received,
                text=f"{counted(found.films, 'film')} that {found.pacs} has did not come: "
                f"{reasons_in_words(found.reasons)}; the oldest of {found.oldest}",
                about=tuple(map(str, found.ids)),
            )


def certificate(certificate: Path | None, days: float, now: datetime) -> Iterator[Condition]:
    """`about` is when it expires: a new one that expires soon as well raises an acknowledged alarm again."""
    if certificate is None:
        return
    try:
        facts = facts_of(certificate)
    except BadCertificate as error:
        text = str(error).replace(str(certificate), certificate.name)  # a mail tells nobody how our disks are laid out
        yield Condition(rule="certificate", value=0, threshold=days, text=text[:500])
        return
    left = facts.days_left(now)
    if left < days:
        when = f"expires in {left:.0f} days, on" if left > 0 else "expired on"
        yield Condition(
            rule="certificate",
            value=round(left, 1),
            threshold=days,
            text=f"the certificate for TLS {when} {facts.expires:%Y-%m-%d}",
            about=(facts.expires.isoformat(),),
        )


def audit_repository(connection: Connection, limits: AlarmLimits, now: datetime) -> Iterator[Condition]:
    if limits.audit_minutes is None or (stands := feed.standing(connection)) is None or stands.oldest_at is None:
        return
    minutes = stands.behind_seconds(now) / 60
    if minutes > limits.audit_minutes:
        why = f": {WORDS.get(stands.reason, stands.reason)}" if stands.reason else ""
        yield Condition(
            rule="audit_repository",
            value=round(minutes),
            threshold=limits.audit_minutes,
            text=f"the audit repository has nothing since {clock(stands.oldest_at, limits.zone)}{why}",
        )


def commitment_unreported(connection: Connection, limits: AlarmLimits, now: datetime) -> Iterator[Condition]:
    """One for each AE, of the first MOST_SENDERS: an AE title is a stranger's word."""
    for found in unreported(connection, late=now - HOUR, given_up=now - DAY)[:MOST_SENDERS]:
        yield Condition(
            rule="commitment_unreported",
            subject=found.calling_ae,
            value=round((now - found.oldest).total_seconds() / 60),
            threshold=HOUR.total_seconds() / 60,
            text=f"{counted(found.requests, 'request')} of {found.calling_ae} for storage commitment not reported on, "
            f"the oldest of {clock(found.oldest, limits.zone)}",
        )
