"""How far a backfill is, counted from its rows."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select

from model.json_value import plain
from worker.backfill import days, jobs
from worker.backfill.films import NOT_ARRIVED, came
from worker.backfill.options import FilmState, Job, JobState
from worker.backfill.words import NO_RELAY, reason_in_words, rest_in_words
from worker.db.session import database_time
from worker.db.tables import backfill, backfill_day, backfill_film, instance, outbox
from worker.pacs.words import fault_in_words
from worker.states import Priority
from worker.words import counted

WAITS = ("out_of_hours", "live_films", "unscored")
"""Why a backfill rests without anything being wrong."""
RECENT = timedelta(minutes=10)
"""Over which its speed is measured."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Films count once they are known: those of days that the PACS was not asked for yet are none of them."""

    job: Job
    days: int
    days_left: int
    """That the PACS is still to be asked for."""
    days_failed: dict[str, int]
    """It gave no whole answer, by code: their films are not known."""
    days_tried: dict[str, int]
    """It gave none yet, and is asked again."""
    here_before: int
    """Films that needed no fetching."""
    wanted: int
    """Not asked for yet."""
    on_the_way: int
    """Asked for, and not here yet."""
    not_sent: dict[str, int]
    """Of these, what the PACS said that it did not send, by code: it is asked again."""
    here: int
    """Fetched."""
    quarantined: int
    failed: dict[str, int]
    """By code: refused_0xHHHH were refused at our door."""
    unscored: int
    """Films of all backfills that wait for a worker, behind the live ones."""
    oldest_unscored: datetime | None
    """When the first of them came."""
    films_a_minute: float
    """In the last ten minutes."""
    over_at: datetime | None
    """At its rate and in its hours, where all goes well; None where nobody can say, and after its end."""
    no_relay_since: datetime | None
    """None while a relay works."""

    @property
    def rests(self) -> str:
        """In words; "" while it works."""
        return NO_RELAY if self.no_relay_since else rest_in_words(self.job.rests, self.job.state)

    @property
    def rests_since(self) -> datetime | None:
        return self.no_relay_since or self.job.rests_since

    @property
    def needs_somebody(self) -> bool:
        """It rests, and not because it has to wait; no relay works; or the PACS refuses a question, or more films than
        came."""
        wrong = bool(self.no_relay_since or self.days_tried) or sum(self.not_sent.values()) > self.here
        return self.job.state is JobState.RUNNING and (wrong or self.job.rests not in ("", *WAITS))

    @property
    def left(self) -> int:
        return self.wanted + self.on_the_way + self.quarantined

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found = asdict(self)
        job = found.pop("job")
        fields: dict[str, Any] = plain(job | found | {"rests_because": self.rests}, timespec="seconds")
        return fields

    def tried_in_words(self) -> list[str]:
        """What the PACS refused so far, a line for each reason."""
        asked = [f"{counted(number, 'day')}: {fault_in_words(code)}" for code, number in self.days_tried.items()]
        return asked + [f"{counted(number, 'film')}: {reason_in_words(code)}" for code, number in self.not_sent.items()]

    def failed_in_words(self) -> list[str]:
        return [f"{number} {reason_in_words(code)}" for code, number in self.failed.items()]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Of all backfills that have not ended."""

    films: dict[str, int]
    """Each state, and `unscored`: of ended ones too."""
    resting: int


def totals(connection: Connection) -> Totals:
    rows = connection.execute(
        select(backfill_film.c.state, func.count())
        .join(backfill, backfill.c.id == backfill_film.c.backfill_id)
        .where(backfill.c.ended_at.is_(None))
        .group_by(backfill_film.c.state)
    )
    found = dict.fromkeys(FilmState, 0) | {FilmState(state): int(number) for state, number in rows}
    behind = select(func.count()).select_from(outbox).where(outbox.c.priority == Priority.BACKFILL.value)
    rests = (backfill.c.state == JobState.PAUSED.value) | (backfill.c.rests != "")
    resting = select(func.count()).select_from(backfill).where(backfill.c.ended_at.is_(None), rests)
    return Totals(
        films={state.value: number for state, number in found.items()}
        | {"unscored": int(connection.execute(behind).scalar_one())},
        resting=int(connection.execute(resting).scalar_one()),
    )


def progress(connection: Connection, job: Job) -> Progress:
    now = database_time(connection)
    mine = backfill_film.c.backfill_id == job.id
    unsettled = backfill_film.c.state != FilmState.HERE.value
    if job.ended_at is None:  # else no turn settles any more: what comes still, whatever its row, is here
        unsettled = backfill_film.c.state == FilmState.FAILED.value
    late = unsettled & came()
    state_now = case((late, FilmState.HERE.value), else_=backfill_film.c.state).label("state")
    each = select(state_now, backfill_film.c.reason).where(mine).subquery().c
    rows = connection.execute(select(each.state, each.reason, func.count()).group_by(each.state, each.reason)).all()
    states: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    not_sent: Counter[str] = Counter()
    for state, reason, number in rows:
        states[state] += number
        if state == FilmState.FAILED:
            failed[reason] += number
        elif state == FilmState.ASKED and reason != NOT_ARRIVED and job.ended_at is None:
            not_sent[reason] += number
    recent = select(func.count()).select_from(backfill_film).where(mine, backfill_film.c.came_at > now - RECENT)
    of_days = select(
        func.count(), func.coalesce(func.sum(backfill_day.c.here), 0), func.count(backfill_day.c.asked_at)
    ).where(backfill_day.c.backfill_id == job.id)
    number, here_before, asked = connection.execute(of_days).one()
    behind = outbox.c.priority == Priority.BACKFILL.value
    unscored, oldest = connection.execute(
        select(func.count(), func.min(instance.c.received_at))
        .select_from(outbox)
        .join(instance, instance.c.id == outbox.c.instance_id)
        .where(behind)
    ).one()
    left = states[FilmState.WANTED] + states[FilmState.ASKED] + states[FilmState.QUARANTINED]
    days_left = days.left(connection, job)
    no_relay = jobs.no_relay_since(job, now)
    over_at = None if no_relay else _over_at(job, now, left, days_left, (asked, states.total()))
    return Progress(
        job=job,
        days=number,
        days_left=days_left,
        days_failed=days.failed(connection, job),
        days_tried=days.tried(connection, job) if job.ended_at is None else {},
        here_before=here_before,
        wanted=states[FilmState.WANTED],
        on_the_way=states[FilmState.ASKED],
        not_sent=dict(not_sent.most_common()),
        here=states[FilmState.HERE],
        quarantined=states[FilmState.QUARANTINED],
        failed=dict(failed.most_common()),
        unscored=unscored,
        oldest_unscored=oldest,
        films_a_minute=round(connection.execute(recent).scalar_one() / (RECENT.total_seconds() / 60), 1),
        over_at=over_at,
        no_relay_since=no_relay,
    )


def _over_at(job: Job, now: datetime, left: int, days_left: int, known: tuple[int, int]) -> datetime | None:
    """Args: known: days that were asked for, and films that were not here on these."""
    asked, films = known
    if job.state is not JobState.RUNNING or not asked:
        return None
    more = days_left * films / asked
    return now + timedelta(minutes=(left + more) / job.rate / job.share_of_day)
