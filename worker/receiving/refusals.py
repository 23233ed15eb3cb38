"""What a gateway turned away, in the audit trail: counts for each AE, so that the night's report shows a device that
was refused all day. The films were never received: they are still the sender's.

Three kinds: C-STOREs, presentation contexts, associations.

Written once a minute and when the gateway stops; one that is killed takes its last minute's counts along. Where the
database vanishes between a commit and its answer, that minute's counts are written twice.

Anybody can send any title, so in each minute MOST_STRANGERS of them are named, for each kind apart. The rest is
counted in one row. An AE of which this gateway knows is always named: those of XRAYQ_CALLING_AES, and those of which it
has kept a film since it started; other objects make no title known. Anybody can send any SOP class too:
MOST_CLASSES of each AE are named in a minute. MOST_ADDRESSES are named of whom was not let in under one title.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from dicom_gateway.errors import in_hexadecimal
from dicom_gateway.observer import USED, Observer
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.session import writing
from worker.db.span import Span
from worker.db.tables import audit_event
from worker.receiving import refused_films
from worker.receiving.refused_films import RefusedFilm

FILMS, CONTEXTS, ASSOCIATIONS = Action.REFUSED, Action.CONTEXT_REFUSED, Action.NOT_ASSOCIATED
"""Actions of the trail: C-STOREs by DIMSE status; presentation contexts by SOP class, and why where it is not
the class; associations by reason, such as CALLED_AE."""
KEYS = {FILMS: "statuses", CONTEXTS: "sop_classes", ASSOCIATIONS: "reasons"}
NOT_THE_CLASS = {
    "transfer_syntax": "no transfer syntax in common",
    "user_rejection": "its sender has no right to it",
    "context_id": "impossible context id",
    USED: "C-STORE sent all the same",
}
"""Why a context was refused, where it was not for its SOP class."""
SECONDS = 60.0
MOST_STRANGERS, MOST_KNOWN, MOST_CLASSES, MOST_ADDRESSES = 100, 10_000, 10, 10
MOST_FILMS = 1_000
"""Refused C-STOREs of a minute that are kept by UID; a tenth of them of AEs that are not known."""
MOST_SUMMED = 10_000
"""AE titles of a span that are told apart, and codes of each."""
FURTHER, NAMELESS = "(further AE titles)", "(no AE title given)"
"""Longer than the 16 characters of an AE title, so none is called so."""
FURTHER_CLASSES, FURTHER_ADDRESSES = "(further SOP classes)", "(further addresses)"

Counts = dict[Action, dict[str, Counter[str]]]
"""Action -> AE -> code -> number."""
Addresses = dict[str, Counter[str]]
"""AE -> IP address -> associations that were not let in."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An AE's presentation contexts that were not accepted, once for each association and SOP class."""

    calling_ae: str
    contexts: int
    """See `contexts_in`."""
    sop_classes: dict[str, int]
    """Highest first; with why, where it was not for the class."""


class Refusals(Observer):
    """What a gateway turned away, on its way into the trail. Its own C-ECHO, under `own_title`, is not counted.

    Which films were refused is kept beside it (`refused_films`): the trail has counts alone.
    """

    def __init__(self, *, own_title: str = "", known: Iterable[str] = ()) -> None:
        self._own_title = own_title
        self._known = set(known)
        self._waiting = _nothing()
        self._films: dict[str, RefusedFilm] = {}
        self._addresses: Addresses = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # the last writing, when the gateway stops, may meet the minute's

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:  # noqa: ARG002
        if status:
            self._add(FILMS, calling_ae, in_hexadecimal(status))

    def film_refused(self, calling_ae: str, sop_instance_uid: str, status: int) -> None:
        with self._lock:
            most = MOST_FILMS if calling_ae in self._known else MOST_FILMS // 10
            if sop_instance_uid in self._films or len(self._films) < most:
                self._films[sop_instance_uid] = RefusedFilm(
                    sop_instance_uid=sop_instance_uid, calling_ae=calling_ae, status=status
                )

    def kept(self, calling_ae: str) -> None:
        if calling_ae not in self._known and len(self._known) < MOST_KNOWN:
            with self._lock:
                self._known.add(calling_ae)

    def rejected(self, calling_ae: str, reason: str, address: str = "") -> None:
        title = calling_ae or NAMELESS
        if title != self._own_title:
            title = self._add(ASSOCIATIONS, title, reason)
            self._from(title, address)

    def context_refused(self, calling_ae: str, sop_class: str, reason: str) -> None:
        if calling_ae != self._own_title:
            words = NOT_THE_CLASS.get(reason)
            self._add(CONTEXTS, calling_ae, f"{sop_class}: {words}" if words else sop_class)

    def write(self, engine: Engine) -> None:
        """What is new, in one transaction. Where that fails it is new the next time too."""
        with self._writing:
            with self._lock:
                counts, self._waiting = self._waiting, _nothing()
                addresses, self._addresses = self._addresses, {}
                films, self._films = self._films, {}
            try:
                _record(engine, counts, addresses, films.values())
            except BaseException:
                self._put_back(counts, addresses)
                with self._lock:
                    self._films = films | self._films
                raise

    def _add(self, action: Action, calling_ae: str, code: str, number: int = 1) -> str:
        """Returns under which title it is counted."""
        with self._lock:
            named = self._waiting[action]
            strange = calling_ae not in named and calling_ae not in self._known
            if strange and len(named.keys() - self._known - {FURTHER, NAMELESS}) >= MOST_STRANGERS:
                calling_ae = FURTHER
            codes = named.setdefault(calling_ae, Counter())
            if action == CONTEXTS and code not in codes and len(codes) >= MOST_CLASSES:
                code = FURTHER_CLASSES
            codes[code] += number
            return calling_ae

    def _from(self, title: str, address: str, number: int = 1) -> None:
        if address:
            with self._lock:
                known = self._addresses.setdefault(title, Counter())
                room = address in known or len(known) < MOST_ADDRESSES
                known[address if room else FURTHER_ADDRESSES] += number

    def _put_back(self, counts: Counts, addresses: Addresses) -> None:
        with self._lock:
            newer, self._waiting = self._waiting, counts
        for action, named in newer.items():
            for calling_ae, codes in named.items():
                for code, number in codes.items():
                    self._add(action, calling_ae, code, number)
        for title, known in addresses.items():
            for address, number in known.items():
                self._from(title, address, number)


