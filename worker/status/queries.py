"""What `xrayq status` reads of the database.

Every query goes by an index or over a table that stays small, so that looking costs the same on a million films; a test
reads SQLite's plans.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, func, select

from worker.alarms import undelivered
from worker.alarms.acknowledge import Acknowledgement
from worker.audit.reconciliation import SCORED
from worker.audit.trail import ARRIVALS
from worker.bundles.roles import Placed, in_service
from worker.db.scores import IS_LIVE, LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import alarm, audit_event, errand, finding_score, instance, outbox, score
from worker.queue.errands import Kind
from worker.queue.outbox import ahead
from worker.receiving import refusals
from worker.states import State

MINUTES = 60
MOST_DEAD_LETTERS = 20
ENDS = ("scored", "ineligible", "failed")
"""Actions of the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    films: int
    leased: int
    """Of them, on their way to a worker or with one."""
    oldest_at: datetime | None
    oldest_seconds: float
    """Since then; 0 where none waits."""
    ahead: int
    """Of them, came in the future: nobody knows since when they wait."""


@dataclass(frozen=True, kw_only=True)
class SenderToday:
    """An AE's films by when they were received, revisions among them, duplicates not."""

    calling_ae: str
    received: int
    scored: int
    ineligible: int
    failed: int
    pending: int
    flagged: int
    other: int
    """Objects that are no film, not part of the other counts."""
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class TurnedAway:
    """C-STOREs or associations of an AE that were refused."""

    calling_ae: str
    number: int
    codes: dict[str, int]
    """Highest first: DIMSE statuses in hexadecimal, or reasons such as CALLED_AE."""


@dataclass(frozen=True, kw_only=True)
class LastHour:
    """Films of each of the last sixty minutes, oldest first."""

    received: tuple[int, ...]
    ended: tuple[int, ...]
    """Scored, ineligible or failed."""
    p50: float | None
    """Seconds from received to scored, of the films scored in this hour."""
    p95: float | None


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    id: int
    calling_ae: str
    reason: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class OpenAlarm:
    rule: str
    subject: str
    text: str
    raised_at: datetime
    acknowledged: dict[str, str] | None
    """At, by and why: it needs nobody."""


@dataclass(frozen=True, kw_only=True)
class InService:
    bundle: str
    """Name, version and twelve characters of the digest."""
    shadows: tuple[str, ...]
    engine: str | None
    """Of the last live score."""
    scored_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Nightly:
    made_at: datetime | None
    day: str
    """Of the last report, "" where there is none."""
    due_day: str
    """Of the report that comes next, "" where none is due."""
    due_at: datetime | None
    """Of the next try, where it failed."""
    failed: int
    """Attempts so far."""


@dataclass(frozen=True, kw_only=True)
class DatabaseContent:
    """What the database holds."""

    waiting: Waiting
    senders: tuple[SenderToday, ...]
    """Most films first."""
    films_refused: tuple[TurnedAway, ...]
    """C-STOREs of today that were answered with an error, by AE, most first."""
    not_let_in: tuple[TurnedAway, ...]
    """Associations of today that were rejected, or never asked for, by AE, most first."""
    refused: tuple[refusals.Refused, ...]
    """Presentation contexts of today that were not accepted, by AE, most first."""
    hour: LastHour
    failed: int
    dead_letters: tuple[DeadLetter, ...]
    """The newest MOST_DEAD_LETTERS, newest first."""
    alarms: tuple[OpenAlarm, ...]
    """Newest first, acknowledged ones last."""
    outages: tuple[undelivered.Outage, ...]
    """Channels on which alarms do not arrive."""
    service: InService
    nightly: Nightly


def read(connection: Connection, *, now: datetime, zone: ZoneInfo, default: str) -> DatabaseContent:
    """What the database holds.

    Args:
        default: words for the bundle of the settings.
    """
    today = Span.of_day(now.astimezone(zone).date(), zone)
    return DatabaseContent(
        waiting=_waiting(connection, now),
        senders=_senders(connection, today),
        films_refused=_turned_away(connection, today, refusals.FILMS),
        not_let_in=_turned_away(connection, today, refusals.ASSOCIATIONS),
        refused=refusals.contexts_of(connection, today),
        hour=_last_hour(connection, now),
        failed=_in_state(connection, State.FAILED),
        dead_letters=_dead_letters(connection),
        alarms=_alarms(connection),
        outages=undelivered.outages(connection, now),
        service=_service(connection, default),
        nightly=_nightly(connection),
    )


def _waiting(connection: Connection, now: datetime) -> Waiting:
    came = select(func.min(instance.c.received_at)).where(instance.c.state == State.RECEIVED)
    oldest = connection.execute(came).scalar_one()
    leased = select(func.count()).select_from(outbox).where(outbox.c.lease_until > now)
    return Waiting(
        films=_in_state(connection, State.RECEIVED),
        leased=connection.execute(leased).scalar_one(),
        oldest_at=oldest,
        oldest_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
        ahead=ahead(connection, now),
    )


def _in_state(connection: Connection, state: State) -> int:
    return int(
        connection.execute(select(func.count()).select_from(instance).where(instance.c.state == state)).scalar_one()
    )


