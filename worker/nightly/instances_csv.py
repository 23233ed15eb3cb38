"""instances.csv of a night: a row for each instance of the day with its live score."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TextIO

from sqlalchemy import Connection, Engine, select

from model.findings import in_order
from model.notice import NOTICE
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.span import Span
from worker.db.tables import finding_score, instance, score

CHUNK = 5000
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class LiveScore:
    bundle_digest: str
    engine: str
    probabilities: dict[str, float] = field(default_factory=dict)
    """In the order of findings."""
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class InstanceRow:
    """Its fields are the columns. None stands for an empty cell."""

    id: int
    sop_instance_uid: str
    revision: int
    calling_ae: str
    received_at: datetime
    finished_at: datetime | None
    state: str
    reason: str | None
    bundle_digest: str | None
    engine: str | None
    probabilities: dict[str, float] | None
    flags: list[str] | None
    identity_changed: list[str] | None


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
            scores = _live_scores(connection, [row.id for row in rows])
        for row in rows:
            live = scores.get(row.id)
            yield InstanceRow(
                id=row.id,
                sop_instance_uid=row.sop_instance_uid,
                revision=row.revision,
                calling_ae=row.calling_ae,
                received_at=row.received_at,
                finished_at=row.finished_at,
                state=row.state,
                reason=row.reason,
                bundle_digest=live.bundle_digest if live else None,
                engine=live.engine if live else None,
                probabilities={name: live.probabilities[name] for name in in_order(live.probabilities)}
                if live
                else None,
                flags=in_order(live.flags) if live else None,
                identity_changed=row.identity_changed,
            )
        if len(rows) < CHUNK:
            return
        last = rows[-1].id


def _live_scores(connection: Connection, ids: list[int]) -> dict[int, LiveScore]:
    """The live score of each of those instances."""
    if not ids:
        return {}
    rows = connection.execute(
        select(score.c.instance_id, score.c.bundle_digest, score.c.engine, finding_score)
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(IS_LIVE, score.c.instance_id.between(ids[0], ids[-1]))
    )
    scores: dict[int, LiveScore] = {}
    for row in rows:
        live = scores.setdefault(row.instance_id, LiveScore(bundle_digest=row.bundle_digest, engine=row.engine))
        live.probabilities[row.finding] = row.probability
        if row.flag:
            live.flags.append(row.finding)
    return scores
