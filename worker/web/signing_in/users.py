"""Local users in the database. Each change is in the audit trail, and ends their sessions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, reading, writing
from worker.db.tables import web_session, web_user
from worker.errors import NotFound, WrongState
from worker.web.people import WebRole
from worker.web.signing_in.names import person_name
from worker.web.signing_in.passwords import hashed


@dataclass(frozen=True, kw_only=True)
class ListedUser:
    """A row without its password."""

    name: str
    role: WebRole
    changed_at: datetime
    changed_by: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "role": self.role,
            "changed_at": self.changed_at.isoformat(),
            "changed_by": self.changed_by,
        }


def listed(engine: Engine) -> list[ListedUser]:
    """By name."""
    with reading(engine) as connection:
        rows = connection.execute(select(web_user).order_by(web_user.c.name)).all()
    return [
        ListedUser(name=row.name, role=WebRole(row.role), changed_at=row.changed_at, changed_by=row.changed_by)
        for row in rows
    ]


def add(engine: Engine, name: str, role: WebRole, password: str, *, actor: str) -> str:
    """Their name as it is kept. Raises WrongState where there is one, ConfigurationError for name or password."""
    name, kept = person_name(name), hashed(password)
    try:
        with writing(engine) as connection:
            row = {"name": name, "role": role, "password_hash": kept}
            connection.execute(insert(web_user), row | _changed(connection, actor))
            _told(connection, Action.USER_ADDED, name, actor, role=role)
    except IntegrityError:
        raise WrongState(f"{name} is a user already") from None
    return name


def change_role(engine: Engine, name: str, role: WebRole, *, actor: str) -> None:
    """Raises NotFound."""
    with writing(engine) as connection:
        before = _locked(connection, name)
        if before.role != role:
            _change(connection, before.name, {"role": role}, actor)
            _told(connection, Action.USER_CHANGED, before.name, actor, what="role", before=before.role, role=role)


def change_password(engine: Engine, name: str, password: str, *, actor: str) -> None:
    """Raises NotFound, or ConfigurationError where it is too short."""
    kept = hashed(password)
    with writing(engine) as connection:
        before = _locked(connection, name)
        _change(connection, before.name, {"password_hash": kept}, actor)
        _told(connection, Action.USER_CHANGED, before.name, actor, what="password")


def remove(engine: Engine, name: str, *, actor: str) -> None:
    """Raises NotFound."""
    with writing(engine) as connection:
        before = _locked(connection, name)
        connection.execute(delete(web_user).where(web_user.c.name == before.name))
        connection.execute(delete(web_session).where(web_session.c.name == before.name))
        _told(connection, Action.USER_REMOVED, before.name, actor, role=before.role)


def sign_out(engine: Engine, name: str, *, actor: str) -> int:
    """Ends every session under a name, whoever made sure of it: a user of ours, a proxy or a provider. How many."""
    name = person_name(name)
    with writing(engine) as connection:
        ended = connection.execute(delete(web_session).where(web_session.c.name == name)).rowcount
        if ended:
            _told(connection, Action.USER_CHANGED, name, actor, what="signed_out")
    return ended


def must_be_there(engine: Engine, name: str) -> None:
    """Raises NotFound."""
    if password_hash(engine, person_name(name)) is None:
        raise NotFound("there is no such user")


def password_hash(engine: Engine, name: str) -> str | None:
    """None where there is no such user."""
    with reading(engine) as connection:
        row = connection.execute(select(web_user.c.password_hash).where(web_user.c.name == name)).one_or_none()
    return row.password_hash if row else None


def _locked(connection: Connection, name: str) -> Row[Any]:
    """The row, held until the transaction ends: who signs in meanwhile waits, and then finds what was written."""
    query = select(web_user).where(web_user.c.name == person_name(name)).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no such user")
    return row


def _change(connection: Connection, name: str, values: dict[str, Any], actor: str) -> None:
    row = values | _changed(connection, actor)
    connection.execute(update(web_user).where(web_user.c.name == name).values(row))
    connection.execute(delete(web_session).where(web_session.c.name == name))


def _changed(connection: Connection, actor: str) -> dict[str, Any]:
    return {"changed_at": database_time(connection), "changed_by": actor}


def _told(connection: Connection, action: Action, name: str, actor: str, **detail: str) -> None:
    trail.record(connection, action=action, instance_id=None, actor=actor, detail={"user": name} | detail)
