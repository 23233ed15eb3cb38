"""Is every film that was received accounted for? Two counts that do not know of each other, side by side.

The audit trail says what was received; the instances say what became of it. For each sending AE

    received = scored + ineligible + failed + pending + quarantined

and a difference is a film that was lost, or a row that somebody removed. `worker.audit.unaccounted` names such films;
what their rows say they became does not count. Objects that are no film take part, as ineligible: a page shows them
apart (`Sender.films_received`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, select

from worker.audit.trail import ARRIVALS
from worker.db.span import Span
from worker.db.tables import audit_event, instance
from worker.states import NOT_A_FILM, State

SCORED = (State.SCORED, State.REPORTED)
CHAINED = audit_event.c.digest != ""
"""Rows that are part of the chain. One without a digest was written past xrayq, and proves nothing."""


class Why(StrEnum):
    """What is wrong with a film; of several the first."""

    NO_ROW = "waits without a place in the queue"
    NO_SCORE = "called scored, and has no score"
    OTHER_STATE = "its state is not the one that the audit trail tells of"
    NO_ARRIVAL = "has no arrival in the audit trail"
    GONE = "arrived by the audit trail, and its row is gone"


@dataclass(frozen=True, kw_only=True)
class Unaccounted:
    """A film that is not accounted for."""

    id: int
    calling_ae: str
    why: Why
    state: State | None = None
    """What its row says without cause; None where there is no row."""
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "calling_ae": self.calling_ae, "why": self.why}


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
    quarantined: int = 0
    """Kept and not scored, until a person admits their sender; also objects that are no film."""
    lost: int
    """Named by `unaccounted.of_day`."""

    @property
    def other_objects(self) -> int:
        """Received, and no film."""
        return self.ineligible.get(NOT_A_FILM, 0)

    @property
    def films_received(self) -> int:
        """Received, without other objects."""
        return self.received - self.other_objects

    @property
    def ineligible_films(self) -> dict[str, int]:
        """By reason, without other objects."""
        return {reason: number for reason, number in self.ineligible.items() if reason != NOT_A_FILM}

    @property
    def difference(self) -> int:
        """0, or the count of films that are not accounted for."""
        accounted = self.scored + sum(self.ineligible.values()) + sum(self.failed.values()) + self.pending
        accounted += self.quarantined
        return self.received - accounted

    @property
    def wrong(self) -> int:
        """Films that are not accounted for, or are not what the audit trail says."""
        return max(abs(self.difference), self.lost)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"other_objects": self.other_objects, "difference": self.difference}


def reconcile(connection: Connection, span: Span, unaccounted: Sequence[Unaccounted]) -> list[Sender]:
    """Every AE that sent something in the span, by its title.

    Args:
        unaccounted: `unaccounted.of_day` of the span.
    """
    arrivals, duplicates = _arrivals(connection, span), _duplicates(connection, span)
    states = _states(connection, span)
    for film in unaccounted:
        if film.why is Why.GONE:
            arrivals[film.calling_ae]["received"] += 1
        elif film.state and film.why is not Why.NO_ARRIVAL:
            states[film.calling_ae][film.state][film.reason] -= 1
    lost = Counter(film.calling_ae for film in unaccounted)
    senders = []
    for calling_ae in sorted({*arrivals, *states, *duplicates}):
        came, became = arrivals[calling_ae], states[calling_ae]
        senders.append(
            Sender(
                calling_ae=calling_ae,
                received=came.total(),
                revisions=came["revision"],
                duplicates=duplicates.get(calling_ae, 0),
                scored=sum(became[state].total() for state in SCORED),
                ineligible=_by_reason(became[State.INELIGIBLE]),
                failed=_by_reason(became[State.FAILED]),
                pending=became[State.RECEIVED].total(),
                quarantined=became[State.QUARANTINED].total(),
                lost=lost[calling_ae],
            )
        )
    return senders


def _arrivals(connection: Connection, span: Span) -> dict[str, Counter[str]]:
    """Audited arrivals by AE and kind, of the span's instances."""
    rows = connection.execute(
        select(audit_event.c.actor, audit_event.c.action, func.count())
        .join(instance, instance.c.id == audit_event.c.instance_id)
        .where(span.covers(instance.c.received_at), audit_event.c.action.in_(ARRIVALS), CHAINED)
        .group_by(audit_event.c.actor, audit_event.c.action)
    )
    return _tally((actor, action, number) for actor, action, number in rows)


def _duplicates(connection: Connection, span: Span) -> dict[str, int]:
    """By when they came: the instance may be of another day."""
    rows = connection.execute(
        select(audit_event.c.actor, func.count())
        .where(audit_event.c.action == "duplicate", span.covers(audit_event.c.at), CHAINED)
        .group_by(audit_event.c.actor)
    )
    return {str(actor): int(number) for actor, number in rows}


def _states(connection: Connection, span: Span) -> dict[str, dict[State, Counter[str]]]:
    """AE -> state -> reason ("" without one) -> instances."""
    rows = connection.execute(
        select(instance.c.calling_ae, instance.c.state, instance.c.reason, func.count())
        .where(span.covers(instance.c.received_at))
        .group_by(instance.c.calling_ae, instance.c.state, instance.c.reason)
    )
    found: dict[str, dict[State, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for calling_ae, state, reason, number in rows:
        found[calling_ae][State(state)][reason or ""] = number
    return found


def _by_reason(counts: Counter[str]) -> dict[str, int]:
    return {reason: number for reason, number in sorted(counts.items()) if number}


def _tally(rows: Iterable[tuple[str, str, int]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for key, kind, number in rows:
        found[key][kind] += number
    return found
