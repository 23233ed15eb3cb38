"""A flag that was told by webhook or mail, and that the corrected film has not: whoever was told of it is told so."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from model.findings import in_order
from worker.db.tables import errand, finding_score, score
from worker.queue.errands import Kind
from worker.reporting.revisions import before
from worker.reporting.told import Message, last_told


def flags_told(connection: Connection, instance_id: int, destination: str, *, on_its_way: bool) -> tuple[str, ...]:
    """Flags of earlier revisions of the film that this destination may take for raised: see `last_told`.

    Args:
        destination: its name.
        on_its_way: a message that waits counts, too. It is looked for first: what sends it removes the errand and
            writes what was sent in one transaction, so a message is seen here as the one or the other.
    """
    waiting: list[Message] = []
    if on_its_way:
        waits = select(errand.c.instance_id, errand.c.payload["bundle"]["digest"].as_string()).where(
            errand.c.kind == Kind.RESULT,
            errand.c.destination == destination,
            errand.c.instance_id.in_(before(instance_id)),
        )
        waiting = [(key, digest) for key, digest in connection.execute(waits)]
    told = last_told(connection, before(instance_id), destination, waiting)
    return tuple(in_order({flag for message in told for flag in _flags(connection, message)}))


def _flags(connection: Connection, message: Message) -> Sequence[str]:
    query = select(finding_score.c.finding).join(score, finding_score.c.score_id == score.c.id)
    which = (score.c.instance_id == message[0], score.c.bundle_digest == message[1], finding_score.c.flag)
    return connection.execute(query.where(*which)).scalars().all()
