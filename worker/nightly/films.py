"""A day's films: when they came, how long they took, what failed, and how the scores are spread."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from math import ceil, inf, isfinite
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, func, select

from model.findings import in_order
from worker.audit.reconciliation import SCORED
from worker.db.scores import IS_LIVE, IS_UNSURE, LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, score
from worker.states import State

UNFINISHED = (State.RECEIVED, State.FAILED)
"""Films that are to be scored, and have no score."""
BINS = 20
"""Of a histogram of probabilities, 0..1."""
MOST_POINTS = 20
"""Thresholds of a finding on a day, those of bundles that came and went; more are of a prior shift."""
CHUNK = 5000
ENDS = (State.SCORED, State.INELIGIBLE, State.FAILED, "rejected")
"""Audit events with which a film's way is over."""


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Seconds within which that share of the films were scored; infinite where it falls among those without an end."""

    p50: float
    p95: float
    p99: float

    def as_dict(self) -> dict[str, float | None]:
        """JSON has no infinity: null."""
        return {name: value if isfinite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Hour:
    """Films that were received in it."""

    hour: str
    """Its beginning on the clock; of an hour that comes twice with its offset."""
    received: int
    scored: int
    """Of those received."""
    seconds: Percentiles | None
    """Received to scored, of those scored; None without one."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    received_in_an_hour: int
    busiest_hour: str | None
    """None where nothing came."""
    scored_in_a_minute: int
    busiest_minute: str | None
    """None where nothing was scored."""


@dataclass(frozen=True, kw_only=True)
class Turnaround:
    """When the day's films came, and how long they took from received to scored."""

    hours: tuple[Hour, ...]
    """24 of them, 23 or 25 where clocks change."""
    films: int
    """All that are to be scored, with those that wait or failed, without those of `untimed`."""
    seconds: Percentiles | None
    """Of these films. None without one."""
    untimed: int
    """Films scored before they came, by clocks that differed."""
    throughput: Throughput


@dataclass(frozen=True, kw_only=True)
class FailedFilm:
    """A dead letter."""

    id: int
    calling_ae: str
    reason: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class LateFilm:
    """A film of a day before that came to an end on this one, as it is now."""

    id: int
    calling_ae: str
    received_at: datetime
    state: State
    reason: str | None
    flags: tuple[str, ...]
    unsure: bool


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The day's live probabilities of a finding."""

    finding: str
    counts: tuple[int, ...]
    """Films in each of BINS bins of 0..1."""
    operating_points: tuple[float, ...]
    """In force on the day, ascending; () where a site's prevalences give each film its own."""


def turnaround(connection: Connection, span: Span, zone: ZoneInfo) -> Turnaround:
    """Films, and seconds from received to scored, by hour of receipt and of the day; and the busiest hour and minute.

    By hour the seconds are of those scored. Those of the day are of all that are to be scored: a film that waits or
    failed takes longer than any other, so that a queue that stands still does not look quick.
    A film that ended before it came, by clocks that differed, has no such time.
    """
    rows = connection.execute(
        select(instance.c.received_at, instance.c.finished_at, instance.c.state).where(
            span.covers(instance.c.received_at), instance.c.is_film, ~instance.c.backfilled
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
    hours = tuple(
        Hour(
            hour=_clock(span.start.timestamp() + 3600 * hour, zone),
            received=received[hour],
            scored=scored[hour],
            seconds=_percentiles(took) if took else None,
        )
        for hour, took in enumerate(seconds)
    )
    of_day = [value for took in seconds for value in took] + [inf] * endless
    return Turnaround(
        hours=hours,
        films=len(of_day),
        seconds=_percentiles(of_day) if of_day else None,
        untimed=sum(scored) - sum(len(took) for took in seconds),
        throughput=_throughput(hours, minutes, zone),
    )


def failed(connection: Connection, span: Span) -> tuple[FailedFilm, ...]:
    """Dead letters, by id."""
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, instance.c.reason, instance.c.received_at)
        .where(span.covers(instance.c.received_at), instance.c.state == State.FAILED)
        .order_by(instance.c.id)
    )
    return tuple(FailedFilm(**row._mapping) for row in rows)