def _senders(connection: Connection, today: Span) -> tuple[SenderToday, ...]:
    within = today.covers(instance.c.received_at)
    rows = connection.execute(
        select(
            instance.c.calling_ae, instance.c.is_film, instance.c.state, func.count(), func.max(instance.c.received_at)
        )
        .where(within)
        .group_by(instance.c.calling_ae, instance.c.is_film, instance.c.state)
    )
    states: dict[str, Counter[str]] = defaultdict(Counter)
    others: Counter[str] = Counter()
    last: dict[str, datetime] = {}
    for calling_ae, is_film, state, films, newest in rows:
        if is_film:
            states[calling_ae][state] = films
        else:
            others[calling_ae] += films
        last[calling_ae] = max(newest, last.get(calling_ae, newest))
    # Looked up for each film of today: a join would let PostgreSQL read the flags of every day.
    flags_of = (
        select(func.count())
        .select_from(score)
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(LIVE_OF_FILM, finding_score.c.flag)
        .scalar_subquery()
    )
    flagged = connection.execute(
        select(instance.c.calling_ae, func.count()).where(within, flags_of > 0).group_by(instance.c.calling_ae)
    )
    flags = {str(calling_ae): int(films) for calling_ae, films in flagged}
    found = [
        SenderToday(
            calling_ae=calling_ae,
            received=films.total(),
            scored=sum(films[state] for state in SCORED),
            ineligible=films[State.INELIGIBLE],
            failed=films[State.FAILED],
            pending=films[State.RECEIVED],
            flagged=flags.get(calling_ae, 0),
            other=others[calling_ae],
            last_at=last[calling_ae],
        )
        for calling_ae, films in ((calling_ae, states[calling_ae]) for calling_ae in last)
    ]
    return tuple(sorted(found, key=lambda one: (-one.received, one.calling_ae)))


def _turned_away(connection: Connection, today: Span, action: str) -> tuple[TurnedAway, ...]:
    found = refusals.most(refusals.of_span(connection, today, action), titles=20, codes=10)
    rows = [TurnedAway(calling_ae=one, number=sum(of.values()), codes=of) for one, of in found.items()]
    return tuple(sorted(rows, key=lambda one: (-one.number, one.calling_ae)))


def _last_hour(connection: Connection, now: datetime) -> LastHour:
    """By the audit trail, whose times are indexed: a film that waited for hours counts when it was scored."""
    # One look-up for each event: a join would let PostgreSQL read every film there is.
    came_at = (
        select(instance.c.received_at)
        .where(instance.c.id == audit_event.c.instance_id, instance.c.is_film)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(audit_event.c.at, audit_event.c.action, came_at).where(
            audit_event.c.at > now - timedelta(minutes=MINUTES),
            audit_event.c.at <= now,
            audit_event.c.action.in_(ARRIVALS + ENDS),
        )
    )
    received, ended = [0] * MINUTES, [0] * MINUTES
    seconds = []
    for at, action, received_at in rows:
        if received_at is None:
            continue  # no film
        minute = MINUTES - 1 - int((now - at).total_seconds() // 60)
        (received if action in ARRIVALS else ended)[minute] += 1
        if action == "scored" and at >= received_at:
            seconds.append((at - received_at).total_seconds())
    p50, p95 = (round(float(value), 2) for value in np.percentile(seconds, (50, 95))) if seconds else (None, None)
    return LastHour(received=tuple(received), ended=tuple(ended), p50=p50, p95=p95)


def _dead_letters(connection: Connection) -> tuple[DeadLetter, ...]:
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.reason, instance.c.received_at)
        .where(instance.c.state == State.FAILED)
        .order_by(instance.c.received_at.desc(), instance.c.id.desc())
        .limit(MOST_DEAD_LETTERS)
    )
    return tuple(
        DeadLetter(id=row.id, calling_ae=row.calling_ae, reason=row.reason or "", received_at=row.received_at)
        for row in rows
    )


def _alarms(connection: Connection) -> tuple[OpenAlarm, ...]:
    rows = connection.execute(
        select(alarm.c.rule, alarm.c.subject, alarm.c.text, alarm.c.raised_at, alarm.c.acknowledged)
        .where(alarm.c.cleared_at.is_(None))
        .order_by(alarm.c.acknowledged.is_not(None), alarm.c.raised_at.desc(), alarm.c.id.desc())
    )
    return tuple(
        OpenAlarm(
            **dict(row._mapping)
            | {"acknowledged": Acknowledgement.of_row(row.acknowledged).as_dict() if row.acknowledged else None}
        )
        for row in rows
    )


def _service(connection: Connection, default: str) -> InService:
    live, shadows = in_service(connection)
    newest = connection.execute(
        select(score.c.engine, score.c.scored_at).where(IS_LIVE).order_by(score.c.id.desc()).limit(1)
    ).one_or_none()
    return InService(
        bundle=named(live) if live else default,
        shadows=tuple(named(one) for one in shadows),
        engine=newest.engine if newest else None,
        scored_at=newest.scored_at if newest else None,
    )


def _nightly(connection: Connection) -> Nightly:
    made = connection.execute(
        select(audit_event.c.at, audit_event.c.detail)
        # Few rows are about no film, and the index on instance_id finds them: no look through years of the trail.
        .where(audit_event.c.instance_id.is_(None), audit_event.c.action == "report_made")
        .order_by(audit_event.c.id.desc())
        .limit(1)
    ).one_or_none()
    due = connection.execute(
        select(errand.c.key, errand.c.next_attempt_at, errand.c.attempts, errand.c.lease_until)
        .where(errand.c.kind == Kind.NIGHT)
        .order_by(errand.c.next_attempt_at)
        .limit(1)
    ).one_or_none()
    return Nightly(
        made_at=made.at if made else None,
        day=str(made.detail.get("date", "")) if made else "",
        due_day=due.key if due else "",
        due_at=due.next_attempt_at if due else None,
        failed=due.attempts - (due.lease_until is not None) if due else 0,
    )


def named(one: Placed) -> str:
    return f"{one.name} {one.version} ({one.digest[:12]})"
