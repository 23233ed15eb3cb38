"""Everything a night's report says, as JSON-ready values: one day of instances, by when they were received."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from model.findings import in_order
from worker import trail
from worker.audit.reconciliation import SCORED, Span, reconcile
from worker.db.session import reading, snapshot
from worker.db.tables import audit_event, finding_score, instance, outbox, score
from worker.states import State

NOTICE = "Research software, not a medical device."
PERCENTILES = (50, 95, 99)
CHUNK = 5000
CHANGES = ("bundle_activated", "bundle_shadowed", "bundle_retired", "labels_imported")
INSTANCE_COLUMNS = (
    "id",
    "sop_instance_uid",
    "revision",
    "calling_ae",
    "received_at",
    "finished_at",
    "state",
    "reason",
    "bundle_digest",
    "engine",
    "probabilities",
    "flags",
)


def content(engine: Engine, day: date, zone: ZoneInfo) -> dict[str, Any]:
    """The report of one day.

    Keys:
        date, zone, start, end, made_at
        senders        as `reconciliation.Sender.as_dict`
        difference     sum over senders, of what is not accounted for, without sign
        hours          24 (23, 25) x {"hour", "received", "scored", "seconds": {"p50", "p95", "p99"} or None}
        seconds        percentiles of the day, received to scored; None without a score
        flags          {"scored", "flagged", "by_finding"}
        flagged        instance ids with their flags
        failed         dead letters: id, calling_ae, reason
        in_force       [{"bundle_digest", "engine", "software_version", "role", "scores"}]
        changes        audit events of the day that changed what is in force
        chain          {"whole", "rows", "unchained", "head", "broken", "fault"} of the whole trail, and
                       "anchor", its head at the end of the day
        backlog        {"waiting", "oldest_seconds"} now
    """
    span = Span.of_day(day, zone)
    verdict = trail.verify(engine)
    with snapshot(engine) as connection:
        senders = reconcile(connection, span)
        flagged = _flagged(connection, span)
        scored = _count(connection, span, SCORED)
        return {
            "date": day.isoformat(),
            "zone": zone.key,
            "start": span.start.isoformat(),
            "end": span.end.isoformat(),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "notice": NOTICE,
            "senders": [sender.as_dict() for sender in senders],
            "difference": sum(abs(sender.difference) for sender in senders),
            **_turnaround(connection, span, zone),
            "flags": {
                "scored": scored,
                "flagged": len(flagged),
                "by_finding": dict(Counter(name for one in flagged for name in one["flags"])),
            },
            "flagged": flagged,
            "failed": _failed(connection, span),
            "in_force": _in_force(connection, span),
            "changes": _changes(connection, span),
            "chain": {
                "whole": verdict.whole,
                "rows": verdict.rows,
                "unchained": verdict.unchained,
                "head": verdict.head,
                "broken": verdict.broken,
                "fault": verdict.fault,
                "anchor": _anchor(connection, span),
            },
            "backlog": _backlog(connection),
        }


def instances(engine: Engine, span: Span) -> Iterator[dict[str, Any]]:
    """A row for each instance of the span with its live score, INSTANCE_COLUMNS, oldest first, a chunk at a time."""
    last = 0
    while True:
        with reading(engine) as connection:
            query = select(instance).where(_within(span), instance.c.id > last).order_by(instance.c.id).limit(CHUNK)
            rows = connection.execute(query).all()
            scores = _scores(connection, [row.id for row in rows])
        for row in rows:
            found = scores.get(row.id, {})
            values = dict(row._mapping) | found
            yield {name: values.get(name) for name in INSTANCE_COLUMNS}
        if len(rows) < CHUNK:
            return
        last = rows[-1].id


def _within(span: Span) -> Any:
    return (instance.c.received_at >= span.start) & (instance.c.received_at < span.end)


def _count(connection: Connection, span: Span, states: Sequence[State]) -> int:
    query = select(func.count()).select_from(instance).where(_within(span), instance.c.state.in_(states))
    return int(connection.execute(query).scalar_one())


def _turnaround(connection: Connection, span: Span, zone: ZoneInfo) -> dict[str, Any]:
    """Films and seconds from received to scored, by hour of receipt and of the day."""
    rows = connection.execute(
        select(instance.c.received_at, instance.c.finished_at, instance.c.state).where(_within(span))
    )
    hours = ceil((span.end - span.start).total_seconds() / 3600)
    received = [0] * hours
    seconds: list[list[float]] = [[] for _ in range(hours)]
    for received_at, finished_at, state in rows:
        hour = int((received_at - span.start).total_seconds() // 3600)
        received[hour] += 1
        if state in SCORED and finished_at:
            seconds[hour].append((finished_at - received_at).total_seconds())
    starts = [datetime.fromtimestamp(span.start.timestamp() + 3600 * hour, zone) for hour in range(hours)]
    return {
        "hours": [
            {"hour": start.strftime("%H:%M"), "received": came, "scored": len(took), "seconds": _percentiles(took)}
            for start, came, took in zip(starts, received, seconds, strict=True)
        ],
        "seconds": _percentiles([one for took in seconds for one in took]),
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    values = np.percentile(seconds, PERCENTILES)
    return {f"p{share}": round(float(value), 2) for share, value in zip(PERCENTILES, values, strict=True)}


def _flagged(connection: Connection, span: Span) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, finding_score.c.finding)
        .join(score, (score.c.instance_id == instance.c.id) & (score.c.role == "live"))
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(_within(span), finding_score.c.flag)
        .order_by(instance.c.id)
    )
    found: dict[int, dict[str, Any]] = {}
    for key, calling_ae, finding in rows:
        found.setdefault(key, {"id": key, "calling_ae": calling_ae, "flags": []})["flags"].append(finding)
    return [one | {"flags": in_order(one["flags"])} for one in found.values()]


def _failed(connection: Connection, span: Span) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.reason)
        .where(_within(span), instance.c.state == State.FAILED)
        .order_by(instance.c.id)
    )
    return [dict(row._mapping) for row in rows]


def _in_force(connection: Connection, span: Span) -> list[dict[str, Any]]:
    columns = (score.c.bundle_digest, score.c.role, score.c.engine, score.c.software_version)
    rows = connection.execute(
        select(*columns, func.count().label("scores"))
        .where(score.c.scored_at >= span.start, score.c.scored_at < span.end)
        .group_by(*columns)
        .order_by(*columns)
    )
    return [dict(row._mapping) for row in rows]


def _changes(connection: Connection, span: Span) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(audit_event)
        .where(audit_event.c.at >= span.start, audit_event.c.at < span.end, audit_event.c.action.in_(CHANGES))
        .order_by(audit_event.c.id)
    )
    return [{"at": row.at.isoformat(), "action": row.action, "actor": row.actor, "detail": row.detail} for row in rows]


def _anchor(connection: Connection, span: Span) -> str | None:
    """The chain's head when the day ended; None where nothing was audited before."""
    chained = (audit_event.c.at < span.end) & (audit_event.c.digest != "")
    newest = select(audit_event.c.digest).where(chained).order_by(audit_event.c.id.desc()).limit(1)
    return connection.execute(newest).scalar_one_or_none()


def _backlog(connection: Connection) -> dict[str, Any]:
    number, oldest = connection.execute(
        select(func.count(), func.min(instance.c.received_at))
        .select_from(instance)
        .join(outbox, outbox.c.instance_id == instance.c.id)
        .where(instance.c.state == State.RECEIVED)
    ).one()
    return {
        "waiting": number,
        "oldest_seconds": round((datetime.now(UTC) - oldest).total_seconds()) if oldest else None,
    }


def _scores(connection: Connection, ids: list[int]) -> dict[int, dict[str, Any]]:
    """The live score of each of those instances."""
    if not ids:
        return {}
    rows = connection.execute(
        select(score.c.instance_id, score.c.bundle_digest, score.c.engine, finding_score)
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(score.c.role == "live", score.c.instance_id.between(ids[0], ids[-1]))
    )
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(
            row.instance_id,
            {"bundle_digest": row.bundle_digest, "engine": row.engine, "probabilities": {}, "flags": []},
        )
        one["probabilities"][row.finding] = row.probability
        if row.flag:
            one["flags"].append(row.finding)
    return found
