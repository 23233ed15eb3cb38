"""Results that did not arrive. Status and the night's report show them."""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from worker.audit.actions import Action
from worker.db.span import Span
from worker.db.tables import audit_event, errand
from worker.queue.lease import failed_attempts
from worker.reporting.faults import QUIET, in_words
from worker.reporting.waiting import LOST, WAITS


@dataclass(frozen=True, kw_only=True)
class ResultOutage:
    """A destination that results do not reach."""

    destination: str
    """Its name."""
    failing: int
    """Results that failed and are tried again."""
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
        return in_words(self.reason)


@dataclass(frozen=True, kw_only=True)
class LostResults:
    """Results for a destination that were given up in a span, for one reason."""

    destination: str
    reason: str
    """A code of `faults`."""
    results: int

    @property
    def why(self) -> str:
        return in_words(self.reason)


def outages(connection: Connection) -> tuple[ResultOutage, ...]:
    """Destinations that something does not reach now; empty when all is well."""
    rows = connection.execute(select(errand).where(errand.c.kind.in_((WAITS, LOST)), errand.c.attempts > 0))
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        if row.kind == LOST or (failed_attempts(row) and row.payload["reason"] != QUIET):
            found[row.payload["destination"]].append(row)
    return tuple(_outage(name, found[name]) for name in sorted(found))


def given_up(connection: Connection, span: Span) -> tuple[LostResults, ...]:
    """Results that were given up in the span, by destination."""
    details = connection.execute(
        select(audit_event.c.detail).where(
            span.covers(audit_event.c.at), audit_event.c.action == Action.RESULT_UNDELIVERED
        )
    ).scalars()
    counts = Counter((detail.get("destination", ""), detail["reason"]) for detail in details)
    return tuple(
        LostResults(destination=destination, reason=reason, results=number)
        for (destination, reason), number in sorted(counts.items())
    )


def _outage(name: str, rows: list[Row[Any]]) -> ResultOutage:
    failing = [row for row in rows if row.kind == WAITS]
    last = max(rows, key=lambda row: row.next_attempt_at)
    return ResultOutage(
        destination=name,
        failing=len(failing),
        attempts=max(map(failed_attempts, failing), default=0),
        next_at=min((row.next_attempt_at for row in failing), default=None),
        given_up=len(rows) - len(failing),
        reason=last.payload["reason"],
    )
