"""Backfills as rows: started, paused, resumed, cancelled, ended. One of a PACS at a time. No process is asked.

The relay looks at the rows before each question and once a second during one: then the PACS is told to stop.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.audit import trail
from worker.audit.actions import Action
from worker.backfill import days, films
from worker.backfill.options import Job, JobState, Way
from worker.db.session import database_time, reading, writing
from worker.db.tables import backfill, backfill_day, backfill_film
from worker.errors import NotFound, WrongState

KEPT = timedelta(days=400)
"""After its end. A film that comes later still is a live one."""
MARKED = timedelta(seconds=20)
"""Between two marks of a relay that works."""
UNMARKED = timedelta(seconds=90)
"""Without one, no relay works."""


def start(
    engine: Engine,
    pacs: str,
    span: tuple[date, date],
    *,
    rate: float,
    hours: str,
    way: Way,
    sends_as: str = "",
    actor: str,
) -> Job:
    """A new one.

    Args:
        sends_as: AE title under which it sends, where that is another.
        span: first and last Study Date.
        hours: as `options.hours_of` gives it.

    Raises:
        WrongState: there is one of this PACS that has not ended.
    """
    first, last = span
    try:
        with writing(engine) as connection:
            now = database_time(connection)
            _forget(connection, now - KEPT)
            row = {
                "pacs": pacs,
                "sends_as": (way is Way.MOVE and sends_as) or pacs,
                "first_day": first,
                "last_day": last,
                "rate": rate,
                "hours": hours,
                "way": way.value,
                "state": JobState.RUNNING.value,
                "next_at": now,
                "started_at": now,
                "started_by": actor,
                "resumed_at": now,
            }
            key = connection.execute(insert(backfill).returning(backfill.c.id), row).scalar_one()
            number = (last - first).days + 1
            connection.execute(
                insert(backfill_day),
                [{"backfill_id": key, "day": first + timedelta(days=at), "next_at": now} for at in range(number)],
            )
            _record(
                connection, Action.BACKFILL_STARTED, actor, _by_id(connection, key), rate=rate, hours=hours, way=way
            )
            return _by_id(connection, key)
    except IntegrityError:
        raise WrongState(
            f"a backfill of {pacs} has not ended: 'xrayq backfill status' shows it, 'xrayq backfill cancel' ends it"
        ) from None


def pause(engine: Engine, pacs: str, *, actor: str) -> Job:
    """Raises NotFound, WrongState."""
    return _turn(engine, pacs, JobState.RUNNING, JobState.PAUSED, Action.BACKFILL_PAUSED, actor)


def resume(engine: Engine, pacs: str, *, actor: str) -> Job:
    """It goes on at once, also where it rests because the PACS is away or nothing came. What failed is asked for again.
    Raises NotFound, WrongState."""
    return _turn(engine, pacs, JobState.PAUSED, JobState.RUNNING, Action.BACKFILL_RESUMED, actor)


def cancel(engine: Engine, pacs: str, *, actor: str) -> Job:
    """Nothing more is asked for. What is on the way still comes, as a film of a backfill. Raises NotFound."""
    with writing(engine) as connection:
        job = _open(connection, pacs)
        end(connection, job, JobState.CANCELLED, actor=actor)
        return _by_id(connection, job.id)


def end(connection: Connection, job: Job, state: JobState, *, actor: str) -> None:
    """For good."""
    values = {"state": state.value, "rests": "", "rests_since": None, "ended_at": database_time(connection)}
    connection.execute(update(backfill).where(backfill.c.id == job.id).values(values))
    _record(connection, Action.BACKFILL_ENDED, actor, job, state=state)


def rest(connection: Connection, job: Job, why: str, **values: Any) -> None:
    """Say why nothing is asked for now; "" while it is. Writes only what changes, and nothing where a person has paused
    or cancelled it meanwhile."""
    if why == job.rests and not values:
        return
    since = {} if why == job.rests else {"rests": why, "rests_since": database_time(connection) if why else None}
    runs = (backfill.c.id == job.id, backfill.c.state == JobState.RUNNING.value)
    connection.execute(update(backfill).where(*runs).values(since | values))


def is_running(connection: Connection, job: Job) -> bool:
    query = select(backfill.c.state).where(backfill.c.id == job.id)
    return bool(connection.execute(query).scalar_one() == JobState.RUNNING)


def lock(connection: Connection, job: Job) -> JobState:
    """Until the transaction ends; its state by now. Who changes several films of it asks for this first, so that two
    relays do not wait for each other's rows."""
    query = select(backfill.c.state).where(backfill.c.id == job.id).with_for_update()
    return JobState(connection.execute(query).scalar_one())


