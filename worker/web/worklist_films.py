"""The films of the worklist: one query that orders them, and three small ones about those of a page.

An answer looks through the newest MOST_FILMS films of the days, sender and state that are wanted, so that it takes the
same time in the tenth year as in the first. A filter by a rare reason, or by live or backfilled, walks through more.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, literal, or_, select, true

from model.conformal import unsure
from model.findings import in_order, negative_of
from worker.db.scores import IS_LIVE, IS_UNSURE
from worker.db.tables import finding_score, instance, score, truth
from worker.states import State
from worker.web.worklist_filters import LAST_PAGE, Filters

PAGE = 50
MOST_FILMS = LAST_PAGE * PAGE


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """One probability against its operating point."""

    finding: str
    probability: float
    low: float | None
    high: float | None
    operating_point: float | None
    flag: bool


@dataclass(frozen=True, kw_only=True)
class WorklistFilm:
    """One row."""

    id: int
    received_at: datetime
    calling_ae: str
    state: State
    reason: str | None
    replaced: bool
    """Whether it came in the place of a film of the same UID."""
    backfilled: bool
    hidden: bool
    """Drawn for labels, and this person's label is not in: there is nothing of the score or of other labels."""
    flags: tuple[str, ...]
    urgent: bool
    gauge: Gauge | None
    """Of the flag with the highest probability, else of the likeliest finding but the negative one; None: no score."""
    unsure: bool
    labels: tuple[tuple[str, str], ...]
    """(reader, label)."""

    @property
    def waits(self) -> bool:
        return self.state is State.RECEIVED


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """What one view shows."""

    films: tuple[WorklistFilm, ...]
    matching: int
    bounded: bool
    """Whether older films were not looked through."""

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching // PAGE))


def films_of(
    connection: Connection, filters: Filters, zone: ZoneInfo, hidden: Collection[int], urgent: Collection[str]
) -> WorklistPage:
    """A page of films.

    Args:
        hidden: ids whose score this person may not see: neither order nor filter tells of it.
        urgent: findings of XRAYQ_URGENT.
    """
    looked = _looked_through(filters, zone)
    matching = _matching(looked, filters, hidden, urgent).subquery()
    rank = matching.c.rank
    orders: dict[str, tuple[ColumnElement[object], ...]] = {
        "": (
            rank,
            # Flagged: the highest probability, then the longest wait. Others: the newest.
            matching.c.probability.desc(),
            case((rank < 2, matching.c.received_at)),
            matching.c.received_at.desc(),
            matching.c.id,
        ),
        "newest": (matching.c.received_at.desc(), matching.c.id.desc()),
        "oldest": (matching.c.received_at, matching.c.id),
    }
    every = func.count().over()
    query = select(matching.c.id, rank, every.label("every")).order_by(*orders[filters.order])
    rows = connection.execute(query.offset((filters.page - 1) * PAGE).limit(PAGE)).all()
    counted = select(func.count()).select_from(matching)
    number = rows[0].every if rows else connection.execute(counted).scalar_one()
    films = _films(connection, [(row.id, row.rank) for row in rows], hidden)
    return WorklistPage(films=films, matching=number, bounded=_is_bounded(connection, looked))


def _is_bounded(connection: Connection, looked: Select[tuple[int]]) -> bool:
    last = connection.execute(select(func.max(instance.c.id))).scalar_one() or 0
    # A young site cannot have so many, and need not count.
    return (
        last >= MOST_FILMS
        and connection.execute(select(func.count()).select_from(looked.subquery())).scalar_one() == MOST_FILMS
    )


def _looked_through(filters: Filters, zone: ZoneInfo) -> Select[tuple[int]]:
    later = instance.alias()
    replaced = select(later.c.id).where(
        later.c.sop_instance_uid == instance.c.sop_instance_uid,
        later.c.revision > instance.c.revision,
        later.c.is_film,
        later.c.admitted,
    )
    newest = ~replaced.correlate(instance).exists()
    wanted = select(instance.c.id).where(newest, *filters.conditions(zone))
    return wanted.order_by(instance.c.received_at.desc()).limit(MOST_FILMS)