def late(
    connection: Connection, span: Span, eve: datetime | None, reported_until: datetime | None
) -> tuple[LateFilm, ...]:
    """Films received before the day that came to an end on it: they waited or were requeued, so the report of their own
    day lacks it.

    Args:
        eve: start of the day before, where that has a report.
        reported_until: what a film of the day before came to by then, that report has.
    """
    on_day = span.covers(audit_event.c.at) & audit_event.c.action.in_(ENDS)
    if eve and reported_until:
        on_day &= (instance.c.received_at < eve) | (audit_event.c.at > reported_until)
    ended = (
        select(instance.c.id)
        .join(audit_event, audit_event.c.instance_id == instance.c.id)
        .where(on_day, instance.c.received_at < span.start, instance.c.is_film, ~instance.c.backfilled)
        .distinct()
    )
    flags: dict[int, list[str]] = {}
    for key, finding in connection.execute(
        select(score.c.instance_id, finding_score.c.finding)
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(IS_LIVE, finding_score.c.flag, score.c.instance_id.in_(ended))
    ):
        flags.setdefault(key, []).append(finding)
    columns = (instance.c.id, instance.c.calling_ae, instance.c.received_at, instance.c.state, instance.c.reason)
    rows = connection.execute(
        select(*columns, IS_UNSURE.label("unsure"))
        .outerjoin(score, LIVE_OF_FILM)
        .where(instance.c.id.in_(ended))
        .order_by(instance.c.id)
    )
    return tuple(
        LateFilm(
            id=row.id,
            calling_ae=row.calling_ae,
            received_at=row.received_at,
            state=State(row.state),
            reason=row.reason,
            flags=tuple(in_order(flags.get(row.id, []))),
            unsure=bool(row.unsure),
        )
        for row in rows
    )


def scored(connection: Connection, span: Span) -> int:
    query = (
        select(func.count())
        .select_from(instance)
        .where(span.covers(instance.c.received_at), instance.c.state.in_(SCORED), ~instance.c.backfilled)
    )
    return int(connection.execute(query).scalar_one())


def distributions(connection: Connection, span: Span) -> tuple[Distribution, ...]:
    """The live probabilities of each finding that was scored on the day."""
    columns = (finding_score.c.finding, finding_score.c.operating_point)
    rows = connection.execute(
        select(*columns, finding_score.c.probability)
        .join(score, score.c.id == finding_score.c.score_id)
        .join(instance, LIVE_OF_FILM)
        .where(span.covers(instance.c.received_at), ~instance.c.backfilled),
        execution_options={"yield_per": CHUNK},
    )
    counts: dict[str, list[int]] = {}
    points: dict[str, set[float]] = {}
    for finding, point, probability in rows:
        of_finding = counts.setdefault(finding, [0] * BINS)
        if isfinite(probability):
            of_finding[min(int(probability * BINS), BINS - 1)] += 1
        points.setdefault(finding, set()).update(() if point is None else (point,))
    return tuple(
        Distribution(
            finding=name,
            counts=tuple(counts[name]),
            operating_points=tuple(sorted(points[name])) if len(points[name]) <= MOST_POINTS else (),
        )
        for name in in_order(counts)
    )


def _clock(timestamp: float, zone: ZoneInfo) -> str:
    """Of a time that comes twice, as when clocks are set back, with its offset."""
    moment = datetime.fromtimestamp(timestamp, zone)
    twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    return moment.isoformat(timespec="minutes")[11:] if twice else f"{moment:%H:%M}"


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    p50, p95, p99 = np.percentile(seconds, (50, 95, 99), method="inverted_cdf").tolist()
    return Percentiles(p50=round(p50, 2), p95=round(p95, 2), p99=round(p99, 2))


def _throughput(hours: Sequence[Hour], minutes: Counter[int], zone: ZoneInfo) -> Throughput:
    busiest = max(hours, key=lambda hour: hour.received)
    ((minute, most),) = minutes.most_common(1) or ((0, 0),)
    return Throughput(
        received_in_an_hour=busiest.received,
        busiest_hour=busiest.hour if busiest.received else None,
        scored_in_a_minute=most,
        busiest_minute=_clock(60 * minute, zone) if most else None,
    )
