"""Which instance is meant by an id, or by a SOP Instance UID that several films came under."""

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.instances import InstanceView
    from worker.states import State


def newest_admitted(engine: "Engine", name: str) -> "InstanceView":
    """The newest revision, but for what an unknown peer sent under that UID and nobody has admitted. Where all are of
    that kind, the newest. Raises NotFound."""
    from worker.instances import find
    from worker.states import NOT_ADMITTED, State

    views = find(engine, name)
    admitted = [view for view in views if view.state != State.QUARANTINED and view.reason != NOT_ADMITTED]
    return (admitted or views)[-1]


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
