"""Who is signed in: a row for each browser. The database has the digest of its id, and only the browser the id."""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import reading, writing
from worker.db.tables import web_session, web_user
from worker.web.people import Person, WebRole

NOTED = timedelta(minutes=1)
"""So seldom a request writes that its session was seen."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long a session lasts."""

    whole: timedelta
    idle: timedelta


def start_local(
    engine: Engine, name: str, verified: str, lengths: Lengths, *, address: str, now: datetime
) -> str | None:
    """The id of a new session; None where the user was removed, or got another password, since it was verified.

    Args:
        verified: the hash that the password matched.
    """
    with writing(engine) as connection:
        user = connection.execute(select(web_user).where(web_user.c.name == name).with_for_update()).one_or_none()
        if user is None or user.password_hash != verified:
            return None
        return _start(connection, Person(name=name, role=WebRole(user.role)), lengths, address=address, now=now)


def start(engine: Engine, person: Person, lengths: Lengths, *, address: str, now: datetime) -> str:
    """The id of a new session."""
    with writing(engine) as connection:
        return _start(connection, person, lengths, address=address, now=now)


def person_of(engine: Engine, id: str, lengths: Lengths, *, now: datetime, seen: bool) -> Person | None:
    """Whose session it is; None where there is none, or it has ended.

    Args:
        seen: whether a person asks, and no live page by itself.
    """
    of_id = web_session.c.digest == _digest(id)
    with reading(engine) as connection:
        row = connection.execute(select(web_session).where(of_id)).one_or_none()
    if row is None or row.ends_at <= now or row.seen_at + lengths.idle <= now:
        return None
    if seen and row.seen_at + NOTED <= now:
        with suppress(SQLAlchemyError), writing(engine) as connection:  # a full disk does not sign anybody out
            connection.execute(update(web_session).where(of_id).values(seen_at=now))
    return Person(name=row.name, role=WebRole(row.role))


def end(engine: Engine, id: str, *, address: str) -> None:
    """Signed out. A second time nothing happens."""
    of_id = web_session.c.digest == _digest(id)
    with writing(engine) as connection:
        row = connection.execute(select(web_session.c.name, web_session.c.role).where(of_id)).one_or_none()
        if row and connection.execute(delete(web_session).where(of_id)).rowcount:
            actor, detail = Person(name=row.name, role=WebRole(row.role)).actor, {"address": address}
            trail.record(connection, action=Action.SIGNED_OUT, instance_id=None, actor=actor, detail=detail)


def _start(connection: Connection, person: Person, lengths: Lengths, *, address: str, now: datetime) -> str:
    over = or_(web_session.c.ends_at <= now, web_session.c.seen_at <= now - lengths.idle)
    connection.execute(delete(web_session).where(over))
    id = secrets.token_urlsafe(32)
    row = {"digest": _digest(id), "name": person.name, "role": person.role}
    times = {"started_at": now, "seen_at": now, "ends_at": now + lengths.whole}
    connection.execute(insert(web_session), row | times)
    detail = {"role": person.role, "address": address}
    trail.record(connection, action=Action.SIGNED_IN, instance_id=None, actor=person.actor, detail=detail)
    return id


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