def mark(engine: Engine) -> None:
    """A relay works: no running backfill has been due for long, whatever it waits for."""
    with reading(engine) as connection:
        behind = (backfill.c.state == JobState.RUNNING.value, backfill.c.next_at < database_time(connection) - MARKED)
        if connection.execute(select(backfill.c.id).where(*behind)).first() is None:
            return
    with writing(engine) as connection:
        connection.execute(update(backfill).where(*behind).values(next_at=database_time(connection)))


def no_relay_since(job: Job, now: datetime) -> datetime | None:
    """When a running one was due at the latest, where no relay has taken or marked it since; None while one works."""
    return job.next_at if job.state is JobState.RUNNING and job.next_at < now - UNMARKED else None


def rest_unnamed(engine: Engine, names: Collection[str], code: str) -> None:
    """Backfills of PACSs that the settings name no more say so: there are no turns of theirs.

    Args:
        code: why.
    """
    with reading(engine) as connection:
        lost = [job for job in newest(connection) if job.state is JobState.RUNNING and job.pacs not in names]
    for job in lost:
        if job.rests != code:
            with writing(engine) as connection:
                rest(connection, job, code)


def open_of(connection: Connection, pacs: str, *, locked: bool = False) -> Job | None:
    """The one of a PACS that has not ended.

    Args:
        locked: until the transaction ends.
    """
    query = select(backfill).where(backfill.c.pacs == pacs, backfill.c.ended_at.is_(None))
    row = connection.execute(query.with_for_update() if locked else query).one_or_none()
    return None if row is None else _job(row)


def newest(connection: Connection, most: int = 10) -> Sequence[Job]:
    """Those that have not ended, and the last of the others; the newest first."""
    rows = connection.execute(
        select(backfill).order_by(backfill.c.ended_at.is_not(None), backfill.c.id.desc()).limit(most)
    )
    return [_job(row) for row in rows]


def _forget(connection: Connection, before: datetime) -> None:
    """Backfills that ended before."""
    old = select(backfill.c.id).where(backfill.c.ended_at < before)
    for table in (backfill_film, backfill_day):
        connection.execute(delete(table).where(table.c.backfill_id.in_(old)))
    connection.execute(delete(backfill).where(backfill.c.ended_at < before))


def _turn(engine: Engine, pacs: str, before: JobState, after: JobState, action: Action, actor: str) -> Job:
    with writing(engine) as connection:
        job = _open(connection, pacs)
        if job.state is not before and not (after is JobState.RUNNING and job.rests):
            more = "; pause it first, and what failed is asked for again" if after is JobState.RUNNING else ""
            raise WrongState(f"the backfill of {pacs} is {job.state}, not {before}{more}")
        now = database_time(connection)
        values = {"state": after.value, "rests": "", "rests_since": None, "failures": 0, "next_at": now}
        values |= {"resumed_at": now} if after is JobState.RUNNING else {}
        connection.execute(update(backfill).where(backfill.c.id == job.id).values(values))
        if after is JobState.RUNNING:
            films.reopen(connection, job, now)
            days.reopen(connection, job, now)
        _record(connection, action, actor, job)
        return _by_id(connection, job.id)


def _open(connection: Connection, pacs: str) -> Job:
    """Locked. Raises NotFound."""
    job = open_of(connection, pacs, locked=True)
    if job is None:
        raise NotFound(f"no backfill of {pacs} is open: 'xrayq backfill status' shows the last ones")
    return job


def _by_id(connection: Connection, key: int) -> Job:
    return _job(connection.execute(select(backfill).where(backfill.c.id == key)).one())


def _job(row: Row[Any]) -> Job:
    return Job(**dict(row._mapping) | {"way": Way(row.way), "state": JobState(row.state)})


def _record(connection: Connection, action: Action, actor: str, job: Job, **more: Any) -> None:
    span = {"from": job.first_day.isoformat(), "to": job.last_day.isoformat()}
    detail = {"pacs": job.pacs} | span | {name: value for name, value in more.items() if value}
    trail.record(connection, action=action, instance_id=None, actor=actor, detail=detail)
