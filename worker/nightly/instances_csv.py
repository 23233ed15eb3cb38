"""instances.csv of a night: a row for each instance of the day with its live score."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TextIO

from sqlalchemy import Engine, select

from model.notice import NOTICE
from worker.db.scores import live_scores
from worker.db.session import snapshot
from worker.db.span import Span
from worker.db.tables import instance
from worker.states import State

CHUNK = 5000
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class InstanceRow:
    """Its fields are the columns. None stands for an empty cell."""

    id: int
    sop_instance_uid: str
    revision: int
    calling_ae: str
    received_at: datetime
    finished_at: datetime | None
    state: State
    reason: str | None
    bundle_digest: str | None
    engine: str | None
    probabilities: dict[str, float] | None
    flags: list[str] | None
    identity_changed: list[str] | None
    prediction_set: list[str] | None
    unsure: bool | None


COLUMNS = tuple(column.name for column in fields(InstanceRow))


def write(engine: Engine, span: Span, file: TextIO) -> None:
    """The last column holds the notice in every row: rows are copied out, and a line of another kind breaks readers."""
    writer = csv.writer(file)
    writer.writerow((*COLUMNS, "notice"))
    for row in instances(engine, span):
        writer.writerow((*(cell(getattr(row, name)) for name in COLUMNS), NOTICE))


def cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula has an apostrophe before it: an AE title such as "=1+1". Lists and
    objects are JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def instances(engine: Engine, span: Span) -> Iterator[InstanceRow]:
    """Oldest first, a chunk at a time."""
    last = 0
    while True:
        with snapshot(engine) as connection:
            query = (
                select(instance)
                .where(span.covers(instance.c.received_at), instance.c.id > last)
                .order_by(instance.c.id)
                .limit(CHUNK)
            )
            rows = connection.execute(query).all()
            scores = live_scores(connection, instance.c.id.between(rows[0].id, rows[-1].id)) if rows else {}
        for row in rows:
            live = scores.get(row.id)
            yield InstanceRow(
                id=row.id,
                sop_instance_uid=row.sop_instance_uid,
                revision=row.revision,
                calling_ae=row.calling_ae,
                received_at=row.received_at,
                finished_at=row.finished_at,
                state=State(row.state),
                reason=row.reason,
                bundle_digest=live.bundle_digest if live else None,
                engine=live.engine if live else None,
                probabilities=live.probabilities if live else None,
                flags=live.flags if live else None,
                identity_changed=row.identity_changed,
                prediction_set=live.prediction_set if live else None,
                unsure=live.unsure if live else None,
            )
        if len(rows) < CHUNK:
            return
        last = rows[-1].id
