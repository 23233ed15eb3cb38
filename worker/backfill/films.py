"""The films of a backfill, row by row: wanted, asked for, and what became of them.

The ledger alone says whether a film is here, never the PACS. So a film that is asked for twice, or comes by itself
meanwhile, is here once, and whoever is killed at any point leaves rows from which the next goes on:

    taken      asked_at, the attempt and the time of the next one are committed, then the PACS is asked
    settled    what the ledger has is here; what is not by the time of its next attempt is asked for again

A film that did not come is asked for alone from then on: some PACSs take only the first UID of a list, and say success.
One that was asked for MOST_ATTEMPTS times in vain is failed, with what the last attempt came to as its reason.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from dicom_gateway.errors import in_hexadecimal
from worker.backfill.options import LONGEST_WAIT, MOST_ATTEMPTS, MOST_ON_THE_WAY, FilmState, Job
from worker.db.session import database_time
from worker.db.tables import backfill, backfill_film, instance, refused_film
from worker.pacs.comparing import CHUNK, MissingFilm, Why, held
from worker.queue.retry import back_off
from worker.states import NOT_ADMITTED, State

NOT_ARRIVED, OTHER_OBJECT, REFUSED = "not_arrived", "other_object", "refused_"
OPEN = (FilmState.WANTED, FilmState.ASKED)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Films of one series that are to be asked for now."""

    study_instance_uid: str
    series_instance_uid: str
    uids: Mapping[int, str]
    """Row id -> SOP Instance UID."""