def may_be_a_film(code: str) -> bool:
    """Whether a film may have been meant by a presentation context that was refused: its SOP class is served here."""
    if code.startswith("Storage Commitment"):
        return False
    if code.startswith("Verification SOP Class"):  # one that brought a C-STORE was meant for a film all the same
        return code.endswith(NOT_THE_CLASS[USED])
    return code.endswith(tuple(NOT_THE_CLASS.values()))


def contexts_in(codes: Mapping[str, int]) -> int:
    """Presentation contexts behind these codes: one that was used all the same has two, and is one.

    Not so among FURTHER_CLASSES, where nobody can tell which is which.
    """
    refused, used = Counter[str](), Counter[str]()
    for code, number in codes.items():
        sop_class, _, why = code.partition(": ")
        (used if why == NOT_THE_CLASS[USED] else refused)[sop_class] += number
    return (refused | used).total()  # of each class the higher number


def of_span(connection: Connection, span: Span, action: Action = FILMS) -> dict[str, dict[str, int]]:
    """AE -> code -> films, presentation contexts or associations that were turned away in the span."""
    rows = connection.execute(
        select(audit_event.c.actor, audit_event.c.detail)
        .where(audit_event.c.action == action, span.covers(audit_event.c.at))
        .order_by(audit_event.c.id)
    )
    found: dict[str, Counter[str]] = {}
    for calling_ae, detail in rows:
        title = calling_ae if calling_ae in found or len(found) < MOST_SUMMED else FURTHER
        codes = found.setdefault(title, Counter())
        for code, number in detail[KEYS[action]].items():
            codes[code if code in codes or len(codes) < MOST_SUMMED else FURTHER_CLASSES] += number
    return {calling_ae: dict(sorted(counts.items())) for calling_ae, counts in sorted(found.items())}


def contexts_of(connection: Connection, span: Span, *, titles: int = 20, codes: int = 10) -> tuple[Refused, ...]:
    """Presentation contexts by AE, most first; see `most`."""
    found = most(of_span(connection, span, CONTEXTS), titles=titles, codes=codes)
    rows = [
        Refused(calling_ae=calling_ae, contexts=contexts_in(classes), sop_classes=classes)
        for calling_ae, classes in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.contexts, row.calling_ae)))


def most(counts: dict[str, dict[str, int]], *, titles: int, codes: int) -> dict[str, dict[str, int]]:
    """The AEs with the highest counts, and of each the highest codes; the others are summed up, and none is lost."""
    by_count = sorted(counts, key=lambda title: (title == FURTHER, -sum(counts[title].values()), title))
    kept = {title: Counter(counts[title]) for title in by_count[:titles]}
    for title in by_count[titles:]:
        kept.setdefault(FURTHER, Counter()).update(counts[title])
    return {title: _highest(of_title, codes) for title, of_title in sorted(kept.items())}


def _highest(counts: Counter[str], codes: int) -> dict[str, int]:
    """Highest first, what is summed up last."""
    by_count = sorted(counts, key=lambda code: (code == FURTHER_CLASSES, -counts[code], code))
    kept = {code: counts[code] for code in by_count[:codes]}
    rest = sum(counts[code] for code in by_count[codes:])
    return kept | ({FURTHER_CLASSES: kept.get(FURTHER_CLASSES, 0) + rest} if rest else {})


def _nothing() -> Counts:
    return {action: {} for action in KEYS}


def _record(engine: Engine, counts: Counts, addresses: Addresses, films: Iterable[RefusedFilm]) -> None:
    events = [
        _event(action, calling_ae, codes, addresses.get(calling_ae) if action == ASSOCIATIONS else None)
        for action, named in counts.items()
        for calling_ae, codes in sorted(named.items())
    ]
    if events or films:
        with writing(engine) as connection:
            trail.record_all(connection, events)
            refused_films.keep(connection, tuple(films))


def _event(action: Action, calling_ae: str, codes: Counter[str], addresses: Counter[str] | None) -> dict[str, Any]:
    detail = {KEYS[action]: dict(sorted(codes.items()))}
    if addresses:
        detail["addresses"] = dict(addresses.most_common())
    return trail.event(action=action, instance_id=None, actor=calling_ae, detail=detail)
