"""A batch of the quarantine is admitted: films into the queue or to an end of their own, what is no film to its end."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from dicom_gateway.revision import Comparison
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time
from worker.db.tables import instance, outbox, quarantine
from worker.peers.deciding import COUNTS, AdmittedFilm, CompareFilms, Fate, Pair, decide
from worker.states import DUPLICATE, NOT_A_FILM, REPLACED, Priority, State
from worker.studies import opening

CHUNK = 500
"""Ids, or UIDs, in one statement."""

Events = list[dict[str, Any]]


@dataclass(kw_only=True)
class Released:
    """What left the quarantine."""

    films: int = 0
    other_objects: int = 0
    ended: int = 0
    """Of the films: they were here already, see `deciding`."""

    def count(self, rows: Sequence[Row[Any]]) -> None:
        films = sum(row.is_film for row in rows)
        self.films += films
        self.other_objects += len(rows) - films


@dataclass(kw_only=True)
class Admitting:
    """Admits what it is given, batch for batch; a film that must be compared first stays until it is given again."""

    actor: str
    released: Released = field(default_factory=Released)
    compared: dict[Pair, Comparison] = field(default_factory=dict)
    wanted: set[Pair] = field(default_factory=set)

    def look(self, compare: CompareFilms) -> bool:
        """Compare what must be: outside of a transaction, for films are read whole. Whether there was something."""
        for earlier, later in self.wanted:
            self.compared[earlier, later] = compare(earlier, later)
        found, self.wanted = bool(self.wanted), set()
        return found

    def release(self, connection: Connection, rows: Sequence[Row[Any]]) -> Events:
        """Films into the queue or to an end of their own, what is no film to its end. The events."""
        fates = self._fates(connection, rows)
        gone = [row for row in rows if row.id in fates]
        self.released.count(gone)
        now = database_time(connection)
        by_reason: dict[str, list[int]] = defaultdict(list)
        for row in gone:
            by_reason[fates[row.id].reason].append(row.id)
        for reason, ids in by_reason.items():
            ended = {"state": State.INELIGIBLE, "reason": reason, "finished_at": now}
            # What it was a revision of when it came may be another film than now.
            queued = {"state": State.RECEIVED, "identity_changed": None}
            leave(connection, ids, (ended if reason else queued) | {"admitted": reason in COUNTS})
        for key, fate in fates.items():
            if fate.found and not fate.reason:
                changed = {"identity_changed": list(fate.found.identity_changed)}
                connection.execute(update(instance).where(instance.c.id == key).values(changed))
        if waiting := [row for row in gone if not fates[row.id].reason]:
            connection.execute(insert(outbox), [_place(row, now) for row in waiting])
        self.released.ended += len(by_reason[DUPLICATE]) + len(by_reason[REPLACED])
        _open_studies(connection, gone, fates, now)
        return [event for row in gone for event in self._events(row.id, fates[row.id])]

    def _fates(self, connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, Fate]:
        """By instance id, in the order in which they came; without those that must be compared first."""
        here = _admitted(connection, {row.sop_instance_uid for row in rows if row.is_film})
        fates: dict[int, Fate] = {}
        waiting: set[str] = set()
        for row in rows:
            uid = row.sop_instance_uid
            if not row.is_film:
                fates[row.id] = Fate(reason=NOT_A_FILM)
            elif uid not in waiting:
                fate = decide(row.revision, row.digest, here[uid], self.compared)
                if not isinstance(fate, Fate):
                    self.wanted |= fate
                    waiting.add(uid)
                    continue
                fates[row.id] = fate
                if not fate.reason:
                    here[uid].append(_as_admitted(row))
        return fates

    def _events(self, instance_id: int, fate: Fate) -> Iterator[dict[str, Any]]:
        corrected: dict[str, Any] = {}
        if fate.found and fate.found.demographics_changed:
            corrected = {"demographics_changed": list(fate.found.demographics_changed)}
        detail: dict[str, Any] = {}
        if fate.other and fate.found and not fate.reason:
            detail = {"before": fate.other.id, "identity_changed": list(fate.found.identity_changed)}
            detail |= {"changed": list(fate.found.changed)} | corrected
        yield trail.event(action=Action.ADMITTED, instance_id=instance_id, actor=self.actor, detail=detail)
        if fate.reason:
            ended: dict[str, Any] = {"reason": fate.reason} | corrected
            if fate.other:
                ended["here_already"] = fate.other.id
            yield trail.event(action=Action.INELIGIBLE, instance_id=instance_id, actor=self.actor, detail=ended)


def _admitted(connection: Connection, uids: Collection[str]) -> dict[str, list[AdmittedFilm]]:
    """By UID, in the order of their revisions."""
    found: dict[str, list[AdmittedFilm]] = defaultdict(list)
    columns = (instance.c.id, instance.c.sop_instance_uid, instance.c.revision, instance.c.digest)
    query: Select[Any] = select(*columns, instance.c.study_instance_uid).order_by(instance.c.revision)
    query = query.where(instance.c.is_film, instance.c.admitted)
    for chunk in _chunks(list(uids)):
        for row in connection.execute(query.where(instance.c.sop_instance_uid.in_(chunk))):
            found[row.sop_instance_uid].append(_as_admitted(row))
    return found


def _as_admitted(row: Row[Any]) -> AdmittedFilm:
    return AdmittedFilm(id=row.id, revision=row.revision, digest=row.digest, study_instance_uid=row.study_instance_uid)


def leave(connection: Connection, ids: list[int], values: dict[str, Any]) -> None:
    for chunk in _chunks(ids):
        connection.execute(update(instance).where(instance.c.id.in_(chunk)).values(values))
        connection.execute(delete(quarantine).where(quarantine.c.instance_id.in_(chunk)))


def _place(row: Row[Any], now: datetime) -> dict[str, Any]:
    """In the queue."""
    priority = Priority.of(row.backfilled).value
    return {"kind": "score", "instance_id": row.id, "next_attempt_at": now, "priority": priority}


def _open_studies(connection: Connection, rows: Sequence[Row[Any]], fates: dict[int, Fate], now: datetime) -> None:
    """Of what counts from now on, and of the films that it is a revision of. By UID, as `opening` wants it."""
    studies = {row.id: row.study_instance_uid for row in rows if fates[row.id].reason in COUNTS}
    others = [fate.other for fate in fates.values() if fate.other and not fate.reason]
    studies |= {film.id: film.study_instance_uid for film in others}
    for chunk in _chunks(sorted(studies, key=studies.__getitem__)):
        opening.changed(connection, chunk, now)


def _chunks(found: list[Any]) -> list[list[Any]]:
    return [found[at : at + CHUNK] for at in range(0, len(found), CHUNK)]
