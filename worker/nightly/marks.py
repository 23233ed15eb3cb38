"""A day's films by what their scores say: flagged, unsure, both or neither."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from model.findings import in_order
from worker.db.scores import IS_UNSURE, LIVE_OF_FILM
from worker.db.span import Span
from worker.db.tables import finding_score, instance, score


@dataclass(frozen=True, kw_only=True)
class MarkedFilm:
    """A film that was flagged, or left unsure, or both."""

    id: int
    calling_ae: str
    flags: tuple[str, ...]
    unsure: bool


@dataclass(frozen=True, kw_only=True)
class SenderMarks:
    """What the scores say of the films of one AE; scored = flagged + unsure - flagged_and_unsure + neither."""

    calling_ae: str
    scored: int
    flagged: int
    unsure: int
    flagged_and_unsure: int
    neither: int


def marked(connection: Connection, span: Span) -> tuple[MarkedFilm, ...]:
    """Instances with any flag, or unsure, by id."""
    rows = connection.execute(
        select(instance.c.id, instance.c.calling_ae, IS_UNSURE.label("unsure"), finding_score.c.finding)
        .join(score, LIVE_OF_FILM)
        .outerjoin(finding_score, (finding_score.c.score_id == score.c.id) & finding_score.c.flag)
        .where(span.covers(instance.c.received_at), ~instance.c.backfilled, IS_UNSURE | finding_score.c.flag)
        .order_by(instance.c.id)
    )
    flags: dict[tuple[int, str, bool], list[str]] = {}
    for key, calling_ae, is_unsure, finding in rows:
        flags.setdefault((key, calling_ae, bool(is_unsure)), []).extend([finding] if finding else [])
    return tuple(
        MarkedFilm(id=key, calling_ae=calling_ae, flags=tuple(in_order(names)), unsure=is_unsure)
        for (key, calling_ae, is_unsure), names in flags.items()
    )


def by_sender(connection: Connection, span: Span, films: Sequence[MarkedFilm]) -> tuple[SenderMarks, ...]:
    """By sending AE, of those with a scored film.

    Args:
        films: `marked` of the same span.
    """
    rows = connection.execute(
        select(instance.c.calling_ae, func.count())
        .join(score, LIVE_OF_FILM)
        .where(span.covers(instance.c.received_at), ~instance.c.backfilled)
        .group_by(instance.c.calling_ae)
        .order_by(instance.c.calling_ae)
    )
    kinds = Counter((film.calling_ae, bool(film.flags), film.unsure) for film in films)
    return tuple(
        SenderMarks(
            calling_ae=ae,
            scored=number,
            flagged=kinds[ae, True, False] + kinds[ae, True, True],
            unsure=kinds[ae, False, True] + kinds[ae, True, True],
            flagged_and_unsure=kinds[ae, True, True],
            neither=number - sum(kinds[ae, *kind] for kind in ((True, False), (False, True), (True, True))),
        )
        for ae, number in rows
    )
