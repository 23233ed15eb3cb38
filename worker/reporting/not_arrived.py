"""Results that are not where they should be. Status, alarms and the night's report show them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from worker.audit.actions import Action
from worker.db.session import database_time
from worker.db.span import Span
from worker.db.tables import audit_event, errand
from worker.queue.lease import failed_attempts
from worker.reporting import faults
from worker.reporting.waiting import CONFIRM, EACH, LOST, WAITS
from worker.words import counted

LONG = timedelta(hours=1)
"""After the end of a film, from which its result is missed."""
GIVEN_UP = (Action.RESULT_UNDELIVERED, Action.RESULT_UNCONFIRMED)


@dataclass(frozen=True, kw_only=True)
class ResultOutage:
    """A destination that results do not reach."""

    destination: str
    """Its name."""
    waiting: int
    """Results that are to be sent, those that were not tried yet too."""
    failing: int
    """Those of them that failed and are tried again."""
    unconfirmed: int
    """Results that were sent, and of which it does not say yet that it holds them."""
    attempts: int
    """Failed attempts of the result that was tried most."""
    next_at: datetime | None
    """Time of the next try."""
    given_up: int
    """Results that wait for a person: xrayq report resend."""
    reason: str
    """Why the last attempt failed, a code of `faults`."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"next_at": self.next_at and self.next_at.isoformat(timespec="seconds")}

    @property
    def why(self) -> str:
        return faults.in_words(self.reason)


@dataclass(frozen=True, kw_only=True)
class LostResults:
    """Results for a destination that were given up in a span, for one reason."""

    destination: str
    reason: str
    """A code of `faults`."""
    results: int

    @property
    def why(self) -> str:
        return faults.in_words(self.reason)


@dataclass(frozen=True, kw_only=True)
class LateResults:
    """Results for a destination that are not there, or not confirmed, though their films ended long ago."""

    destination: str
    kind: str
    """Of their errands."""
    results: int
    oldest: datetime
    """When the first of these films ended."""


@dataclass(frozen=True, kw_only=True)
class DestinationResults:
    """How many results are not yet, or never were, at a destination."""

    destination: str
    waiting: int
    unconfirmed: int
    """Sent, and it has not said that it holds them."""
    given_up: int
    oldest: datetime
    """When the first of these films ended."""


def by_destination(connection: Connection) -> tuple[DestinationResults, ...]:
    """Destinations for which something waits or was given up, by name; what a person silenced is none of it."""
    found: dict[str, dict[str, LateResults]] = defaultdict(dict)
    for results in late(connection, datetime.max.replace(tzinfo=UTC)):
        found[results.destination][results.kind] = results

    def number(name: str, kind: str) -> int:
        return found[name][kind].results if kind in found[name] else 0

    return tuple(
        DestinationResults(
            destination=name,
            waiting=number(name, WAITS),
            unconfirmed=number(name, CONFIRM),
            given_up=number(name, LOST),
            oldest=min(results.oldest for results in kinds.values()),
        )
        for name, kinds in sorted(found.items())
    )


def outages(connection: Connection) -> tuple[ResultOutage, ...]:
    """Destinations that something does not reach now, or that owe an answer for long; empty when all is well."""
    tried: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(select(errand).where(errand.c.kind.in_(EACH), errand.c.attempts > 0)):
        tried[row.payload["destination"]].append(row)
    numbers: dict[str, Counter[str]] = defaultdict(Counter)
    for found in late(connection, datetime.max.replace(tzinfo=UTC)):
        numbers[found.destination][found.kind] = found.results
    wrong = {name for name, rows in tried.items() if any(_missed(row) or _failing(row) for row in rows)}
    wrong |= {found.destination for found in late(connection, database_time(connection) - LONG)}
    return tuple(_outage(name, tried[name], numbers[name]) for name in sorted(wrong))


def given_up(connection: Connection, span: Span) -> tuple[LostResults, ...]:
    """Results that were given up in the span, by destination."""
    details = connection.execute(
        select(audit_event.c.detail).where(span.covers(audit_event.c.at), audit_event.c.action.in_(GIVEN_UP))
    ).scalars()
    counts = Counter((detail.get("destination", ""), detail["reason"]) for detail in details)
    return tuple(
        LostResults(destination=destination, reason=reason, results=number)
        for (destination, reason), number in sorted(counts.items())
    )


def late(connection: Connection, before: datetime, kinds: Collection[str] = EACH) -> tuple[LateResults, ...]:
    """Results of films that ended before, and all that were given up, by destination and kind of errand."""
    destination, since = errand.c.destination, errand.c.payload["since"].as_string()
    oldest, reason = func.min(since), errand.c.payload["reason"].as_string()
    # Times are written in UTC by one function, so that their texts are in order. Quiet hours end before `since`.
    old = since < before.isoformat()
    query = (
        select(destination, errand.c.kind, func.count(), oldest)
        .where(errand.c.kind.in_(kinds), old | (errand.c.kind == LOST))
        .where((errand.c.kind != LOST) | (reason != faults.SILENT))  # a person wanted that
        .group_by(destination, errand.c.kind)
        .order_by(destination, errand.c.kind)
    )
    return tuple(
        LateResults(destination=name, kind=kind, results=number, oldest=datetime.fromisoformat(first))
        for name, kind, number, first in connection.execute(query)
    )


def in_words(results: Sequence[LateResults]) -> str:
    """How many of which kind: "3 results not sent, 1 result not confirmed, 2 results given up"."""
    words = {WAITS: "not sent", CONFIRM: "sent and not confirmed", LOST: "given up"}
    numbers = {kind: sum(found.results for found in results if found.kind == kind) for kind in words}
    return ", ".join(f"{counted(numbers[kind], 'result')} {what}" for kind, what in words.items() if numbers[kind])


def _missed(row: Row[Any]) -> bool:
    return bool(row.kind == LOST and row.payload["reason"] != faults.SILENT)


def _failing(row: Row[Any]) -> bool:
    return row.kind == WAITS and failed_attempts(row) > 0 and row.payload["reason"] != faults.QUIET


def _outage(name: str, tried: Sequence[Row[Any]], numbers: Counter[str]) -> ResultOutage:
    """
    Args:
        tried: its errands with an attempt, what was given up among them.
        numbers: of all of its errands, by kind.
    """
    failing = [row for row in tried if _failing(row)]
    # Not one that another fault keeps from being confirmed, where there is one that did not arrive at all.
    worst = failing or [row for row in tried if row.kind == LOST] or tried
    last = max(worst, key=lambda row: row.next_attempt_at, default=None)
    return ResultOutage(
        destination=name,
        waiting=numbers[WAITS],
        failing=len(failing),
        unconfirmed=numbers[CONFIRM],
        attempts=max(map(failed_attempts, failing), default=0),
        next_at=min((row.next_attempt_at for row in failing), default=None),
        given_up=numbers[LOST],
        reason=last.payload["reason"] if last else "",
    )
