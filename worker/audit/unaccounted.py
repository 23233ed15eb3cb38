"""Films that are not accounted for: in no queue, without their score, or in another state than the audit trail says.

A day's report looks at its own films, and again at those of days before: a film may be lost after the report of its day
was made.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, func, not_, or_, select

from worker.audit.actions import Action
from worker.audit.reconciliation import CHAINED, SCORED, Unaccounted, Why
from worker.audit.trail import ARRIVALS
from worker.db.scores import LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import audit_event, instance, outbox, quarantine, score
from worker.states import State

LAST_ACTIONS: dict[tuple[State, ...], tuple[Action, ...]] = {
    (State.QUARANTINED,): (Action.QUARANTINED,),
    (State.RECEIVED,): (*ARRIVALS, Action.REQUEUED, Action.ADMITTED),
    SCORED: (Action.SCORED,),
    (State.INELIGIBLE,): (Action.INELIGIBLE, Action.REJECTED),
    (State.FAILED,): (Action.FAILED,),
}
"""States in which an instance may be after the last of these actions in the audit trail, of every release."""


def of_day(connection: Connection, span: Span) -> list[Unaccounted]:
    """Films that were received in the span, by id. A film whose row is gone belongs to when its arrival was audited."""
    which = span.covers(instance.c.received_at)
    queries = {
        Why.NO_ROW: _without_row(which),
        Why.NO_SCORE: _without_score(which),
        Why.OTHER_STATE: _in_another_state(which),
        Why.NO_ARRIVAL: _without_arrival(which),
        Why.GONE: _gone(span),
    }
    found: dict[int, Unaccounted] = {}
    for why, query in queries.items():
        for film in _read(connection, why, query):
            found.setdefault(film.id, film)
    return [found[key] for key in sorted(found)]


def of_earlier_days(connection: Connection, span: Span, since: datetime) -> list[Unaccounted]:
    """Films of the time from `since` to the span, and whatever came before it and is in no queue, by id."""
    long_ago = _read(connection, Why.NO_ROW, _without_row(instance.c.received_at < since))
    return [*long_ago, *of_day(connection, Span(start=since, end=span.start))]


def _read(connection: Connection, why: Why, query: Select[Any]) -> Iterator[Unaccounted]:
    for key, calling_ae, state, reason in connection.execute(query):
        yield Unaccounted(
            id=key, calling_ae=calling_ae, why=why, state=State(state) if state else None, reason=reason or ""
        )


def _instances() -> Select[Any]:
    columns = (instance.c.id, instance.c.calling_ae, instance.c.state, instance.c.reason)
    return select(*columns).select_from(instance).order_by(instance.c.id)


def _without_row(which: Any) -> Select[Any]:
    row = (outbox.c.instance_id == instance.c.id) & (outbox.c.kind == "score")
    held = select(quarantine.c.instance_id).where(quarantine.c.instance_id == instance.c.id)
    nowhere = or_(
        (instance.c.state == State.RECEIVED) & outbox.c.id.is_(None),
        (instance.c.state == State.QUARANTINED) & ~held.exists(),
    )
    return _instances().outerjoin(outbox, row).where(which, nowhere)


def _without_score(which: Any) -> Select[Any]:
    return _instances().outerjoin(score, LIVE_OF_FILM).where(which, instance.c.state.in_(SCORED), score.c.id.is_(None))


def _in_another_state(which: Any) -> Select[Any]:
    """Instances whose state is not what their last event in the trail says."""
    event = audit_event.alias()
    ends = [action for actions in LAST_ACTIONS.values() for action in actions]
    last = (
        select(func.max(event.c.id))
        .where(event.c.instance_id == instance.c.id, event.c.action.in_(ends), event.c.digest != "")
        .scalar_subquery()
    )
    agrees = or_(
        *(
            and_(instance.c.state.in_(states), audit_event.c.action.in_(actions))
            for states, actions in LAST_ACTIONS.items()
        )
    )
    return _instances().join(audit_event, audit_event.c.id == last).where(which, not_(agrees))


def _without_arrival(which: Any) -> Select[Any]:
    arrival = (audit_event.c.instance_id == instance.c.id) & audit_event.c.action.in_(ARRIVALS) & CHAINED
    return _instances().outerjoin(audit_event, arrival).where(which, audit_event.c.id.is_(None))


def _gone(span: Span) -> Select[Any]:
    """Arrivals of the audit trail that have no instance: somebody removed it past the database's foreign keys."""
    return (
        select(audit_event.c.instance_id, audit_event.c.actor, instance.c.state, instance.c.reason)
        .select_from(audit_event)
        .outerjoin(instance, instance.c.id == audit_event.c.instance_id)
        .where(
            span.covers(audit_event.c.at),
            audit_event.c.action.in_(ARRIVALS),
            CHAINED,
            audit_event.c.instance_id.is_not(None),
            instance.c.id.is_(None),
        )
    )
