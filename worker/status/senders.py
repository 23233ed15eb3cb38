"""Today by sender: films and what became of them, and what was turned away."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from worker.audit.actions import Action
from worker.audit.reconciliation import SCORED
from worker.db.scores import IS_UNSURE, LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import finding_score, instance, score
from worker.receiving import refusals
from worker.states import State


@dataclass(frozen=True, kw_only=True)
class SenderToday:
    """An AE's films by when they were received, revisions among them, duplicates and films of backfills not."""

    calling_ae: str
    received: int
    scored: int
    ineligible: int
    failed: int
    pending: int
    quarantined: int
    flagged: int
    unsure: int
    """Films whose prediction set is not exactly one finding; they may be flagged, too."""
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


def senders_of(connection: Connection, today: Span) -> tuple[SenderToday, ...]:
    within = today.covers(instance.c.received_at) & ~instance.c.backfilled
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
    flags_of = (
        select(func.count())
        .select_from(score)
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(LIVE_OF_FILM, finding_score.c.flag)
    )
    unsure_of = select(func.count()).select_from(score).where(LIVE_OF_FILM, IS_UNSURE)
    flagged, left_unsure = (_films_with(connection, today, rows_of) for rows_of in (flags_of, unsure_of))
    senders = [
        SenderToday(
            calling_ae=calling_ae,
            received=films.total(),
            scored=sum(films[state] for state in SCORED),
            ineligible=films[State.INELIGIBLE],
            failed=films[State.FAILED],
            pending=films[State.RECEIVED],
            quarantined=films[State.QUARANTINED],
            flagged=flagged.get(calling_ae, 0),
            unsure=left_unsure.get(calling_ae, 0),
            other=others[calling_ae],
            last_at=last[calling_ae],
        )
        for calling_ae, films in ((calling_ae, states[calling_ae]) for calling_ae in last)
    ]
    return tuple(sorted(senders, key=lambda sender: (-sender.received, sender.calling_ae)))


def _films_with(connection: Connection, today: Span, rows_of: Select[Any]) -> dict[str, int]:
    """By AE, today's films of which `rows_of` counts any row.

    It is looked up for each film of today: a join would let PostgreSQL read the rows of every day.
    """
    any_row = rows_of.correlate(instance).scalar_subquery() > 0
    rows = connection.execute(
        select(instance.c.calling_ae, func.count())
        .where(today.covers(instance.c.received_at), ~instance.c.backfilled, any_row)
        .group_by(instance.c.calling_ae)
    )
    return {str(calling_ae): int(films) for calling_ae, films in rows}


def turned_away(connection: Connection, today: Span, action: Action) -> tuple[TurnedAway, ...]:
    by_ae = refusals.most(refusals.of_span(connection, today, action), titles=20, codes=10)
    rows = [
        TurnedAway(calling_ae=calling_ae, number=sum(codes.values()), codes=codes)
        for calling_ae, codes in by_ae.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.number, row.calling_ae)))
