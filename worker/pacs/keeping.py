"""What a PACS said, kept: one row for its answer on a day, and one for each film that is missing.

A PACS may have a hundred thousand films that we do not. They are written in batches, a transaction each, and the answer
behind them: who writes in between does not wait, and where the process is killed there is no whole answer of the day,
so that it is asked for again.

A missing film's row stays when the film comes, until its day is asked for again.
"""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.db.session import reading, writing
from worker.db.tables import missing_film, pacs_answer
from worker.pacs.comparing import Comparison, MissingFilm

BATCH = 500
"""Films in one transaction."""
KEPT = timedelta(days=400)
"""More than a year, so that a day can be compared with the same of last year."""


def keep(engine: Engine, pacs: str, day: date, found: Comparison, *, unreadable: int, now: datetime) -> None:
    """A whole answer, in place of an earlier one. A film that is still missing keeps its row's id."""
    missing = {film.sop_instance_uid: film for film in found.missing}
    films = list(missing.values())
    for start in range(0, len(films), BATCH):
        with writing(engine) as connection:
            _write(connection, pacs, day, films[start : start + BATCH], now)
    query = select(missing_film.c.id, missing_film.c.sop_instance_uid)
    query = query.where(missing_film.c.pacs == pacs, missing_film.c.day == day)
    with reading(engine) as connection:
        gone = [row.id for row in connection.execute(query) if row.sop_instance_uid not in missing]
    _remove(engine, gone)
    with reading(engine) as connection:
        old = list(connection.execute(select(missing_film.c.id).where(missing_film.c.day < day - KEPT)).scalars())
    _remove(engine, old)
    counts = {"films": found.films, "here": found.here, "on_its_way": found.on_its_way, "unreadable": unreadable}
    with writing(engine) as connection:
        _answer(connection, pacs, day, counts | {"asked_at": now, "fault": None})


def keep_fault(connection: Connection, pacs: str, day: date, fault: str, now: datetime) -> None:
    """That there is no whole answer; one that is kept already stands."""
    whole = select(pacs_answer.c.id).where(
        pacs_answer.c.pacs == pacs, pacs_answer.c.day == day, pacs_answer.c.fault.is_(None)
    )
    if connection.execute(whole).first() is None:
        counts = dict.fromkeys(("films", "here", "on_its_way", "unreadable"), 0)
        _answer(connection, pacs, day, counts | {"asked_at": now, "fault": fault[:64]})


def _write(connection: Connection, pacs: str, day: date, films: list[MissingFilm], now: datetime) -> None:
    rows = [
        {
            "pacs": pacs,
            "sop_instance_uid": film.sop_instance_uid,
            "day": day,
            "study_instance_uid": film.study_instance_uid,
            "series_instance_uid": film.series_instance_uid,
            "modality": film.modality,
            "film_at": film.film_at,
            "accession_digest": film.accession_digest,
            "why": film.why.value,
            "status": film.status,
            "calling_ae": film.calling_ae,
            "found_at": now,
        }
        for film in films
    ]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(missing_film).values(rows)
    key = ["pacs", "sop_instance_uid"]
    said = {name: new.excluded[name] for name in rows[0] if name not in (*key, "found_at")}
    connection.execute(new.on_conflict_do_update(index_elements=key, set_=said))


def _remove(engine: Engine, ids: list[int]) -> None:
    for start in range(0, len(ids), BATCH):
        with writing(engine) as connection:
            connection.execute(delete(missing_film).where(missing_film.c.id.in_(ids[start : start + BATCH])))


def _answer(connection: Connection, pacs: str, day: date, values: dict[str, Any]) -> None:
    of_day = (pacs_answer.c.pacs == pacs) & (pacs_answer.c.day == day)
    if not connection.execute(update(pacs_answer).where(of_day).values(values)).rowcount:
        connection.execute(insert(pacs_answer).values(values | {"pacs": pacs, "day": day}))
