"""The rules that do not wait for the night: looked at in the database and on the spool's file system.

Films that a backfill fetched raise none: they may wait, and a backfill whose films fail rests and says so.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from dicom_gateway.spool import MEBIBYTE, free_bytes
from worker.alarms import ledger, outside_rules, silence
from worker.alarms.change import Change
from worker.alarms.limits import AlarmLimits, clock
from worker.alarms.rules import BY_ID, Condition
from worker.audit.actions import Action
from worker.db.session import database_time, reading, writing
from worker.db.span import Span
from worker.db.tables import errand, instance
from worker.peers.quarantine import held_senders
from worker.queue.errands import Kind
from worker.queue.outbox import ahead
from worker.receiving import refusals, waiting
from worker.states import State
from worker.words import counted, size

DAY, HOUR = timedelta(hours=24), timedelta(hours=1)
NAMED_REASONS, NAMED_CLASSES = 5, 2
MOST_REFUSED, MOST_CODES = 20, 100
"""AEs that have an alarm of their own for refusals, the others share one; and codes of each. Both are a stranger's
words."""


@dataclass(frozen=True, kw_only=True)
class LiveConditions:
    """What one look found."""

    rules: frozenset[str | tuple[str, str]]
    """Rules that could be looked at."""
    conditions: tuple[Condition, ...]
    gone: dict[tuple[str, str], str]
    """Open alarms whose AE is gone."""


def watch(
    engine: Engine, limits: AlarmLimits, channels: Collection[Kind], free_mib: Callable[[], float | None] | None = None
) -> list[Change]:
    """Look, and where there is something to settle, look and settle in one transaction.

    The first look holds up no writer. The second keeps a relay from acting on what another has overtaken.

    Args:
        free_mib: of the spool, or TimeoutError where its file system hangs; None: asked for here and waited for.
    """
    try:
        free = free_mib() if free_mib else spool_free_mib(limits.spool)
    except TimeoutError:
        free = None  # the other rules are looked at all the same
    with reading(engine) as connection:
        seen = look(connection, limits, free, database_time(connection))
        if not ledger.work(connection, seen.rules, seen.conditions, seen.gone):
            return []
    with writing(engine) as connection:
        ledger.take_turn(connection)
        seen = look(connection, limits, free, database_time(connection))
        changes = ledger.settle(connection, seen.rules, seen.conditions, channels, seen.gone)
    ledger.tell(changes)
    return changes


def look(connection: Connection, limits: AlarmLimits, free_mib: float | None, now: datetime) -> LiveConditions:
    """Every live rule.

    Args:
        free_mib: of the spool; None where this process does not see it, and then its rule is not looked at.
    """
    standing = set(ledger.open_alarms(connection))
    found = [
        *_backlog(connection, limits, now, ("backlog", "") in standing),
        *_dead_letters(connection, limits, now),
        *_refusals(connection, limits, now),
        *_quarantine(connection, limits),
        *silence.conditions(connection, limits.silent_films, limits.zone, now),
        *_report_late(connection, limits, now, ("report_late", "") in standing),
        *outside_rules.report_undelivered(connection, limits, now),
        *outside_rules.not_received(connection, limits, now),
        *outside_rules.audit_repository(connection, limits, now),
        *outside_rules.commitment_unreported(connection, limits, now),
    ]
    rules: set[str | tuple[str, str]] = {
        "backlog",
        "dead_letters",
        "refusals",
        "quarantine",
        "sender_silent",
        "report_late",
        "report_undelivered",
        "not_received",
        "audit_repository",
        "commitment_unreported",
    }
    if limits.certificate is None or limits.certificate.exists():  # else it is on another machine
        rules.add("certificate")
        found += outside_rules.certificate(limits.certificate, limits.certificate_days, now)
    if free_mib is not None:
        rules.add(("spool_space", limits.host))
        found += _spool_space(limits, free_mib, ("spool_space", limits.host) in standing)
    silent = [subject for rule, subject in standing if rule == silence.RULE]
    gone = {(silence.RULE, subject): text for subject, text in silence.gone(connection, silent, now)}
    return LiveConditions(rules=frozenset(rules), conditions=tuple(found), gone=gone)


def spool_free_mib(spool: Path) -> float | None:
    """Free space as the gateway counts it, MiB; None where no gateway prepared the folder or it cannot be read."""
    try:
        return free_bytes(spool) / MEBIBYTE
    except OSError:
        return None


def _backlog(connection: Connection, limits: AlarmLimits, now: datetime, standing: bool) -> Iterator[Condition]:
    oldest = waiting.oldest(connection)
    waited = (now - oldest).total_seconds() if oldest else 0.0
    if oldest and waited > limits.backlog_seconds * (BY_ID["backlog"].release if standing else 1):
        waits = (
            select(func.count()).select_from(instance).where(instance.c.state == State.RECEIVED, ~instance.c.backfilled)
        )
        number = connection.execute(waits).scalar_one()
        yield Condition(
            rule="backlog",
            value=round(waited),
            threshold=limits.backlog_seconds,
            text=f"{counted(number, 'film')} waiting, the oldest since {clock(oldest, limits.zone)}",
        )
    elif early := ahead(connection, now):
        yield Condition(
            rule="backlog",
            value=limits.backlog_seconds,  # or less, or more: nobody knows
            threshold=limits.backlog_seconds,
            text=f"{counted(early, 'film')} waiting with a time of receipt in the future: "
            "check the clock of the database's host",
        )


def _dead_letters(connection: Connection, limits: AlarmLimits, now: datetime) -> Iterator[Condition]:
    rows = connection.execute(
        select(instance.c.reason, func.count())
        .where(instance.c.state == State.FAILED, instance.c.finished_at > now - DAY, ~instance.c.backfilled)
        .group_by(instance.c.reason)
    )
    reasons = Counter({str(reason or "unknown"): int(number) for reason, number in rows})
    if reasons.total() >= limits.dead_letters:
        named = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common(NAMED_REASONS))
        yield Condition(
            rule="dead_letters",
            value=reasons.total(),
            threshold=limits.dead_letters,
            text=f"{counted(reasons.total(), 'film')} failed within 24 hours; reasons: {named}",
        )


def _refusals(connection: Connection, limits: AlarmLimits, now: datetime) -> Iterator[Condition]:
    """C-STOREs and presentation contexts, each by itself over the threshold; one alarm for an AE."""
    films = _refused(connection, limits, now, refusals.FILMS)
    contexts = _refused(connection, limits, now, refusals.CONTEXTS)
    for calling_ae in sorted({*films, *contexts}):
        statuses, classes = films.get(calling_ae, Counter()), contexts.get(calling_ae, Counter())
        asked = refusals.contexts_in(classes)
        sentences = [
            f"{number} {things} of {calling_ae} were refused within an hour; {codes}: {_named(counts, most)}"
            for things, number, codes, counts, most in (
                ("C-STOREs", statuses.total(), "statuses", statuses, NAMED_REASONS),
                ("presentation contexts", asked, "SOP classes", classes, NAMED_CLASSES),
            )
            if counts
        ]
        yield Condition(
            rule="refusals",
            subject=calling_ae,
            value=statuses.total() or asked,  # not their sum: an acknowledged one would hide as many C-STOREs
            threshold=limits.refusals,
            text=". ".join(sentences),
            about=(*sorted(statuses), *sorted(classes)),
            counted=statuses.total(),
        )


def _refused(connection: Connection, limits: AlarmLimits, now: datetime, action: Action) -> dict[str, Counter[str]]:
    """AE -> code -> number, of those over the threshold."""
    refused = refusals.of_span(connection, Span(start=now - HOUR, end=now), action)
    number = refusals.contexts_in if action == refusals.CONTEXTS else lambda codes: sum(codes.values())
    over = {calling_ae: codes for calling_ae, codes in refused.items() if number(codes) >= limits.refusals}
    shown = refusals.most(over, titles=MOST_REFUSED, codes=MOST_CODES)
    return {calling_ae: Counter(codes) for calling_ae, codes in shown.items()}


def _named(counts: Counter[str], most: int) -> str:
    """In the order of `refusals.most`: what is summed up comes last."""
    named = ", ".join(f"{code} {number}" for code, number in list(counts.items())[:most])
    return f"{named} and others" if len(counts) > most else named


def _quarantine(connection: Connection, limits: AlarmLimits) -> Iterator[Condition]:
    """One alarm for all of them: anybody can send any title."""
    held = [sender for sender in held_senders(connection) if sender.films]
    number = sum(sender.films for sender in held)
    if number >= limits.quarantine_films:
        by_ae = Counter({sender.calling_ae: 0 for sender in held})
        for sender in held:
            by_ae[sender.calling_ae] += sender.films
        named = ", ".join(f"{calling_ae} {films}" for calling_ae, films in by_ae.most_common(NAMED_REASONS))
        yield Condition(
            rule="quarantine",
            value=number,
            threshold=limits.quarantine_films,
            text=f"{counted(number, 'film')} of unknown peers in quarantine and not scored, the oldest since "
            f"{clock(held[0].since, limits.zone)}: {named}{' and others' if len(by_ae) > NAMED_REASONS else ''}",
        )


def _spool_space(limits: AlarmLimits, free_mib: float, standing: bool) -> Iterator[Condition]:
    if free_mib < limits.spool_mib * (BY_ID["spool_space"].release if standing else 1):
        yield Condition(
            rule="spool_space",
            subject=limits.host,
            value=round(free_mib),
            threshold=limits.spool_mib,
            text=f"the spool has {size(free_mib * MEBIBYTE)} free, as {limits.host} sees it",
        )


def _report_late(connection: Connection, limits: AlarmLimits, now: datetime, standing: bool) -> Iterator[Condition]:
    """Lateness by the clock: the errand's own time moves with each attempt. One errand names the next report.

    An open alarm stays as long as the report is late, also with a relay that began to look a moment ago.
    """
    if limits.report_time is None:
        return
    nights = select(errand.c.key, errand.c.attempts).where(errand.c.kind == Kind.NIGHT).order_by(errand.c.key)
    for day, attempts in connection.execute(nights.limit(1)):
        due = datetime.combine(date.fromisoformat(day) + timedelta(days=1), limits.report_time, limits.zone)
        begun = due if attempts > 1 or standing else max(due, limits.since)
        if now - begun > timedelta(hours=limits.report_hours):
            yield Condition(
                rule="report_late",
                value=round((now - due).total_seconds() / 3600, 1),
                threshold=limits.report_hours,
                text=f"the report of {day} is not made yet; attempts: {attempts}",
            )
