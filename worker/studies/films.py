"""What studies are made of, by the database: films with all their revisions, and how much came beside them.

What an unknown peer sent is no part of it until it is admitted.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from worker.db.scores import LiveScore, live_scores
from worker.db.tables import instance
from worker.states import State
from worker.studies.outcome import StudyFilm


@dataclass(frozen=True, kw_only=True)
class StudyContent:
    """Of one study."""

    films: list[StudyFilm]
    """All revisions, by id."""
    other_objects: int
    """SOP Instance UIDs of objects that are no film."""


def content_of(connection: Connection, studies: Collection[str]) -> dict[str, StudyContent]:
    """By Study Instance UID; the empty content of a study of which nothing is there."""
    films: dict[str, list[StudyFilm]] = defaultdict(list)
    later = instance.alias()
    revisions = (later.c.sop_instance_uid == instance.c.sop_instance_uid) & later.c.is_film & later.c.admitted
    # By the revision, which the index on the UID holds: for the lowest id PostgreSQL may read the whole table.
    first, last = (
        select(later.c.id).where(revisions).order_by(order).limit(1).scalar_subquery()
        for order in (later.c.revision, later.c.revision.desc())
    )
    query = select(instance, first.label("first_id"), last.label("last_id"))
    in_these = instance.c.study_instance_uid.in_(studies) & instance.c.admitted
    for row in connection.execute(query.where(in_these, instance.c.is_film).order_by(instance.c.id)):
        films[row.study_instance_uid].append(
            StudyFilm(
                id=row.id,
                first_id=row.first_id,
                study_instance_uid=row.study_instance_uid,
                revision=row.revision,
                replaced_by=None if row.last_id == row.id else row.last_id,
                state=State(row.state),
                reason=row.reason,
                calling_ae=row.calling_ae,
                view=row.view_position or row.view_code or "",
                accession_digest=row.accession_digest,
                received_at=row.received_at,
            )
        )
    number = func.count(instance.c.sop_instance_uid.distinct())
    beside = select(instance.c.study_instance_uid, number).where(in_these, instance.c.is_film.is_(False))
    others = {row[0]: row[1] for row in connection.execute(beside.group_by(instance.c.study_instance_uid))}
    return {uid: StudyContent(films=films[uid], other_objects=others.get(uid, 0)) for uid in studies}


def scores_of(connection: Connection, films: Collection[StudyFilm]) -> dict[int, LiveScore]:
    """Live scores of these films, by instance id."""
    return live_scores(connection, instance.c.id.in_([film.id for film in films]))
