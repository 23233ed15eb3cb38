"""What was kept of PACSs, read: so the report of a day says the same whenever it is made, and the alarm knows what is
missing. Whether a missing film came since is read from the ledger.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from worker.db.tables import instance, missing_film, pacs_answer
from worker.pacs.comparing import Why


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
    films: int
    ids: tuple[int, ...]
    """Of the first of them."""
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


def still_missing(connection: Connection, first: date, most: int) -> list[StillMissing]:
    """By PACS, films of this day and later ones that have not come.

    Args:
        most: ids of each PACS.
    """
    missing = (missing_film.c.day >= first, ~_came())
    by = (missing_film.c.pacs, missing_film.c.why)
    rows = connection.execute(
        select(*by, func.count().label("films"), func.min(missing_film.c.day).label("oldest"))
        .where(*missing)
        .group_by(*by)
        .order_by(*by)
    ).all()
    found = []
    for pacs, of_pacs in groupby(rows, key=lambda row: row.pacs):
        counts = list(of_pacs)
        ids = select(missing_film.c.id).where(missing_film.c.pacs == pacs, *missing).order_by(missing_film.c.id)
        found.append(
            StillMissing(
                pacs=pacs,
                films=sum(row.films for row in counts),
                ids=tuple(connection.execute(ids.limit(most)).scalars()),
                reasons=Counter({Why(row.why): row.films for row in counts}),
                oldest=min(row.oldest for row in counts),
            )
        )
    return found


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
