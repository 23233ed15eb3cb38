"""Of a film that was corrected, which result may go to a destination: a PACS shows what came last."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from worker.db.tables import errand, instance
from worker.reporting.new_results import has_result
from worker.reporting.revisions import after, before
from worker.reporting.told import may_have, was_sent
from worker.reporting.waiting import LOST, WAITS, WaitingResult, goes_to, of_instance
from worker.states import OPERATOR, State


def newer(connection: Connection, instance_id: int, destination: str = "") -> int | None:
    """The newest later revision of the film that has a result there: it was sent, waits, or was given up. One that a
    person took out counts, too, also where it is told nowhere: nothing of the film before it goes out from then on.

    Args:
        destination: "" for any.
    """
    columns = (instance.c.id, instance.c.state, instance.c.reason)
    later = select(*columns).where(instance.c.id.in_(after(instance_id))).order_by(instance.c.revision.desc())
    for key, state, reason in connection.execute(later):
        if (state, reason) == (State.INELIGIBLE, OPERATOR):
            return int(key)
        waits = select(errand.c.id).where(errand.c.kind.in_((WAITS, LOST)), of_instance(key))
        if destination:
            waits = waits.where(goes_to([destination]))
        if connection.execute(waits.limit(1)).first() or was_sent(connection, key, destination):
            return int(key)
    return None


def ended_later(connection: Connection, instance_id: int) -> bool:
    """Whether a later revision of the film has ended, whatever goes where of it."""
    return connection.execute(after(instance_id).where(has_result()).limit(1)).first() is not None


def corrects(connection: Connection, of: WaitingResult) -> bool:
    """Whether the destination has something of an earlier revision of the film, or may have."""
    return may_have(connection, before(of.instance), of.destination)


def earlier(connection: Connection, of: WaitingResult) -> Sequence[Row[Any]]:
    """Errands of earlier revisions of the same film that wait for the same destination."""
    query = select(errand).where(errand.c.kind == WAITS, goes_to([of.destination]))
    return connection.execute(query.where(errand.c.instance_id.in_(before(of.instance)))).all()


def senders(connection: Connection, instance_id: int) -> set[str]:
    """AEs that sent the film up to this revision: a correction may come another way, from the PACS say."""
    film = select(instance.c.calling_ae).where((instance.c.id == instance_id) | instance.c.id.in_(before(instance_id)))
    return set(connection.execute(film).scalars())
