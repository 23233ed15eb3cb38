"""Which instance is meant by an id, or by a SOP Instance UID that several films came under."""

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.states import State


def find_one(engine: "Engine", name: str, states: "Container[State]") -> int:
    """The id of the instance that a command can act on, which needs one of these states.

    By a SOP Instance UID it is the one revision in such a state: the newest may be what a stranger sent under that UID.
    Where none is, it is the newest, and the command says why not.

    Raises NotFound; WrongState where several are.
    """
    from worker.errors import WrongState
    from worker.instances import find

    views = find(engine, name)
    fitting = [view for view in views if view.state in states]
    if len(fitting) > 1:
        told = ", ".join(f"{view.id} ({view.state}, of {view.calling_ae})" for view in fitting)
        raise WrongState(f"{len(fitting)} instances have this UID, and any of them may be meant: name an id: {told}")
    return (fitting or views)[-1].id
