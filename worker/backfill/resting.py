"""Why a backfill asks for nothing now, as one table: the first rule that applies gives the code.

It is looked at before each question. Live films come first, so that a backfill rests as soon as they begin to wait.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, func, select

from worker.backfill import films
from worker.backfill.options import MOST_DEAD_LETTERS, MOST_IN_VAIN, MOST_UNSCORED, BackfillOptions, FilmState, Job, Way
from worker.db.tables import backfill_film, instance, outbox
from worker.states import Priority, State

HOUR = timedelta(hours=1)
ONCE_MORE = 1.1
"""Live films need the reserve: a backfill leaves a tenth more than that."""
NOT_NAMED = "not_named"
"""Nobody makes turns for it: see `jobs.rest_unnamed`."""
PACS_FAULT = "pacs_"
"""What a code begins with where the PACS is why."""


@dataclass(frozen=True, kw_only=True)
class _Now:
    """What the rules look at."""

    connection: Connection
    job: Job
    options: BackfillOptions
    at: datetime
    free: int | None
    """Bytes in the spool; None where this machine does not see it."""


def why(connection: Connection, job: Job, options: BackfillOptions, now: datetime, free: int | None) -> str:
    """A code of `words.RESTS`; "" where it may ask."""
    looked_at = _Now(connection=connection, job=job, options=options, at=now, free=free)
    return next((code for code, applies in RULES if applies(looked_at)), "")


def _disk(now: _Now) -> bool:
    return now.free is not None and now.free < now.options.reserve_bytes * ONCE_MORE


def _dead_letters(now: _Now) -> bool:
    failed = (instance.c.state == State.FAILED, instance.c.finished_at > now.at - HOUR)
    return _number(now, select(func.count()).select_from(instance).where(*failed)) >= MOST_DEAD_LETTERS


def _nothing_comes(now: _Now) -> bool:
    """By the end of their last attempt, films that failed since one came, or since a person said that it goes on."""
    mine = backfill_film.c.backfill_id == now.job.id
    last = now.connection.execute(select(func.max(backfill_film.c.came_at)).where(mine)).scalar_one()
    since = max(last or now.job.resumed_at, now.job.resumed_at)
    failed = (backfill_film.c.state == FilmState.FAILED.value, backfill_film.c.attempts > 0)
    query = select(func.count()).select_from(backfill_film).where(mine, *failed, backfill_film.c.next_at > since)
    return _number(now, query) >= MOST_IN_VAIN


def _unscored(now: _Now) -> bool:
    return _number(now, _waiting(outbox.c.priority != Priority.LIVE.value)) >= MOST_UNSCORED


def _live_films(now: _Now) -> bool:
    return _number(now, _waiting(outbox.c.priority == Priority.LIVE.value)) >= now.options.live_films


def _waiting(which: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(outbox).where(which)


def _number(now: _Now, query: Select[int]) -> int:
    return now.connection.execute(query).scalar_one()


RULES: tuple[tuple[str, Callable[[_Now], bool]], ...] = (
    ("out_of_hours", lambda now: not now.job.is_time(now.at, now.options.ask.zone)),
    ("no_spool", lambda now: now.job.way is Way.GET and now.free is None),
    ("disk", _disk),
    ("quarantine", lambda now: films.count(now.connection, now.job, (FilmState.QUARANTINED,)) > 0),
    ("nothing_comes", _nothing_comes),
    ("dead_letters", _dead_letters),
    ("live_films", _live_films),
    ("unscored", _unscored),
)
