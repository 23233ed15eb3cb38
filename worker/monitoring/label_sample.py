"""Films drawn at random for readers, so that live rates are those of all films and not of the ones somebody chose.

A draw takes films that a bundle scored live, one a study, each with the same chance whatever it scored; no study is
drawn twice. It is kept in the database, so a list can be printed again, and nobody can draw until the films please. Its
order is that of chance, and live rates follow it.
"""

import secrets
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, func, insert, select

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.scores import LIVE_OF_FILM
from worker.db.session import database_time, writing
from worker.db.tables import instance, label_reset, label_sample, score
from worker.errors import ConfigurationError, NotFound

COLUMNS = ("sop_instance_uid", "study_instance_uid", "received", "label", "reader", "read_on")
"""Of a worklist: readers fill the last three, and 'xrayq labels import' takes the file back."""
LONGEST_NAME = 64
DRAW_LOCK = 0x647261770A  # one draw at a time on PostgreSQL, or two take films of one study; SQLite writes alone anyway


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which films a draw takes from."""

    films: int
    bundle_digest: str
    """Whose live scores they have."""
    since: datetime | None = None
    """Received then or later, as of the last reset."""
    until: datetime | None = None
    """Received before."""
    calling_ae: str = ""
    """Of this sender; "" of all."""
    seed: int | None = None
    """None: one that nobody knows before."""


@dataclass(frozen=True, kw_only=True)
class DrawnFilm:
    sop_instance_uid: str
    study_instance_uid: str
    received_at: datetime

    @property
    def row(self) -> dict[str, str]:
        """Of a worklist. No score and no flag: they would steer the reader."""
        filled = (self.sop_instance_uid, self.study_instance_uid, self.received_at.isoformat(timespec="seconds"))
        return dict(zip(COLUMNS, (*filled, "", "", ""), strict=True))


@dataclass(frozen=True, kw_only=True)
class Draw:
    name: str
    drawn_at: datetime
    films: tuple[DrawnFilm, ...]
    """In the order of chance."""
    again: bool
    """Whether it was drawn before, and is only shown."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "draw": self.name,
            "drawn_at": self.drawn_at.isoformat(timespec="seconds"),
            "again": self.again,
            "films": [film.row for film in self.films],
        }


@dataclass(frozen=True, kw_only=True)
class Reset:
    """Since when live rates count, and why not before."""

    at: datetime
    actor: str
    reason: str


def draw(engine: Engine, name: str, wanted: Wanted, *, actor: str) -> Draw:
    """Draw films and keep which; audited. A draw that was made already is shown as it was, whatever is wanted now.

    Args:
        name: of the draw; "" for its day, and a number where it is not the first.

    Raises:
        NotFound: no film is left. ConfigurationError: the name is too long, or cannot be printed.
    """
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigurationError(f"the name of a draw is one line of at most {LONGEST_NAME} characters")
    with writing(engine, long=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(DRAW_LOCK)))
        if name and (known := shown(connection, name)):
            return known
        now = database_time(connection)
        films = _films_left(connection, wanted)
        if not films:
            of_sender = instance.c.is_film & (instance.c.calling_ae == wanted.calling_ae)
            if (
                wanted.calling_ae
                and connection.execute(select(instance.c.id).where(of_sender).limit(1)).first() is None
            ):
                raise NotFound(f"no film of {wanted.calling_ae} ever came: 'xrayq device list' has the AEs that sent")
            raise NotFound("no film is left to draw: none scored live by this bundle is of a study not drawn yet")
        seed = secrets.randbits(32) if wanted.seed is None else wanted.seed
        chosen = choose(films, wanted.films, seed)
        name = name or _name(connection, now)
        rows = [{"draw": name, "instance_id": key, "drawn_at": now} for key in chosen]
        connection.execute(insert(label_sample), rows)
        detail = {"draw": name, "films": len(chosen), "studies": len(films), "seed": seed}
        detail |= {"bundle": wanted.bundle_digest, "calling_ae": wanted.calling_ae}
        detail |= {
            side: moment.isoformat(timespec="seconds") if moment else None
            for side, moment in (("since", wanted.since), ("until", wanted.until))
        }
        made = shown(connection, name)
        assert made
        trail.record(connection, action=Action.LABELS_DRAWN, instance_id=None, actor=actor, detail=detail)
        return Draw(name=name, drawn_at=now, films=made.films, again=False)


