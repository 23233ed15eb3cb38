"""What PACSs said, kept: so the report of a day says the same whenever it is made, and the alarm knows what is missing.

A missing film's row stays when the film comes, until its day is asked for again: whether it came is read from the
ledger.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, or_, select, update

from worker.db.tables import instance, missing_film, pacs_answer
from worker.pacs.comparing import CHUNK, Comparison, Why

KEPT = timedelta(days=400)
"""More than a year, so that a day can be compared with the same of last year."""


@dataclass(frozen=True, kw_only=True)
class NotHere:
    """A missing film as reports name it: no UID is in it."""

    id: int
    """Of its row: 'xrayq pacs list' has its UIDs."""
    why: Why
    status: str | None
    calling_ae: str
    modality: str
    film_at: str
    came: bool
    """Since then."""


@dataclass(frozen=True, kw_only=True)
class PacsDay:
    """What a PACS has of a day, beside what came."""

    pacs: str
    day: date
    asked_at: datetime
    fault: str | None
    """Why there is no whole answer, a code of `worker.pacs.words`; the numbers are 0 then."""
    films: int
    here: int
    on_its_way: int
    unreadable: int
    not_here: tuple[NotHere, ...]

    @property
    def missing(self) -> int:
        """Still."""
        return sum(not film.came for film in self.not_here)


@dataclass(frozen=True, kw_only=True)
class StillMissing:
    """What the alarm tells of one PACS."""

    pacs: str
    ids: tuple[int, ...]
    reasons: Counter[Why]
    oldest: date


@dataclass(frozen=True, kw_only=True)
class ListedFilm:
    """A film that is still missing, as an operator looks it up in the PACS."""

    id: int
    pacs: str
    day: date
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    film_at: str
    why: Why
    status: str | None
    calling_ae: str
    found_at: datetime


def keep(connection: Connection, pacs: str, day: date, found: Comparison, *, unreadable: int, now: datetime) -> None:
    """A whole answer, in place of an earlier one. A film that is still missing keeps its row's id."""
    missing = {film.sop_instance_uid: film for film in found.missing}
    of_day = select(missing_film.c.id, missing_film.c.sop_instance_uid).where(_of(pacs, day))
    gone = [row.id for row in connection.execute(of_day) if row.sop_instance_uid not in missing]
    for start in range(0, len(gone), CHUNK):
        connection.execute(delete(missing_film).where(missing_film.c.id.in_(gone[start : start + CHUNK])))
    for uid, film in missing.items():
        values = {
            "day": day,
            "study_instance_uid": film.study_instance_uid,
            "series_instance_uid": film.series_instance_uid,
            "modality": film.modality,
            "film_at": film.film_at,
            "accession_digest": film.accession_digest,
            "why": film.why.value,
            "status": film.status,
            "calling_ae": film.calling_ae,
        }
        known = (missing_film.c.pacs == pacs) & (missing_film.c.sop_instance_uid == uid)
        if not connection.execute(update(missing_film).where(known).values(values)).rowcount:
            row = values | {"pacs": pacs, "sop_instance_uid": uid, "found_at": now}
            connection.execute(insert(missing_film).values(row))
    counts = {"films": found.films, "here": found.here, "on_its_way": found.on_its_way, "unreadable": unreadable}
    _answer(connection, pacs, day, counts | {"asked_at": now, "fault": None})
    connection.execute(delete(missing_film).where(missing_film.c.day < day - KEPT))
    connection.execute(delete(pacs_answer).where(pacs_answer.c.day < day - KEPT))


def keep_fault(connection: Connection, pacs: str, day: date, fault: str, now: datetime) -> None:
    """That there is no whole answer; one that is kept already stands."""
    whole = select(pacs_answer.c.id).where(
        pacs_answer.c.pacs == pacs, pacs_answer.c.day == day, pacs_answer.c.fault.is_(None)
    )
    if connection.execute(whole).first() is None:
        counts = dict.fromkeys(("films", "here", "on_its_way", "unreadable"), 0)
        _answer(connection, pacs, day, counts | {"asked_at": now, "fault": fault[:64]})