def _matching(
    looked: Select[tuple[int]], filters: Filters, hidden: Collection[int], urgent: Collection[str]
) -> Select[tuple[int, int, float, datetime]]:
    """Of what is looked through: id, rank (0 urgent flag, 1 flag, 2 unsure, 3 others), probability, received_at."""
    shown = looked.subquery()
    seen = and_(score.c.instance_id == shown.c.id, IS_LIVE, score.c.instance_id.not_in(hidden) if hidden else true())
    flagged = and_(finding_score.c.score_id == score.c.id, finding_score.c.flag)
    is_urgent = finding_score.c.finding.in_(urgent) if urgent else literal(False)
    highest = func.max(finding_score.c.probability)
    query = (
        select(
            shown.c.id,
            case(
                (func.max(case((is_urgent, 1), else_=0)) == 1, 0), (highest.is_not(None), 1), (_doubt(), 2), else_=3
            ).label("rank"),
            func.coalesce(highest, -1.0).label("probability"),
            instance.c.received_at,
        )
        .select_from(shown)
        .join(instance, instance.c.id == shown.c.id)
        .outerjoin(score, seen)
        .outerjoin(finding_score, flagged)
        .group_by(shown.c.id, instance.c.received_at)
    )
    if (of_labels := filters.of_labels()) is not None:
        query = query.where(of_labels, instance.c.id.not_in(hidden) if hidden else true())
    if filters.flag == "any":
        query = query.having(highest.is_not(None))
    elif filters.flag == "none":
        query = query.having(highest.is_(None), func.count(score.c.id) > 0)
    elif filters.flag:
        query = query.having(func.max(case((finding_score.c.finding == filters.flag, 1), else_=0)) == 1)
    if filters.unsure:
        query = query.having(_doubt() if filters.unsure == "yes" else and_(~_doubt(), func.count(score.c.id) > 0))
    return query


def _doubt() -> ColumnElement[bool]:
    return func.coalesce(func.max(case((and_(score.c.id.is_not(None), IS_UNSURE), 1), else_=0)), 0) == 1


def _films(
    connection: Connection, ranked: Sequence[tuple[int, int]], hidden: Collection[int]
) -> tuple[WorklistFilm, ...]:
    ids = [key for key, _ in ranked]
    rows = {row.id: row for row in connection.execute(select(instance).where(instance.c.id.in_(ids)))}
    columns = (score.c.instance_id, score.c.prediction_set, *finding_score.c)
    query = select(*columns).join(finding_score, finding_score.c.score_id == score.c.id)
    scores: dict[int, list[Row[Any]]] = defaultdict(list)
    for found in connection.execute(query.where(IS_LIVE, score.c.instance_id.in_(set(ids) - set(hidden)))):
        scores[found.instance_id].append(found)
    labels = _labels(connection, [row for key, row in rows.items() if key not in hidden])
    return tuple(
        WorklistFilm(
            id=row.id,
            received_at=row.received_at,
            calling_ae=row.calling_ae,
            state=State(row.state),
            reason=row.reason,
            replaced=row.revision > 1,
            backfilled=row.backfilled,
            hidden=row.id in hidden,
            flags=tuple(in_order([found.finding for found in scores[row.id] if found.flag])),
            urgent=rank == 0,
            gauge=_gauge(scores[row.id]),
            unsure=bool(scores[row.id]) and unsure(scores[row.id][0].prediction_set),
            labels=labels.get(row.id, ()),
        )
        for row, rank in ((rows[key], rank) for key, rank in ranked)
    )


def _gauge(findings: list[Row[Any]]) -> Gauge | None:
    negative = negative_of([found.finding for found in findings]) if findings else ""
    offered = [found for found in findings if found.flag] or [found for found in findings if found.finding != negative]
    if not offered:
        return None
    first = max(offered, key=lambda found: found.probability)
    return Gauge(
        finding=first.finding,
        probability=first.probability,
        low=first.interval_low,
        high=first.interval_high,
        operating_point=first.operating_point,
        flag=first.flag,
    )


def _labels(connection: Connection, films: list[Row[Any]]) -> dict[int, tuple[tuple[str, str], ...]]:
    """Of each reader the last reading."""
    uids = {film.sop_instance_uid for film in films}
    numbers = {film.accession_digest for film in films} - {""}
    named = or_(truth.c.sop_instance_uid.in_(uids), truth.c.accession_digest.in_(numbers))
    rows = connection.execute(select(truth).where(named).order_by(truth.c.read_on, truth.c.id)).all()
    found = {}
    for film in films:
        said = {
            row.reader: row.label
            for row in rows
            if row.sop_instance_uid == film.sop_instance_uid
            or (film.accession_digest and row.accession_digest == film.accession_digest)
        }
        found[film.id] = tuple(sorted(said.items()))
    return found
