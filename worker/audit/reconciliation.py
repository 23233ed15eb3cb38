"""Is every film that was received accounted for? Two counts that do not know of each other, side by side.

The audit trail says what was received; the instances say what became of it. For each sending AE

    received = scored + ineligible + failed + pending

and a difference is a film that was lost, or a row that somebody removed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, func, select

from worker.db.tables import audit_event, instance, outbox, score
from worker.states import State

SCORED = (State.SCORED, State.REPORTED)
ARRIVALS = ("received", "revision")


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time span; films belong to it by when they were received."""

    start: datetime
    end: datetime
    """Not part of it."""

    @classmethod
    def of_day(cls, day: date, zone: ZoneInfo) -> "Span":
        """Midnight to midnight in a zone: 23 or 25 hours long where clocks change."""
        edges = [datetime.combine(one, time(), zone).astimezone(UTC) for one in (day, day + timedelta(days=1))]
        return cls(start=edges[0], end=edges[1])


@dataclass(frozen=True, kw_only=True)
class Sender:
    """What became of one AE's films."""

    calling_ae: str
    received: int
    """By the audit trail, first films and revisions."""
    revisions: int
    duplicates: int
    """The same film again: no new work, not part of `received`."""
    scored: int
    ineligible: dict[str, int] = field(default_factory=dict)
    """By reason."""
    failed: dict[str, int] = field(default_factory=dict)
    pending: int
    """Waiting, with the outbox row that brings them to a worker."""
    lost: int
    """Waiting without an outbox row, or called scored without a live score: nobody would come back to them."""

    @property
    def difference(self) -> int:
        """0, or the count of films that are not accounted for."""
        told = self.scored + sum(self.ineligible.values()) + sum(self.failed.values()) + self.pending
        return self.received - told

    def as_dict(self) -> dict[str, Any]:
        names = (
            "calling_ae",
            "received",
            "revisions",
            "duplicates",
            "scored",
            "ineligible",
            "failed",
            "pending",
            "lost",
        )
        return {name: getattr(self, name) for name in names} | {"difference": self.difference}


def reconcile(connection: Connection, span: Span) -> list[Sender]:
    """Every AE that sent something in the span, by its title."""
    arrivals, states, lost = _arrivals(connection, span), _states(connection, span), _lost(connection, span)
    duplicates = _duplicates(connection, span)
    senders = []
    for calling_ae in sorted({*arrivals, *states, *duplicates}):
        by_state, gone = states.get(calling_ae, {}), lost.get(calling_ae, Counter())
        came = arrivals.get(calling_ae, Counter())
        scored = sum(sum(by_state.get(state, {}).values()) for state in SCORED)
        senders.append(
            Sender(
                calling_ae=calling_ae,
                received=came.total(),
                revisions=came["revision"],
                duplicates=duplicates.get(calling_ae, 0),
                scored=scored - gone["scored"],
                ineligible=dict(sorted(by_state.get(State.INELIGIBLE, {}).items())),
                failed=dict(sorted(by_state.get(State.FAILED, {}).items())),
                pending=sum(by_state.get(State.RECEIVED, {}).values()) - gone["received"],
                lost=gone.total(),
            )
        )
    return senders


def total(count: int | dict[str, int]) -> int:
    """Films, where a count may be by reason."""
    return sum(count.values()) if isinstance(count, dict) else count


def _within(span: Span) -> Any:
    return (instance.c.received_at >= span.start) & (instance.c.received_at < span.end)


def _arrivals(connection: Connection, span: Span) -> dict[str, Counter[str]]:
    """Audited arrivals by AE and kind, of the span's instances."""
    rows = connection.execute(
        select(audit_event.c.actor, audit_event.c.action, func.count())
        .join(instance, instance.c.id == audit_event.c.instance_id)
        .where(_within(span), audit_event.c.action.in_(ARRIVALS))
        .group_by(audit_event.c.actor, audit_event.c.action)
    )
    return _tally((actor, action, number) for actor, action, number in rows)


def _duplicates(connection: Connection, span: Span) -> dict[str, int]:
    """By when they came: the instance may be of another day."""
    rows = connection.execute(
        select(audit_event.c.actor, func.count())
        .where(audit_event.c.action == "duplicate", audit_event.c.at >= span.start, audit_event.c.at < span.end)
        .group_by(audit_event.c.actor)
    )
    return {str(actor): int(number) for actor, number in rows}


def _states(connection: Connection, span: Span) -> dict[str, dict[State, dict[str, int]]]:
    """AE -> state -> reason ("" without one) -> instances."""
    rows = connection.execute(
        select(instance.c.calling_ae, instance.c.state, instance.c.reason, func.count())
        .where(_within(span))
        .group_by(instance.c.calling_ae, instance.c.state, instance.c.reason)
    )
    found: dict[str, dict[State, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for calling_ae, state, reason, number in rows:
        found[calling_ae][State(state)][reason or ""] = number
    return found


def unaccounted(connection: Connection, span: Span) -> list[dict[str, Any]]:
    """The span's instances behind a difference, as far as there are any: id, calling_ae, why."""
    kinds = {
        "waits without a place in the queue": _without_row(span),
        "called scored, and has no score": _without_score(span),
        "has no arrival in the audit trail": _without_arrival(span),
    }
    columns = (instance.c.id, instance.c.calling_ae)
    found = [
        {"id": key, "calling_ae": calling_ae, "why": why}
        for why, query in kinds.items()
        for key, calling_ae in connection.execute(query.with_only_columns(*columns))
    ]
    return sorted(found, key=lambda one: int(one["id"]))


def _lost(connection: Connection, span: Span) -> dict[str, Counter[str]]:
    """Instances by AE that wait for nobody ("received"), or have no live score though they are scored ("scored")."""
    kinds = {"received": _without_row(span), "scored": _without_score(span)}
    columns = (instance.c.calling_ae, func.count())
    return _tally(
        (ae, kind, number)
        for kind, query in kinds.items()
        for ae, number in connection.execute(query.with_only_columns(*columns).group_by(instance.c.calling_ae))
    )


def _without_row(span: Span) -> Select[Any]:
    row = (outbox.c.instance_id == instance.c.id) & (outbox.c.kind == "score")
    waits = (instance.c.state == State.RECEIVED) & outbox.c.id.is_(None)
    return select(instance.c.id).outerjoin(outbox, row).where(_within(span), waits)


def _without_score(span: Span) -> Select[Any]:
    live = (score.c.instance_id == instance.c.id) & (score.c.role == "live")
    scored = instance.c.state.in_(SCORED) & score.c.id.is_(None)
    return select(instance.c.id).outerjoin(score, live).where(_within(span), scored)


def _without_arrival(span: Span) -> Select[Any]:
    arrival = (audit_event.c.instance_id == instance.c.id) & audit_event.c.action.in_(ARRIVALS)
    return select(instance.c.id).outerjoin(audit_event, arrival).where(_within(span), audit_event.c.id.is_(None))


def _tally(rows: Iterable[tuple[str, str, int]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for key, kind, number in rows:
        found[key][kind] += number
    return found
