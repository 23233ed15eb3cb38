"""When a study is complete: nothing more of it came for a while, and each of its films has ended. The relay looks.

Studies that are due are looked at in one transaction, which holds their rows. Several relays skip each other's, and
one that is killed leaves them due. A study gets an audit event when it is complete for the first time, and later
whenever its outcome, the film used, that film's bundle or the number of its films is another than before.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, update

from worker.audit import trail
from worker.audit.actions import Action, Actor
from worker.db.scores import LiveScore
from worker.db.session import database_time, reading, writing
from worker.db.tables import study_outcome
from worker.studies.films import StudyContent, content_of, scores_of
from worker.studies.outcome import Decision, StudyOutcome, decide, newest, wait

log = logging.getLogger("xrayq.relay")

BATCH = 100
"""Studies in one transaction."""
AGAIN = timedelta(hours=1)
"""A study whose films wait is looked at when one ends; a worker of the release before does not say so."""


def close_due(engine: Engine) -> int:
    """Look at every study that is due. Returns how many there were. Raises SQLAlchemyError; then the rest stays due."""
    looked = 0
    while _any_due(engine):
        with writing(engine) as connection:
            number = _look(connection)
        if not number:  # another relay has them
            break
        looked += number
    return looked


def _any_due(engine: Engine) -> bool:
    """The common answer is no, and no writer's lock is taken to find out."""
    with reading(engine) as connection:
        due = select(study_outcome.c.id).where(study_outcome.c.due_at <= database_time(connection))
        # In this order, so that PostgreSQL goes by the index also where it knows nothing of the table yet.
        return connection.execute(due.order_by(study_outcome.c.due_at).limit(1)).first() is not None


def _look(connection: Connection) -> int:
    now = database_time(connection)
    rows = connection.execute(
        select(study_outcome)
        .where(study_outcome.c.due_at <= now)
        .order_by(study_outcome.c.due_at, study_outcome.c.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    # Asked for now that the rows are ours: who changes a film of these studies waits for us, or is seen here.
    contents = content_of(connection, [row.study_instance_uid for row in rows])
    scores = scores_of(connection, [film for content in contents.values() for film in newest(content.films)])
    waiting = [row.id for row in rows if wait(contents[row.study_instance_uid].films)]
    connection.execute(update(study_outcome).where(study_outcome.c.id.in_(waiting)).values(due_at=now + AGAIN))
    events = [
        event
        for row in rows
        if row.id not in waiting and (event := _close(connection, row, contents[row.study_instance_uid], scores, now))
    ]
    trail.record_all(connection, events)
    log.debug("looked at studies", extra={"count": len(rows)})
    return len(rows)


def _close(
    connection: Connection, row: Row[Any], content: StudyContent, scores: Mapping[int, LiveScore], now: datetime
) -> dict[str, Any] | None:
    """The study is complete. Returns the event of it where its outcome is another than before."""
    decision, before = decide(content.films, content.other_objects, scores), _before(row)
    values = {"due_at": None, "complete_at": now, "other_objects": content.other_objects}
    if decision != before:
        values |= asdict(decision) | {"version": row.version + 1, "changed_at": now}
    connection.execute(update(study_outcome).where(study_outcome.c.id == row.id).values(values))
    if decision == before:
        return None
    detail = {"study": row.id, "version": row.version + 1} | asdict(decision)
    if before:
        detail["before"] = {"outcome": before.outcome, "used_instance_id": before.used_instance_id}
    return trail.event(
        action=Action.STUDY_CHANGED if before else Action.STUDY_COMPLETE,
        instance_id=decision.used_instance_id,
        actor=Actor.RELAY,
        detail=detail,
    )


def _before(row: Row[Any]) -> Decision | None:
    """What the study came to when it was complete last; None before the first time."""
    if not row.version:
        return None
    values = {field.name: getattr(row, field.name) for field in fields(Decision)}
    return Decision(**values | {"outcome": StudyOutcome(row.outcome)})
