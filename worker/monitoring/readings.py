"""Readers at their work: which drawn films wait for whom, and one label given of one film.

The same table holds what a file of labels brought. A film counts as read by someone who named it in either way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, writing
from worker.db.tables import instance, label_sample, truth
from worker.errors import NotFound, WrongState
from worker.monitoring.label_sample import last_reset, names_of_draws

CHUNK = 500
HIDDEN = "drawn for labels: hidden until you label it"
"""What stands in place of a score that is kept from a reader."""


@dataclass(frozen=True, kw_only=True)
class ReadingQueue:
    """Drawn films, as one reader has them before them."""

    drawn: int
    waiting: tuple[int, ...]
    """Instance ids without a label of this reader, in the order of chance."""

    @property
    def read(self) -> int:
        return self.drawn - len(self.waiting)


def queue_of(connection: Connection, reader: str) -> ReadingQueue:
    """Of the draws after the last reset; a film that was sent again as its newest revision."""
    drawn = list(names_of_draws(connection))
    uids, accessions = _named_by(connection, reader)
    waiting = set(drawn)
    for chunk in _chunks(drawn):
        columns = (instance.c.id, instance.c.sop_instance_uid, instance.c.accession_digest)
        for row in connection.execute(select(*columns).where(instance.c.id.in_(chunk))):
            if row.sop_instance_uid in uids or row.accession_digest in accessions:
                waiting.discard(row.id)
    return ReadingQueue(drawn=len(drawn), waiting=tuple(key for key in drawn if key in waiting))


def hidden_from(connection: Connection, reader: str) -> frozenset[int]:
    """Ids of every revision of the films that wait for this reader."""
    return frozenset(row.id for row in _hidden(connection, reader))


@dataclass(frozen=True, kw_only=True)
class HiddenTime:
    """From when a revision of a hidden film was received until it ended."""

    start: datetime
    end: datetime
    """`start` where it has not."""


def hidden_times(connection: Connection, reader: str) -> list[HiddenTime]:
    """Of every revision of the films that wait for this reader."""
    return [
        HiddenTime(start=row.received_at, end=max(row.received_at, row.finished_at or row.received_at))
        for row in _hidden(connection, reader)
    ]


def is_hidden(connection: Connection, reader: str, instance_id: int) -> bool:
    """Whether the score is kept from this reader: the film is drawn for labels, and theirs is not in yet.

    Every revision of a drawn film is, as live rates take its newest one. Draws before the last reset count no more.
    """
    uid = select(instance.c.sop_instance_uid).where(instance.c.id == instance_id).scalar_subquery()
    drawn = select(label_sample.c.id).join(instance).where(instance.c.sop_instance_uid == uid)
    if since := last_reset(connection):
        drawn = drawn.where(label_sample.c.drawn_at >= since.at)
    if connection.execute(drawn.limit(1)).first() is None:
        return False
    return label_of(connection, reader, instance_id) is None


def label_of(connection: Connection, reader: str, instance_id: int) -> str | None:
    """What this reader said of a film, by its last reading; None where they said nothing."""
    said = (given.label for given in labels_of(connection, instance_id) if given.reader == reader)
    return next(said, None)


@dataclass(frozen=True, kw_only=True)
class GivenLabel:
    """What a reader said of a film by its last reading."""

    reader: str
    label: str
    read_on: date


def labels_of(connection: Connection, instance_id: int) -> list[GivenLabel]:
    """Of each reader the last one, the newest first. A label names the film by UID, or by its Accession Number."""
    columns = (instance.c.sop_instance_uid, instance.c.accession_digest)
    film = connection.execute(select(*columns).where(instance.c.id == instance_id)).one_or_none()
    if film is None:
        return []
    named = truth.c.sop_instance_uid == film.sop_instance_uid
    if film.accession_digest:
        named |= truth.c.accession_digest == film.accession_digest
    last: dict[str, GivenLabel] = {}
    for row in connection.execute(select(truth).where(named).order_by(truth.c.read_on.desc(), truth.c.id)):
        last.setdefault(row.reader, GivenLabel(reader=row.reader, label=row.label, read_on=row.read_on))
    return list(last.values())


def give_label(engine: Engine, instance_id: int, label: str, reader: str, *, read_on: date, actor: str) -> None:
    """One label of one film. Audited.

    A second one by the same reader is not taken: they have seen the score since.

    Raises:
        NotFound: no such film. WrongState: this reader's label is in already.
    """
    with writing(engine) as connection:
        film = connection.execute(
            select(instance.c.sop_instance_uid, instance.c.is_film, instance.c.admitted).where(
                instance.c.id == instance_id
            )
        ).one_or_none()
        if film is None or not (film.is_film and film.admitted):
            raise NotFound(f"no film {instance_id}")
        hidden = is_hidden(connection, reader, instance_id)
        if label_of(connection, reader, instance_id) is not None:
            raise WrongState(
                f"your label of film {instance_id} is in, and you may have seen the score since: "
                "'xrayq labels import' takes a correction"
            )
        connection.execute(
            insert(truth).values(
                sop_instance_uid=film.sop_instance_uid,
                accession_digest="",
                reader=reader,
                label=label,
                read_on=read_on,
                imported_at=database_time(connection),
            )
        )
        trail.record(
            connection,
            action=Action.LABELLED,
            instance_id=instance_id,
            actor=actor,
            detail={"label": label, "blind": hidden},
        )


def _named_by(connection: Connection, reader: str) -> tuple[set[str], set[str]]:
    """SOP Instance UIDs and accession digests that a reader has labelled."""
    rows = connection.execute(
        select(truth.c.sop_instance_uid, truth.c.accession_digest).where(truth.c.reader == reader)
    ).all()
    return {row.sop_instance_uid for row in rows} - {""}, {row.accession_digest for row in rows} - {""}


def _hidden(connection: Connection, reader: str) -> Iterator[Row[Any]]:
    columns = [instance.c[name] for name in ("id", "received_at", "finished_at")]
    drawn = instance.alias()
    for chunk in _chunks(list(queue_of(connection, reader).waiting)):
        uids = select(drawn.c.sop_instance_uid).where(drawn.c.id.in_(chunk))
        yield from connection.execute(select(*columns).where(instance.c.sop_instance_uid.in_(uids)))


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    return (ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK))
