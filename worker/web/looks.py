"""Every look at a film, in the audit trail: who, which film, when. Once for a person, film and ten minutes."""

from datetime import timedelta

from sqlalchemy import Connection, Engine, select

from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import database_time, reading, writing
from worker.db.tables import audit_event, instance
from worker.web.page import Ask

ONE_LOOK = timedelta(minutes=10)
"""What a person asks for of a film within so long is one look: a page has several pictures."""


def looked(ask: Ask, instance_id: int) -> None:
    """Once it is known that the film will be shown, and before it is: what cannot be recorded is not shown. A HEAD
    shows nothing. Raises SQLAlchemyError."""
    if ask.request.method != "HEAD":
        record_look(ask.site.database, ask.actor, instance_id)


def record_look(engine: Engine, actor: str, instance_id: int) -> None:
    """Raises SQLAlchemyError."""
    with reading(engine) as connection:
        if _recorded(connection, actor, instance_id):
            return
    with writing(engine) as connection:
        # Who asks for two pictures of it at once is recorded once.
        connection.execute(select(instance.c.id).where(instance.c.id == instance_id).with_for_update(key_share=True))
        if not _recorded(connection, actor, instance_id):
            trail.record(connection, action=Action.FILM_VIEWED, instance_id=instance_id, actor=actor)


def _recorded(connection: Connection, actor: str, instance_id: int) -> bool:
    event = audit_event.c
    query = select(event.id).where(
        event.instance_id == instance_id,
        event.action == Action.FILM_VIEWED,
        event.actor == actor,
        event.at > database_time(connection) - ONE_LOOK,
    )
    return connection.execute(query.limit(1)).first() is not None