def shown(connection: Connection, name: str) -> Draw | None:
    """A draw as it was made; None where there is none of this name."""
    columns = (instance.c.sop_instance_uid, instance.c.study_instance_uid, instance.c.received_at)
    rows = connection.execute(
        select(label_sample.c.drawn_at, *columns)
        .join(instance, instance.c.id == label_sample.c.instance_id)
        .where(label_sample.c.draw == name)
        .order_by(label_sample.c.id)
    ).all()
    films = tuple(
        DrawnFilm(
            sop_instance_uid=row.sop_instance_uid,
            study_instance_uid=row.study_instance_uid,
            received_at=row.received_at,
        )
        for row in rows
    )
    return Draw(name=name, drawn_at=rows[0].drawn_at, films=films, again=True) if rows else None


def choose(films: list[list[int]], count: int, seed: int) -> list[int]:
    """One film of each of `count` studies, drawn without replacement, in the order of chance.

    Args:
        films: ids, by study.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(films))[:count]
    return [films[study][random.integers(len(films[study]))] for study in order]


def order_of_draws(connection: Connection, *, since_reset: bool = True) -> list[int]:
    """Ids of the drawn films in the order of the draws, as `names_of_draws` has them."""
    return list(names_of_draws(connection, since_reset=since_reset))


def names_of_draws(connection: Connection, *, since_reset: bool = True) -> dict[int, str]:
    """The draw of each drawn film, by its id, in the order of the draws. A film that was sent again stands there as its
    newest revision, as in `labels.truths`.

    Args:
        since_reset: only of draws after the last reset.
    """
    reset = last_reset(connection) if since_reset else None
    drawn = instance.alias()
    newest = instance.alias()
    revision = (
        select(func.max(newest.c.revision))
        .where(newest.c.sop_instance_uid == drawn.c.sop_instance_uid, newest.c.is_film, newest.c.admitted)
        .correlate(drawn)
        .scalar_subquery()
    )
    query = (
        select(instance.c.id, label_sample.c.draw)
        .select_from(label_sample)
        .join(drawn, drawn.c.id == label_sample.c.instance_id)
        .join(instance, (instance.c.sop_instance_uid == drawn.c.sop_instance_uid) & (instance.c.revision == revision))
        .order_by(label_sample.c.id)
    )
    if reset:
        query = query.where(label_sample.c.drawn_at >= reset.at)
    names: dict[int, str] = {}
    for row in connection.execute(query):
        names.setdefault(row.id, row.draw)
    return names


def reset(engine: Engine, reason: str, *, actor: str) -> Reset:
    """From now on live rates begin anew, as after an incident: films received before count no longer. Audited."""
    with writing(engine) as connection:
        now = database_time(connection)
        values = {"at": now, "actor": actor, "reason": reason}
        connection.execute(insert(label_reset), values)
        trail.record(connection, action=Action.LABELS_RESET, instance_id=None, actor=actor, detail={"reason": reason})
    return Reset(at=now, actor=actor, reason=reason)


def last_reset(connection: Connection) -> Reset | None:
    row = connection.execute(select(label_reset).order_by(label_reset.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Reset(at=row.at, actor=row.actor, reason=row.reason)


def _films_left(connection: Connection, wanted: Wanted) -> list[list[int]]:
    """Ids of films that may be drawn, by study, in the order in which they came."""
    drawn = instance.alias()
    studies = select(drawn.c.study_instance_uid).join(label_sample, label_sample.c.instance_id == drawn.c.id)
    query = (
        select(instance.c.id, instance.c.study_instance_uid)
        .join(score, LIVE_OF_FILM)
        .where(
            score.c.bundle_digest == wanted.bundle_digest,
            instance.c.is_film,
            ~instance.c.backfilled,
            instance.c.study_instance_uid.not_in(studies),
        )
        .order_by(instance.c.id)
    )
    last = last_reset(connection)
    for earliest in (wanted.since, last.at if last else None):
        if earliest:
            query = query.where(instance.c.received_at >= earliest)
    if wanted.until:
        query = query.where(instance.c.received_at < wanted.until)
    if wanted.calling_ae:
        query = query.where(instance.c.calling_ae == wanted.calling_ae)
    by_study: dict[str, list[int]] = defaultdict(list)
    for row in connection.execute(query):
        by_study[row.study_instance_uid].append(row.id)
    return list(by_study.values())


def _name(connection: Connection, now: datetime) -> str:
    """The day, UTC, and a number from the second draw of it on."""
    day = now.date().isoformat()
    taken = set(connection.execute(select(label_sample.c.draw).distinct()).scalars())
    number = 1
    while (name := day if number == 1 else f"{day}.{number}") in taken:
        number += 1
    return name
