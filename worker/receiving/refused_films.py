"""Which films were refused, by SOP Instance UID. Of a film that a PACS has and we do not, this says why.

The latest refusal of each, for KEPT; and no more than MOST_KEPT, for a stranger may send any UID.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, delete, func, insert, select

from worker.db.session import database_time
from worker.db.tables import refused_film

KEPT = timedelta(days=30)
MOST_KEPT = 50_000
CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class RefusedFilm:
    sop_instance_uid: str
    calling_ae: str
    status: int
    """Of the C-STORE-RSP."""


def keep(connection: Connection, films: Sequence[RefusedFilm]) -> None:
    """These, in place of older refusals of the same films; what is too old, or too much, goes."""
    if not films:
        return
    now = database_time(connection)
    for uids in _chunks([film.sop_instance_uid for film in films]):
        connection.execute(delete(refused_film).where(refused_film.c.sop_instance_uid.in_(uids)))
    rows = [
        {
            "sop_instance_uid": film.sop_instance_uid,
            "calling_ae": film.calling_ae[:16],
            "status": film.status,
            "refused_at": now,
        }
        for film in films
    ]
    connection.execute(insert(refused_film), rows)
    newest = connection.execute(select(func.max(refused_film.c.id))).scalar_one()
    old = (refused_film.c.refused_at < now - KEPT) | (refused_film.c.id <= newest - MOST_KEPT)
    connection.execute(delete(refused_film).where(old))


def among(connection: Connection, uids: Sequence[str]) -> dict[str, RefusedFilm]:
    """By UID, those of them that were refused."""
    columns = (refused_film.c.sop_instance_uid, refused_film.c.calling_ae, refused_film.c.status)
    found = {}
    for chunk in _chunks(uids):
        query = select(*columns).where(refused_film.c.sop_instance_uid.in_(chunk)).order_by(refused_film.c.id)
        for row in connection.execute(query):
            found[row.sop_instance_uid] = RefusedFilm(**row._mapping)
    return found


def _chunks(uids: Sequence[str]) -> list[Sequence[str]]:
    return [uids[start : start + CHUNK] for start in range(0, len(uids), CHUNK)]
