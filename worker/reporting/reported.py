"""When a film is `reported`: no result of it waits, none is to be confirmed, and none was given up."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, select, update

from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.tables import instance
from worker.reporting import waiting
from worker.states import State


def lock(connection: Connection, ids: Collection[int]) -> None:
    """Before anything of these films' results is changed: of two who do so at the same time the second one sees what
    the first did. Always in the same order, so that none waits for the other."""
    films = select(instance.c.id).where(instance.c.id.in_(ids)).order_by(instance.c.id)
    connection.execute(films.with_for_update(key_share=True))


def reported(connection: Connection, instance_id: int, actor: Actor) -> list[dict[str, Any]]:
    """Make a scored film reported, where that is so: the event of it, else none. The film is locked."""
    if waiting.left(connection, instance_id):
        return []
    scored = update(instance).where(instance.c.id == instance_id, instance.c.state == State.SCORED)
    changed = connection.execute(scored.values(state=State.REPORTED)).rowcount == 1
    return [trail.event(action=Action.REPORTED, instance_id=instance_id, actor=actor, detail={})] if changed else []