def want(connection: Connection, job: Job, day: date, missing: Sequence[MissingFilm], now: datetime) -> None:
    """Rows of a day's films that are not here. A day that is asked for again adds what is new."""
    rows = [
        {
            "backfill_id": job.id,
            "day": day,
            "sop_instance_uid": film.sop_instance_uid,
            "study_instance_uid": film.study_instance_uid,
            "series_instance_uid": film.series_instance_uid,
            "next_at": now,
        }
        | _first_state(film.why)
        for film in missing
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for start in range(0, len(rows), CHUNK):
        chunk = dialect.insert(backfill_film).values(rows[start : start + CHUNK])
        connection.execute(chunk.on_conflict_do_nothing(index_elements=["backfill_id", "sop_instance_uid"]))


def _first_state(why: Why) -> dict[str, str]:
    """What a stranger sent, and waits in quarantine, is fetched all the same: he may not be admitted."""
    if why is Why.OTHER_OBJECT:
        return {"state": FilmState.FAILED, "reason": OTHER_OBJECT}
    return {"state": FilmState.WANTED, "reason": ""}


def settle(connection: Connection, job: Job, now: datetime) -> None:
    """Films that are asked for or in quarantine, and those that came after they had failed, as the ledger has them.

    The caller holds the job's row.
    """
    query = select(backfill_film).where(_moving(job))
    _settle(connection, job, connection.execute(query).all(), now)


def is_moving(connection: Connection, job: Job) -> bool:
    """Whether there is something to settle."""
    return connection.execute(select(backfill_film.c.id).where(_moving(job)).limit(1)).first() is not None


def _moving(job: Job) -> ColumnElement[bool]:
    return _of(job, (FilmState.ASKED, FilmState.QUARANTINED)) | (_of(job, (FilmState.FAILED,)) & came())


def came() -> ColumnElement[bool]:
    """Of a row: its film is here."""
    here = (instance.c.is_film, instance.c.admitted, instance.c.state != State.QUARANTINED)
    return exists(select(instance.c.id).where(instance.c.sop_instance_uid == backfill_film.c.sop_instance_uid, *here))


def reopen(connection: Connection, job: Job, now: datetime) -> None:
    """Films that did not come, or that the PACS did not send, have all their attempts again: somebody has mended why.
    What a person rejected, or what is no film, is not asked for. The caller holds the job's row."""
    failed = _of(job, (FilmState.FAILED,)) & backfill_film.c.reason.not_in((NOT_ADMITTED, OTHER_OBJECT))
    over = (backfill_film.c.attempts >= MOST_ATTEMPTS) & (backfill_film.c.next_at <= now)
    over = _of(job, (FilmState.ASKED,)) & (over | (backfill_film.c.reason != NOT_ARRIVED))
    values = {"state": FilmState.WANTED.value, "attempts": 0, "next_at": now, "reason": ""}
    connection.execute(update(backfill_film).where(failed | over).values(values))


def is_due(connection: Connection, job: Job) -> bool:
    """Whether a film is to be asked for now."""
    due = _due(connection, job, database_time(connection))
    return connection.execute(due.with_only_columns(backfill_film.c.id).limit(1)).first() is not None


def take(connection: Connection, job: Job, now: datetime, *, first_wait: float) -> Batch | None:
    """Films of one series, now asked for once more; None where none is due. The newest day first.

    The caller holds the job's row.
    """
    settle(connection, job, now)
    give_up(connection, job, now)
    left: list[Row[Any]] = []
    while not left:
        order = (backfill_film.c.day.desc(), backfill_film.c.series_instance_uid, backfill_film.c.id)
        rows = connection.execute(_due(connection, job, now).order_by(*order).limit(job.together)).all()
        if not rows:
            return None
        alike = (rows[0].series_instance_uid, 0)
        series = [row for row in rows if (row.series_instance_uid, row.attempts) == alike] or rows[:1]
        settled = _settle(connection, job, series, now)  # a wanted one may have come by itself
        left = [row for row in series if row.id not in settled]
    for row in left:
        wait = timedelta(seconds=back_off(first_wait, row.attempts + 1, LONGEST_WAIT))
        values = {"asked_at": now, "attempts": row.attempts + 1, "next_at": now + wait}
        _change(connection, [row.id], state=FilmState.ASKED, reason=NOT_ARRIVED, **values)
    pace = timedelta(minutes=len(left) / job.rate)
    connection.execute(update(backfill).where(backfill.c.id == job.id).values(next_at=now + pace))
    return Batch(
        study_instance_uid=left[0].study_instance_uid,
        series_instance_uid=left[0].series_instance_uid,
        uids={row.id: row.sop_instance_uid for row in left},
    )


def answered(connection: Connection, batch: Batch, fault: str, failed: Collection[str]) -> None:
    """What the PACS said of films that are not here yet: the reason that is kept if they never come.

    Args:
        fault: a code; "" where it says that it sent all.
        failed: UIDs that it names; empty where it names none.
    """
    if fault:
        ids = [key for key, uid in batch.uids.items() if not failed or uid in failed]
        _change(connection, ids, only=FilmState.ASKED, reason=fault)


def not_counted(connection: Connection, batch: Batch, now: datetime) -> None:
    """The fault was none of these films: the attempt does not count, and they are due again."""
    rows = backfill_film.c.id.in_(list(batch.uids)) & (backfill_film.c.state == FilmState.ASKED)
    values = {"attempts": backfill_film.c.attempts - 1, "next_at": now}
    connection.execute(update(backfill_film).where(rows, backfill_film.c.attempts > 0).values(values))


def count(connection: Connection, job: Job, states: Collection[FilmState]) -> int:
    return int(connection.execute(select(func.count()).select_from(backfill_film).where(_of(job, states))).scalar_one())


def _settle(connection: Connection, job: Job, rows: Sequence[Row[Any]], now: datetime) -> set[int]:
    """Ids of rows that are not to be asked for now."""
    uids = [row.sop_instance_uid for row in rows]
    known, quarantined = held(connection, uids), _quarantined(connection, job, uids)
    settled: set[int] = set()
    for row in rows:
        states = known.get(row.sop_instance_uid, set())
        if states - {State.QUARANTINED, None}:
            _change(connection, [row.id], state=FilmState.HERE, reason="", came_at=now)
        elif row.sop_instance_uid in quarantined:
            if row.state != FilmState.QUARANTINED:
                _change(connection, [row.id], state=FilmState.QUARANTINED, reason="")
        elif None in states:
            _change(connection, [row.id], state=FilmState.FAILED, reason=OTHER_OBJECT)
        elif row.state == FilmState.QUARANTINED:  # it was there, and a person rejected it
            _change(connection, [row.id], state=FilmState.FAILED, reason=NOT_ADMITTED)
        else:
            continue
        settled.add(row.id)
    return settled


def _quarantined(connection: Connection, job: Job, uids: Sequence[str]) -> set[str]:
    """UIDs of what came into quarantine by our asking. What a stranger sent stands in no backfill's way."""
    ours = (
        instance.c.state == State.QUARANTINED,
        instance.c.is_film,
        instance.c.backfilled,
        instance.c.received_at >= job.started_at,
    )
    found: set[str] = set()
    for start in range(0, len(uids), CHUNK):
        chunk = instance.c.sop_instance_uid.in_(uids[start : start + CHUNK])
        found.update(connection.execute(select(instance.c.sop_instance_uid).where(*ours, chunk)).scalars())
    return found


def give_up(connection: Connection, job: Job, now: datetime) -> None:
    """Films whose attempts are used up and whose time has passed. One that our own door refused says so."""
    over = (backfill_film.c.attempts >= MOST_ATTEMPTS, backfill_film.c.next_at <= now)
    for row in connection.execute(select(backfill_film).where(_of(job, (FilmState.ASKED,)), *over)).all():
        status = connection.execute(
            select(refused_film.c.status)
            .where(refused_film.c.sop_instance_uid == row.sop_instance_uid, refused_film.c.refused_at >= job.started_at)
            .order_by(refused_film.c.id.desc())
            .limit(1)
        ).scalar_one_or_none()
        reason = row.reason if status is None else REFUSED + in_hexadecimal(status)
        _change(connection, [row.id], state=FilmState.FAILED, reason=reason)


def _due(connection: Connection, job: Job, now: datetime) -> Select[Any]:
    """New ones only while not too many are on the way."""
    full = count(connection, job, (FilmState.ASKED,)) >= MOST_ON_THE_WAY
    return select(backfill_film).where(_of(job, (FilmState.ASKED,) if full else OPEN), backfill_film.c.next_at <= now)


def _of(job: Job, states: Collection[FilmState]) -> ColumnElement[bool]:
    return (backfill_film.c.backfill_id == job.id) & backfill_film.c.state.in_([state.value for state in states])


def _change(connection: Connection, ids: list[int], only: FilmState | None = None, **values: Any) -> None:
    which: list[ColumnElement[bool]] = [backfill_film.c.id.in_(ids)]
    if only:
        which.append(backfill_film.c.state == only.value)
    if "state" in values:
        values["state"] = values["state"].value
    connection.execute(update(backfill_film).where(*which).values(values))
