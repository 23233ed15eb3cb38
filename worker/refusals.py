"""What a gateway turned away, in the audit trail: counts for each AE, so that a night tells of a device that was
refused all day. The films were never received: they are still the sender's.

Written once a minute and when the gateway stops; one that is killed takes its last minute's counts along. Where the
database vanishes between a commit and its answer, that minute's counts are written twice.

Titles are a stranger's words, so in each minute MOST_STRANGERS of them are named, for films and for associations apart.
The rest is counted in one row. An AE of which this gateway knows is always named: those of XRAYQ_CALLING_AES, and those
of which it has kept a film since it started.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, select

from dicom_gateway.observer import Observer
from worker import trail
from worker.audit.reconciliation import Span
from worker.db.session import writing
from worker.db.tables import audit_event

FILMS, ASSOCIATIONS = "refused", "not_associated"
"""Actions of the trail: C-STOREs by status, such as 0xA700; associations by reason, such as CALLED_AE."""
KEYS = {FILMS: "statuses", ASSOCIATIONS: "reasons"}
SECONDS = 60.0
MOST_STRANGERS, MOST_KNOWN = 100, 10_000
FURTHER, NAMELESS = "(further AE titles)", "(no AE title given)"
"""Longer than the 16 characters of an AE title, so none is called so."""

Counts = dict[str, dict[str, Counter[str]]]
"""Action -> AE -> code -> number."""


class Refusals(Observer):
    """What a gateway turned away, on its way into the trail. Its own C-ECHO, under `own_title`, is not counted."""

    def __init__(self, *, own_title: str = "", known: Iterable[str] = ()) -> None:
        self._own_title = own_title
        self._known = set(known)
        self._waiting = _nothing()
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # the last writing, when the gateway stops, may meet the minute's

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:  # noqa: ARG002
        if status:
            self._add(FILMS, calling_ae, f"0x{status:04X}")
        elif calling_ae not in self._known and len(self._known) < MOST_KNOWN:
            with self._lock:
                self._known.add(calling_ae)

    def rejected(self, calling_ae: str, reason: str) -> None:
        title = calling_ae or NAMELESS
        if title != self._own_title:
            self._add(ASSOCIATIONS, title, reason)

    def write(self, engine: Engine) -> None:
        """What is new, in one transaction. Where that fails it is new the next time too."""
        with self._writing:
            with self._lock:
                counts, self._waiting = self._waiting, _nothing()
            try:
                _record(engine, counts)
            except BaseException:
                self._put_back(counts)
                raise

    def _add(self, action: str, calling_ae: str, code: str, number: int = 1) -> None:
        with self._lock:
            named = self._waiting[action]
            strange = calling_ae not in named and calling_ae not in self._known
            if strange and len(named.keys() - self._known - {FURTHER, NAMELESS}) >= MOST_STRANGERS:
                calling_ae = FURTHER
            named.setdefault(calling_ae, Counter())[code] += number

    def _put_back(self, counts: Counts) -> None:
        with self._lock:
            newer, self._waiting = self._waiting, counts
        for action, named in newer.items():
            for calling_ae, codes in named.items():
                for code, number in codes.items():
                    self._add(action, calling_ae, code, number)


def of_span(connection: Connection, span: Span, action: str = FILMS) -> dict[str, dict[str, int]]:
    """AE -> code -> films or associations that were turned away in the span."""
    rows = connection.execute(
        select(audit_event.c.actor, audit_event.c.detail)
        .where(audit_event.c.action == action, span.covers(audit_event.c.at))
        .order_by(audit_event.c.id)
    )
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for calling_ae, detail in rows:
        found[calling_ae].update(detail[KEYS[action]])
    return {calling_ae: dict(sorted(counts.items())) for calling_ae, counts in sorted(found.items())}


def _nothing() -> Counts:
    return {action: {} for action in KEYS}


def _record(engine: Engine, counts: Counts) -> None:
    events = [
        _event(action, calling_ae, codes)
        for action, named in counts.items()
        for calling_ae, codes in sorted(named.items())
    ]
    if events:
        with writing(engine) as connection:
            trail.record_all(connection, events)


def _event(action: str, calling_ae: str, codes: Counter[str]) -> dict[str, Any]:
    detail = {KEYS[action]: dict(sorted(codes.items()))}
    return trail.event(action=action, instance_id=None, actor=calling_ae, detail=detail)
