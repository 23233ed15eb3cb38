"""A day's films: when they came, how long they took, what was flagged and what failed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from math import ceil, inf, isfinite
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, func, select

from model.findings import in_order
from worker.audit.reconciliation import SCORED
from worker.db.session import snapshot
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, score
from worker.states import State

PERCENTILES = (50, 95, 99)
UNFINISHED = (State.RECEIVED, State.FAILED)
"""Films that are to be scored, and have no score."""
BINS = 20
"""Of a histogram of probabilities, 0..1."""
CHUNK = 5000
ENDS = (State.SCORED, State.INELIGIBLE, State.FAILED, "rejected")
"""Audit events with which a film's way is over."""
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
    "identity_changed",
)


def turnaround(connection: Connection, span: Span, zone: ZoneInfo) -> dict[str, Any]:
    """Films, and seconds from received to scored, by hour of receipt and of the day; and the busiest hour and minute.

    By hour the seconds are of those scored. Those of the day are of all that are to be scored: a film that waits or
    failed takes longer than any other, so that a queue that stands still does not look quick.
    A film that ended before it came, by clocks that differed, has no such time.

    Keys: hours, seconds, untimed, throughput; see `content.night_content`.
    """
    rows = connection.execute(
        select(instance.c.received_at, instance.c.finished_at, instance.c.state).where(
            span.covers(instance.c.received_at), instance.c.is_film
        ),
        execution_options={"yield_per": CHUNK},
    )
    number = ceil((span.end - span.start).total_seconds() / 3600)
    received, scored = [0] * number, [0] * number
    seconds: list[list[float]] = [[] for _ in range(number)]
    minutes: Counter[int] = Counter()
    endless = 0
    for received_at, finished_at, state in rows:
        hour = int((received_at - span.start).total_seconds() // 3600)
        received[hour] += 1
        if state in SCORED and finished_at:
            scored[hour] += 1
            if finished_at >= received_at:
                seconds[hour].append((finished_at - received_at).total_seconds())
            minutes[int(finished_at.timestamp() // 60)] += 1
        elif state in UNFINISHED:
            endless += 1
    hours = [
        {"hour": _clock(span.start.timestamp() + 3600 * hour, zone), "received": received[hour], "scored": scored[hour]}
        | {"seconds": _percentiles(took) if took else None}
        for hour, took in enumerate(seconds)
    ]
    of_day = [one for took in seconds for one in took] + [inf] * endless
    return {
        "hours": hours,
        "seconds": {"films": len(of_day), **_percentiles(of_day)} if of_day else None,
        "untimed": sum(scored) - sum(len(took) for took in seconds),
        "throughput": _throughput(hours, minutes, zone),
    }


def flagged(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Instances with any flag: id, calling_ae, flags."""
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, finding_score.c.finding)
        .join(score, (score.c.instance_id == instance.c.id) & (score.c.role == "live"))
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(span.covers(instance.c.received_at), finding_score.c.flag)
        .order_by(instance.c.id)
    )
    found: dict[int, dict[str, Any]] = {}
    for key, calling_ae, finding in rows:
        found.setdefault(key, {"id": key, "calling_ae": calling_ae, "flags": []})["flags"].append(finding)
    return [one | {"flags": in_order(one["flags"])} for one in found.values()]


def failed(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """Dead letters: id, calling_ae, reason, received_at."""
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.reason, instance.c.received_at)
        .where(span.covers(instance.c.received_at), instance.c.state == State.FAILED)
        .order_by(instance.c.id)
    )
    return [dict(row._mapping) | {"received_at": row.received_at.isoformat(timespec="seconds")} for row in rows]


def late(connection: Connection, span: Span, eve: datetime | None, told_until: datetime | None) -> list[dict[str, Any]]:
    """Films received before the day that came to an end on it: they waited or were requeued, so the report of their own
    day lacks it.

    Keys: id, calling_ae, received_at, state, reason, flags; as they are now.

    Args:
        eve: start of the day before, where that has a report.
        told_until: what a film of the day before came to by then, that report has.
    """
    on_day = span.covers(audit_event.c.at) & audit_event.c.action.in_(ENDS)
    if eve and told_until:
        on_day &= (instance.c.received_at < eve) | (audit_event.c.at > told_until)
    ended = (
        select(instance.c.id)
        .join(audit_event, audit_event.c.instance_id == instance.c.id)
        .where(on_day, instance.c.received_at < span.start, instance.c.is_film)
        .distinct()
    )
    flags: dict[int, list[str]] = {}
    for key, finding in connection.execute(
        select(score.c.instance_id, finding_score.c.finding)
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(score.c.role == "live", finding_score.c.flag, score.c.instance_id.in_(ended))
    ):
        flags.setdefault(key, []).append(finding)
    columns = (instance.c.id, instance.c.calling_ae, instance.c.received_at, instance.c.state, instance.c.reason)
    rows = connection.execute(select(*columns).where(instance.c.id.in_(ended)).order_by(instance.c.id))
    return [
        dict(row._mapping)
        | {"received_at": row.received_at.isoformat(timespec="seconds"), "flags": in_order(flags.get(row.id, []))}
        for row in rows
    ]


def scored(connection: Connection, span: Span) -> int:
    query = (
        select(func.count())
        .select_from(instance)
        .where(span.covers(instance.c.received_at), instance.c.state.in_(SCORED))
    )
    return int(connection.execute(query).scalar_one())


def distributions(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """The live probabilities of each finding: counts in BINS bins of 0..1, and the operating points in force."""
    columns = (finding_score.c.finding, finding_score.c.operating_point)
    rows = connection.execute(
        select(*columns, finding_score.c.probability)
        .join(score, score.c.id == finding_score.c.score_id)
        .join(instance, (instance.c.id == score.c.instance_id) & (score.c.role == "live"))
        .where(span.covers(instance.c.received_at)),
        execution_options={"yield_per": CHUNK},
    )
    counts: dict[str, list[int]] = {}
    points: dict[str, set[float]] = {}
    for finding, point, probability in rows:
        counts.setdefault(finding, [0] * BINS)[min(int(probability * BINS), BINS - 1)] += 1
        points.setdefault(finding, set()).update(() if point is None else (point,))
    return [
        {"finding": name, "counts": counts[name], "operating_points": sorted(points[name])} for name in in_order(counts)
    ]


def instances(engine: Engine, span: Span) -> Iterator[dict[str, Any]]:
    """A row for each instance of the span with its live score, INSTANCE_COLUMNS, oldest first, a chunk at a time."""
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
            scores = _scores(connection, [row.id for row in rows])
        for row in rows:
            values = dict(row._mapping) | scores.get(row.id, {})
            yield {name: values.get(name) for name in INSTANCE_COLUMNS}
        if len(rows) < CHUNK:
            return
        last = rows[-1].id


def _clock(timestamp: float, zone: ZoneInfo) -> str:
    """Of a time that comes twice, as when clocks are set back, with its offset."""
    moment = datetime.fromtimestamp(timestamp, zone)
    twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    return moment.isoformat(timespec="minutes")[11:] if twice else f"{moment:%H:%M}"


def _percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """The time within which that share of the films were scored; None where it falls among those without an end."""
    ordered = sorted(seconds)
    values = {f"p{share}": ordered[ceil(share / 100 * len(ordered)) - 1] for share in PERCENTILES}
    return {name: round(value, 2) if isfinite(value) else None for name, value in values.items()}


def _throughput(hours: list[dict[str, Any]], minutes: Counter[int], zone: ZoneInfo) -> dict[str, Any]:
    busiest = max(hours, key=lambda one: int(one["received"]))
    ((minute, most),) = minutes.most_common(1) or ((0, 0),)
    return {
        "received_in_an_hour": busiest["received"],
        "busiest_hour": busiest["hour"] if busiest["received"] else None,
        "scored_in_a_minute": most,
        "busiest_minute": _clock(60 * minute, zone) if most else None,
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
    for one in found.values():
        one["probabilities"] = {name: one["probabilities"][name] for name in in_order(one["probabilities"])}
        one["flags"] = in_order(one["flags"])
    return found