def unanswered(connection: Connection, pacs: str, first: date, last: date) -> list[date]:
    """Days from `first` to `last` of which it was asked in vain, or too early for a film on its way."""
    again = or_(pacs_answer.c.fault.is_not(None), pacs_answer.c.on_its_way > 0)
    query = select(pacs_answer.c.day).where(pacs_answer.c.pacs == pacs, pacs_answer.c.day.between(first, last), again)
    return list(connection.execute(query.order_by(pacs_answer.c.day)).scalars())


def is_whole_since(connection: Connection, pacs: str, day: date, end: datetime) -> bool:
    """Whether there is a whole answer on the day, asked after `end`."""
    query = select(pacs_answer.c.id).where(
        pacs_answer.c.pacs == pacs,
        pacs_answer.c.day == day,
        pacs_answer.c.fault.is_(None),
        pacs_answer.c.asked_at >= end,
    )
    return connection.execute(query).first() is not None


def of_day(connection: Connection, day: date) -> tuple[PacsDay, ...]:
    """What each PACS that was asked said of a day."""
    answers = connection.execute(select(pacs_answer).where(pacs_answer.c.day == day).order_by(pacs_answer.c.pacs))
    rows = connection.execute(
        select(missing_film, _came().label("came")).where(missing_film.c.day == day).order_by(missing_film.c.id)
    ).all()
    return tuple(
        PacsDay(
            pacs=row.pacs,
            day=day,
            asked_at=row.asked_at,
            fault=row.fault,
            films=row.films,
            here=row.here,
            on_its_way=row.on_its_way,
            unreadable=row.unreadable,
            not_here=tuple(
                NotHere(
                    id=film.id,
                    why=Why(film.why),
                    status=film.status,
                    calling_ae=film.calling_ae,
                    modality=film.modality,
                    film_at=film.film_at,
                    came=bool(film.came),
                )
                for film in rows
                if film.pacs == row.pacs
            ),
        )
        for row in answers
    )


def still_missing(connection: Connection, first: date) -> list[StillMissing]:
    """By PACS, films of this day and later ones that have not come."""
    query = select(missing_film.c.id, missing_film.c.pacs, missing_film.c.why, missing_film.c.day)
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.where(missing_film.c.day >= first, ~_came()).order_by(missing_film.c.id)):
        found.setdefault(row.pacs, []).append(row)
    return [
        StillMissing(
            pacs=pacs,
            ids=tuple(row.id for row in rows),
            reasons=Counter(Why(row.why) for row in rows),
            oldest=min(row.day for row in rows),
        )
        for pacs, rows in sorted(found.items())
    ]


def listed(connection: Connection) -> list[ListedFilm]:
    """Films that have not come, the newest first."""
    columns = [missing_film.c[name] for name in ListedFilm.__dataclass_fields__]
    rows = connection.execute(
        select(*columns).where(~_came()).order_by(missing_film.c.day.desc(), missing_film.c.id.desc())
    )
    return [ListedFilm(**dict(row._mapping) | {"why": Why(row.why)}) for row in rows]


def _came() -> ColumnElement[bool]:
    """Whether the ledger has a film under the missing one's UID, of a known peer."""
    return exists().where(
        and_(
            instance.c.sop_instance_uid == missing_film.c.sop_instance_uid,
            instance.c.is_film,
            instance.c.admitted,
        )
    )


def _of(pacs: str, day: date) -> ColumnElement[bool]:
    return (missing_film.c.pacs == pacs) & (missing_film.c.day == day)


def _answer(connection: Connection, pacs: str, day: date, values: dict[str, Any]) -> None:
    of_day = (pacs_answer.c.pacs == pacs) & (pacs_answer.c.day == day)
    if not connection.execute(update(pacs_answer).where(of_day).values(values)).rowcount:
        connection.execute(insert(pacs_answer).values(values | {"pacs": pacs, "day": day}))
