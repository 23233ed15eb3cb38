"""Studies that nobody opened: during an update a gateway of the release before takes films, and knows no studies.

The migration made the rows of all that was there. The relay adopts what came past it since, again and again, for such a
gateway may run for a while.
"""

from datetime import timedelta

from sqlalchemy import Engine, select

from worker.db.session import database_time, reading, writing
from worker.db.tables import instance, study_outcome
from worker.studies import opening

BATCH = 1000
"""Instances at once."""
SINCE = timedelta(days=1)
"""How far back it looks: once an hour, so that a relay may be away for most of a day."""


def adopt(engine: Engine) -> None:
    """Open each study of which an object came that its row does not know of. Raises SQLAlchemyError."""
    known = select(study_outcome.c.id).where(
        study_outcome.c.study_instance_uid == instance.c.study_instance_uid,
        study_outcome.c.last_received_at >= instance.c.received_at,
    )
    with reading(engine) as connection:
        now = database_time(connection)
    unknown = (
        (instance.c.received_at >= now - SINCE)
        & ~known.exists()
        & (instance.c.study_instance_uid != "")
        & instance.c.admitted
    )
    while True:
        with reading(engine) as connection:
            ids = connection.execute(select(instance.c.id).where(unknown).limit(BATCH)).scalars().all()
        if not ids:
            return
        with writing(engine) as connection:
            opening.changed(connection, ids, now)
