"""A day's films that came again under their SOP Instance UID as another patient's, study's or side's."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, null, select

from dicom_gateway.revision import UNKNOWN
from model.findings import in_order
from worker.audit.actions import Action
from worker.audit.reconciliation import CHAINED, SCORED
from worker.db.scores import IS_UNSURE, LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, score
from worker.states import DUPLICATE, State


@dataclass(frozen=True, kw_only=True)
class EarlierFilm:
    """A revision before the one that changed."""

    id: int
    calling_ae: str
    state: State
    flags: tuple[str, ...]
    unsure: bool
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class IdentityChange:
    """A revision of another identity than the revision before, or of which nobody can tell."""

    id: int
    calling_ae: str
    identity_changed: tuple[str, ...]
    """Keywords of the attributes that differ, or UNKNOWN alone."""
    received_at: datetime
    earlier: tuple[EarlierFilm, ...]
    """Every revision before it."""

    @property
    def compared(self) -> bool:
        """False where the earlier file could not be read."""
        return self.identity_changed != (UNKNOWN,)


def identity_changes(connection: Connection, span: Span) -> tuple[IdentityChange, ...]:
    """Those of the day, by id."""
    changed = span.covers(instance.c.received_at) & instance.c.identity_changed.is_not(null()) & instance.c.admitted
    rows = [
        row
        for row in connection.execute(select(instance).where(changed).order_by(instance.c.id))
        if row.identity_changed
    ]
    return tuple(
        IdentityChange(
            id=row.id,
            calling_ae=row.calling_ae,
            identity_changed=tuple(row.identity_changed),
            received_at=row.received_at,
            earlier=_earlier(connection, row),
        )
        for row in rows
    )


def _earlier(connection: Connection, film: Any) -> tuple[EarlierFilm, ...]:
    same_uid = (instance.c.sop_instance_uid == film.sop_instance_uid) & instance.c.is_film & instance.c.admitted
    before = same_uid & (instance.c.revision < film.revision)
    rows = connection.execute(
        select(
            instance.c.id,
            instance.c.calling_ae,
            instance.c.received_at,
            instance.c.state,
            IS_UNSURE.label("unsure"),
            finding_score.c.finding,
        )
        .outerjoin(score, LIVE_OF_FILM)
        .outerjoin(finding_score, (finding_score.c.score_id == score.c.id) & finding_score.c.flag)
        .where(before)
        .order_by(instance.c.revision)
    )
    flags: dict[int, list[str]] = defaultdict(list)
    revisions: dict[int, Any] = {}
    for row in rows:
        revisions.setdefault(row.id, row)
        if row.finding:
            flags[row.id].append(row.finding)
    return tuple(
        EarlierFilm(
            id=key,
            calling_ae=row.calling_ae,
            state=State(row.state),
            flags=tuple(in_order(flags[key])),
            unsure=bool(row.unsure),
            received_at=row.received_at,
        )
        for key, row in revisions.items()
    )


def demographics(connection: Connection, span: Span) -> dict[str, int]:
    """Films sent again on the day, or let out of quarantine on it, with another name or sex of the same Patient ID, by
    AE: no new work."""
    of_day = (span.covers(audit_event.c.at), CHAINED)
    again = select(audit_event.c.actor, audit_event.c.detail).where(
        audit_event.c.action == Action.DUPLICATE.value, *of_day
    )
    # Their actor is who let them out.
    let_out = (
        select(instance.c.calling_ae.label("actor"), audit_event.c.detail)
        .join(instance, instance.c.id == audit_event.c.instance_id)
        .where(audit_event.c.action == Action.INELIGIBLE.value, instance.c.reason == DUPLICATE, *of_day)
    )
    rows = [*connection.execute(again), *connection.execute(let_out)]
    return dict(sorted(Counter(row.actor for row in rows if row.detail.get("demographics_changed")).items()))


def remarks(changes: Iterable[IdentityChange]) -> Iterable[str]:
    """A sentence for each sender, and one more for what could not be compared."""
    changed, unread = parted(changes)
    for calling_ae, films in _by_sender(changed):
        scores = sum(any(earlier.state in SCORED for earlier in film.earlier) for film in films)
        remark = f"{calling_ae}: {_films(films)} came again as another patient's, study's or side's (see Corrections)."
        if scores:
            stand = (
                "1 has an earlier score that stands" if scores == 1 else f"{scores:,} have earlier scores that stand"
            )
            remark += (
                f" Of these, {stand} under the identity before. Find out who received the earlier "
                f"{'score' if scores == 1 else 'scores'}, and correct it there."
            )
        yield remark
    for calling_ae, films in _by_sender(unread):
        file = "file" if len(films) == 1 else "files"
        yield (
            f"{calling_ae}: {_films(films)} came again and could not be compared: the earlier {file} could not be read "
            "(see Corrections). Where the spool was cleaned, this is no fault."
        )


def parted(changes: Iterable[IdentityChange]) -> tuple[list[IdentityChange], list[IdentityChange]]:
    """Films whose identity changed, and those that could not be compared with the film before."""
    changes = list(changes)
    return [film for film in changes if film.compared], [film for film in changes if not film.compared]


def _by_sender(changes: Iterable[IdentityChange]) -> list[tuple[str, list[IdentityChange]]]:
    of_sender: dict[str, list[IdentityChange]] = defaultdict(list)
    for film in changes:
        of_sender[film.calling_ae].append(film)
    return sorted(of_sender.items())


def _films(films: Sequence[IdentityChange]) -> str:
    return "1 film" if len(films) == 1 else f"{len(films):,} films"
