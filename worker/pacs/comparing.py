"""What a PACS has beside the ledger: each film is here, on its way, or missing for a reason.

quarantined      it came from a peer that nobody has admitted yet
other_object     what came under its UID can be no film
refused          its C-STORE was answered with an error
context_refused  a sender's presentation context for its SOP class was refused since: it may have been this film
never_sent       no trace of it
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, or_, select

from dicom_gateway.errors import in_hexadecimal
from dicom_gateway.negotiation import class_name
from worker.db.pseudonyms import accession_digest
from worker.db.span import Span
from worker.db.tables import instance
from worker.pacs.listing import PacsFilm
from worker.receiving import refusals, refused_films
from worker.states import State

CHUNK = 500
LONGEST_TITLE = 16


class Why(StrEnum):
    NEVER_SENT = "never_sent"
    CONTEXT_REFUSED = "context_refused"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    OTHER_OBJECT = "other_object"


@dataclass(frozen=True, kw_only=True)
class MissingFilm:
    """A film that a PACS has and that is not here."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    film_at: str
    """Local, to the minute, "" where the PACS does not say."""
    accession_digest: str
    why: Why
    status: str | None = None
    """Of the C-STORE-RSP that refused it, in hexadecimal."""
    calling_ae: str = ""
    """Whose C-STORE or context was refused."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    films: int
    here: int
    on_its_way: int
    missing: tuple[MissingFilm, ...]
    """Oldest first."""


def compare(
    connection: Connection,
    films: Sequence[PacsFilm],
    *,
    day: date,
    zone: ZoneInfo,
    now: datetime,
    settled_minutes: float,
    key: bytes,
) -> Comparison:
    """
    Args:
        day: of their Study Date.
        now: by the database's clock.
        settled_minutes: a younger film that is not here is still on its way. One that is further in the future has a
            wrong time, which says nothing.
        key: of accession digests.
    """
    uids = [film.sop_instance_uid for film in films]
    known, refused = held(connection, uids), refused_films.among(connection, uids)
    contexts = _contexts(connection, Span(start=Span.of_day(day, zone).start, end=now))
    settled = timedelta(minutes=settled_minutes)
    local = now.astimezone(zone).replace(tzinfo=None)
    here = on_its_way = no_films = 0
    missing = []
    for film in films:
        states = known.get(film.sop_instance_uid, set())
        if states - {State.QUARANTINED, None}:
            here += 1
            continue
        if None in states and not film.sop_class_uid:
            no_films += 1  # the PACS does not say what it is, and it came: it is no film
            continue
        why, status, calling_ae = Why.NEVER_SENT, None, ""
        if State.QUARANTINED in states:
            why = Why.QUARANTINED
        elif states:
            why = Why.OTHER_OBJECT
        elif film.at is not None and local - settled < film.at < local + settled:
            on_its_way += 1
            continue
        elif refusal := refused.get(film.sop_instance_uid):
            why, status, calling_ae = Why.REFUSED, in_hexadecimal(refusal.status), refusal.calling_ae
        elif film.sop_class_uid and (sender := contexts.get(class_name(film.sop_class_uid))):
            why, calling_ae = Why.CONTEXT_REFUSED, sender
        missing.append(
            MissingFilm(
                sop_instance_uid=film.sop_instance_uid,
                study_instance_uid=film.study_instance_uid,
                series_instance_uid=film.series_instance_uid,
                modality=film.modality,
                film_at=f"{film.at:%Y-%m-%d %H:%M}" if film.at else "",
                accession_digest=accession_digest(key, film.accession_number),
                why=why,
                status=status,
                calling_ae=calling_ae,
            )
        )
    missing.sort(key=lambda one: (one.film_at, one.sop_instance_uid))
    return Comparison(films=len(films) - no_films, here=here, on_its_way=on_its_way, missing=tuple(missing))


def held(connection: Connection, uids: Sequence[str]) -> dict[str, set[str | None]]:
    """UID -> states of its films in the ledger; None for what is no film."""
    found: dict[str, set[str | None]] = {}
    for start in range(0, len(uids), CHUNK):
        chunk = uids[start : start + CHUNK]
        # What a person refused to admit is not here.
        wanted = or_(instance.c.admitted, instance.c.state == State.QUARANTINED)
        rows = select(instance.c.sop_instance_uid, instance.c.is_film, instance.c.state).where(wanted)
        for uid, is_film, state in connection.execute(rows.where(instance.c.sop_instance_uid.in_(chunk))):
            found.setdefault(uid, set()).add(state if is_film else None)
    return found


def _contexts(connection: Connection, span: Span) -> dict[str, str]:
    """Name of a SOP class -> an AE whose presentation context for it was refused in the span."""
    refused: dict[str, Collection[str]] = dict(refusals.of_span(connection, span, refusals.CONTEXTS))
    return {
        code.partition(": ")[0]: calling_ae[:LONGEST_TITLE]  # that of "further" ones is longer
        for calling_ae, codes in refused.items()
        for code in codes
        if refusals.may_be_a_film(code)
    }
