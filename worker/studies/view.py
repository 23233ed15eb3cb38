"""Studies as people see them: a list, and one in full with its films."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, case, exists, func, select

from model.json_value import plain
from worker.db.span import Span
from worker.db.tables import instance, study_outcome
from worker.errors import NotFound
from worker.states import State
from worker.studies.films import content_of, scores_of
from worker.studies.outcome import StudyFilm, StudyOutcome, newest


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """One study."""

    id: int
    """The audit trail names it so."""
    study_instance_uid: str
    outcome: StudyOutcome
    """WAITING while it is open, also where it was complete before."""
    reason: str | None
    """Why not_analysed or failed, a code."""
    before: StudyOutcome | None
    """Of a study that is open again: its outcome when it was complete last."""
    used_instance_id: int | None
    """The film whose score is the outcome; of a study that is open again that of `before`, as what follows."""
    bundle_digest: str | None
    films: int
    failed: int
    other_objects: int
    first_received_at: datetime
    last_received_at: datetime
    quiet_until: datetime
    """Not complete before."""
    complete_at: datetime | None
    """None while it is open."""
    version: int
    """0 before it was complete for the first time; plus 1 with each change of its outcome."""
    changed_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = plain(asdict(self), timespec="seconds")
        return found


@dataclass(frozen=True, kw_only=True)
class StudyInFull:
    """A study with its films."""

    study: StudyView
    films: list[StudyFilm]
    """All revisions, by id."""
    flags: dict[int, tuple[str, ...]]
    """Of each of them that was scored, by id: its flags that are raised."""

    @property
    def flagged_beside(self) -> list[StudyFilm]:
        """Films with a flag that is not in the outcome: another film's score is used."""
        used = self.study.used_instance_id
        return [film for film in newest(self.films) if film.id != used and self.flags.get(film.id)]

    @property
    def senders(self) -> list[str]:
        """AE titles that films of it came from."""
        return sorted({film.calling_ae for film in self.films})

    @property
    def accession_numbers(self) -> int:
        """Different ones that its films name. More than one: two studies may have the same UID."""
        return len({film.accession_digest for film in newest(self.films)} - {""})

    def part_of(self, film: StudyFilm) -> str:
        """What a film has to do with the outcome, in words."""
        if film.id == self.study.used_instance_id:
            return "used: of the scored films the one received last" if self.study.complete_at else "used before"
        if film.replaced_by is not None:
            here = any(other.id == film.replaced_by for other in self.films)
            return f"replaced by {film.replaced_by}{'' if here else ', in another study'}"
        if film.state is State.RECEIVED:
            return "waits"
        if film.state in (State.SCORED, State.REPORTED):
            return "scored, not used" if self.study.complete_at else "scored"
        return film.reason or ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready. Accession digests stay inside."""
        names = ("id", "revision", "replaced_by", "state", "reason", "calling_ae", "view", "received_at")
        films = [
            {name: getattr(film, name) for name in names}
            | {"part": self.part_of(film), "flags": list(self.flags.get(film.id, ()))}
            for film in self.films
        ]
        return self.study.as_dict() | {
            "senders": self.senders,
            "accession_numbers": self.accession_numbers,
            "film_list": plain(films, timespec="seconds"),
        }


def list_studies(connection: Connection, *, limit: int = 0) -> list[StudyView]:
    """The newest first, by when their first object came; `limit` 0 is all."""
    return [_view(row) for row in connection.execute(_newest(limit, *study_outcome.c))]


def outcomes_of(connection: Connection, span: Span) -> dict[str, int]:
    """How many studies of a span came to which outcome, by when their first object came; without those that a backfill
    fetched as a whole."""
    live = exists().where(instance.c.study_instance_uid == study_outcome.c.study_instance_uid, ~instance.c.backfilled)
    outcome = case((study_outcome.c.due_at.is_not(None), StudyOutcome.WAITING.value), else_=study_outcome.c.outcome)
    came = span.covers(study_outcome.c.first_received_at)
    query = select(outcome, func.count()).where(came, live).group_by(outcome)
    found = {StudyOutcome(name): int(number) for name, number in connection.execute(query)}
    return {one.value: found[one] for one in StudyOutcome if one in found}


def film_ids(*, limit: int = 0) -> Select[Any]:
    """Selects the ids of the films of these studies, in all revisions."""
    return select(instance.c.id).where(
        instance.c.study_instance_uid.in_(_newest(limit, study_outcome.c.study_instance_uid)), instance.c.is_film
    )


def studies_of_films(connection: Connection, *, limit: int = 0) -> dict[int, str]:
    """Study Instance UID of each of these films."""
    query = film_ids(limit=limit).add_columns(instance.c.study_instance_uid)
    return {row.id: row.study_instance_uid for row in connection.execute(query)}


def find(connection: Connection, study_instance_uid: str) -> StudyInFull:
    """Raises NotFound."""
    row = connection.execute(
        select(study_outcome).where(study_outcome.c.study_instance_uid == study_instance_uid)
    ).one_or_none()
    if row is None:
        raise NotFound(f"no study {study_instance_uid}: 'xrayq outcome list' shows the newest, --limit 0 all")
    films = content_of(connection, [study_instance_uid])[study_instance_uid].films
    flags = {key: tuple(score.flags) for key, score in scores_of(connection, films).items()}
    return StudyInFull(study=_view(row), films=films, flags=flags)


def _newest(limit: int, *columns: Any) -> Select[Any]:
    query = select(*columns).order_by(study_outcome.c.id.desc())
    return query.limit(limit) if limit else query


def _view(row: Row[Any]) -> StudyView:
    is_open, decided = row.due_at is not None, StudyOutcome(row.outcome)
    return StudyView(
        id=row.id,
        study_instance_uid=row.study_instance_uid,
        outcome=StudyOutcome.WAITING if is_open else decided,
        reason=row.reason,
        before=decided if is_open and row.version else None,
        used_instance_id=row.used_instance_id,
        bundle_digest=row.bundle_digest,
        films=row.films,
        failed=row.failed,
        other_objects=row.other_objects,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        quiet_until=row.quiet_until,
        complete_at=None if is_open else row.complete_at,
        version=row.version,
        changed_at=row.changed_at,
    )
