"""Two bundles side by side, on the films in the database that both scored."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from model.findings import FINDINGS, NOT_NORMAL, in_order, negative_of
from model.promotion.side_by_side import ComparedFilm, FindingScore, SideBySide, compare
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.tables import deployment, finding_score, score
from worker.monitoring.labels import truths
from worker.states import Role


@dataclass(frozen=True, kw_only=True)
class BundleComparison:
    """Two bundles over the films of both, with where the films come from."""

    live: str
    """Digest, as the next."""
    shadow: str
    engines: dict[str, list[str]]
    """By digest, what ran the network."""
    begun: datetime | None
    """When the shadow scored its first film; None where it scored none, as the next, its last."""
    ended: datetime | None
    truth_films: int
    """Films whose truth is known."""
    disputed_films: int
    """Films that readers disagree on."""
    result: SideBySide

    def as_dict(self) -> dict[str, Any]:
        return {
            "live": {"digest": self.live, "engines": self.engines[self.live]},
            "shadow": {"digest": self.shadow, "engines": self.engines[self.shadow]},
            "from": self.begun.isoformat() if self.begun else None,
            "to": self.ended.isoformat() if self.ended else None,
            "truth_films": self.truth_films,
            "disputed_films": self.disputed_films,
        } | self.result.as_dict()


def compare_bundles(engine: Engine, live: str, shadow: str) -> BundleComparison:
    """Compare two bundles, by digest, on the films that both scored."""
    with snapshot(engine) as connection:
        first, last, points = _scores(connection, live, shadow)
        labels = {film: truth.label for film, truth in truths(connection).items() if film in first}
        begun, ended = _span(connection, shadow)
        missed = _missed(connection, live, shadow)
        engines = {digest: _engines(connection, digest) for digest in (live, shadow)}
    films = [
        ComparedFilm(live=first[film], shadow=last[film], truth=labels.get(film))
        for film in sorted(first)
        if set(first[film]) == set(last[film])
    ]
    return BundleComparison(
        live=live,
        shadow=shadow,
        engines=engines,
        begun=begun,
        ended=ended,
        truth_films=sum(film.truth is not None for film in films),
        disputed_films=sum(label is None for label in labels.values()),
        result=compare(films, flagged=in_order(points), missed=missed, negative=negative_of(FINDINGS)),
    )


FilmScores = dict[int, dict[str, FindingScore]]


def _scores(connection: Connection, live: str, shadow: str) -> tuple[FilmScores, FilmScores, set[str]]:
    """By instance, what each bundle said, of those that both scored; and the findings with an operating point.

    NOT_NORMAL is among them where both flag it.
    """
    by_both = (
        select(score.c.instance_id)
        .where(score.c.bundle_digest.in_((live, shadow)))
        .group_by(score.c.instance_id)
        .having(func.count() == 2)
    )
    rows = connection.execute(
        select(
            score.c.instance_id,
            score.c.bundle_digest,
            finding_score.c.finding,
            finding_score.c.probability,
            finding_score.c.flag,
            finding_score.c.operating_point,
        )
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(score.c.bundle_digest.in_((live, shadow)), score.c.instance_id.in_(by_both))
    )
    scores: dict[str, FilmScores] = {live: defaultdict(dict), shadow: defaultdict(dict)}
    points = set()
    for row in rows:
        finding_scores = scores[row.bundle_digest][row.instance_id]
        finding_scores[row.finding] = FindingScore(probability=row.probability, flag=row.flag)
        if row.operating_point is not None:
            points.add(row.finding)
    said = {name for digest in scores for findings in scores[digest].values() for name in findings}
    both = all(NOT_NORMAL in findings for digest in scores for findings in scores[digest].values())
    said -= set() if both else {NOT_NORMAL}  # a flag of one of them alone: there is nothing to compare
    first, last = (
        {film: {name: found[name] for name in in_order(said & set(found))} for film, found in scores[digest].items()}
        for digest in (live, shadow)
    )
    return first, last, points & said


def _span(connection: Connection, shadow: str) -> tuple[datetime | None, datetime | None]:
    """When the shadow scored its first and its last film."""
    first, last = connection.execute(
        select(func.min(score.c.scored_at), func.max(score.c.scored_at)).where(score.c.bundle_digest == shadow)
    ).one()
    return first, last


def _missed(connection: Connection, live: str, shadow: str) -> int:
    """Films scored live while the shadow was one, that have no score of it, whatever the reason."""
    row = connection.execute(select(deployment).where(deployment.c.bundle_digest == shadow)).one_or_none()
    begun, ended = _span(connection, shadow)
    if row and row.role == Role.SHADOW:
        begun, ended = row.changed_at, None
    if begun is None:
        return 0
    silent = score.alias()
    query = (
        select(func.count())
        .select_from(score)
        .outerjoin(silent, (silent.c.instance_id == score.c.instance_id) & (silent.c.bundle_digest == shadow))
        .where(score.c.bundle_digest == live, IS_LIVE, score.c.scored_at >= begun, silent.c.id.is_(None))
    )
    return int(connection.execute(query.where(score.c.scored_at <= ended) if ended else query).scalar_one())


def _engines(connection: Connection, digest: str) -> list[str]:
    query = select(score.c.engine).where(score.c.bundle_digest == digest).distinct()
    return sorted(connection.execute(query).scalars())
