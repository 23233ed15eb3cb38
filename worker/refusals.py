"""Refused C-STOREs in the audit trail, as counts for each AE and status, so that a night tells of a device that was
refused all day. The films were never received: they are still the sender's.

Written once a minute and when the gateway stops; one that is killed takes its last minute's counts along. Where the
database vanishes between a commit and its answer, that minute's counts are written twice.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, select

from worker import trail
from worker.audit.reconciliation import Span
from worker.db.session import writing
from worker.db.tables import audit_event

ACTION = "refused"
SECONDS = 60.0

Counts = Counter[tuple[str, str]]
"""By calling AE and status, such as 0xA700."""


class Refusals:
    """What a gateway refused since it started, on its way into the trail."""

    def __init__(self, totals: Callable[[], Counts]) -> None:
        self._totals = totals
        self._written: Counts = Counter()
        self._lock = threading.Lock()  # the last writing, when the gateway stops, may meet the minute's

    def write(self, engine: Engine) -> None:
        """What is new, in one transaction. Where that fails it is new the next time too."""
        with self._lock:
            self._write(engine, self._totals())

    def _write(self, engine: Engine, totals: Counts) -> None:
        by_ae: dict[str, dict[str, int]] = defaultdict(dict)
        for (calling_ae, status), number in sorted((totals - self._written).items()):
            by_ae[calling_ae][status] = number
        if not by_ae:
            return
        with writing(engine) as connection:
            trail.record_all(connection, [_event(calling_ae, counts) for calling_ae, counts in by_ae.items()])
        self._written = totals


def of_span(connection: Connection, span: Span) -> dict[str, dict[str, int]]:
    """AE -> status -> C-STOREs refused in the span."""
    rows = connection.execute(
        select(audit_event.c.actor, audit_event.c.detail)
        .where(audit_event.c.action == ACTION, span.covers(audit_event.c.at))
        .order_by(audit_event.c.id)
    )
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for calling_ae, detail in rows:
        found[calling_ae].update(detail["statuses"])
    return {calling_ae: dict(sorted(counts.items())) for calling_ae, counts in sorted(found.items())}


def _event(calling_ae: str, statuses: dict[str, int]) -> dict[str, Any]:
    return trail.event(action=ACTION, instance_id=None, actor=calling_ae, detail={"statuses": statuses})
