"""A flag that was told by webhook or mail, and that the corrected film has not: whoever was told of it is told so."""

from collections.abc import Collection

from sqlalchemy import Connection, select

from model.findings import in_order
from worker.db.tables import errand, finding_score, score
from worker.queue.errands import Kind
from worker.reporting.revisions import before
from worker.reporting.told import messages


def flags_told(connection: Connection, instance_id: int, destination: str, *, on_its_way: bool) -> tuple[str, ...]:
    """Flags of the newest earlier revision of the film of which this destination has a message, or may have; () without
    one.

    Args:
        destination: its name.
        on_its_way: a message that waits counts, too. It is looked for first: what sends it removes the errand and
            writes what was sent in one transaction, so a message is seen here as the one or the other.
    """
    told: list[tuple[int, str]] = []
    if on_its_way:
        waits = select(errand.c.instance_id, errand.c.payload["bundle"]["digest"].as_string()).where(
            errand.c.kind == Kind.RESULT,
            errand.c.destination == destination,
            errand.c.instance_id.in_(before(instance_id)),
        )
        told += [(key, digest) for key, digest in connection.execute(waits)]
    told += [(key, digest) for key, digest in connection.execute(messages(before(instance_id), destination))]
    if not told:
        return ()
    newest = max(key for key, _ in told)  # a later revision has a higher id
    return _flags(connection, newest, {digest for key, digest in told if key == newest})


def _flags(connection: Connection, instance_id: int, bundles: Collection[str]) -> tuple[str, ...]:
    query = select(finding_score.c.finding).join(score, finding_score.c.score_id == score.c.id)
    which = (score.c.instance_id == instance_id, score.c.bundle_digest.in_(bundles), finding_score.c.flag)
    return tuple(in_order(set(connection.execute(query.where(*which)).scalars())))
