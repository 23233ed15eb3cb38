"""Two bundles side by side, on the films in the database that both scored."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from model.findings import in_order
from model.promotion.side_by_side import ComparedFilm, FindingScore, compare
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.tables import deployment, finding_score, score
from worker.monitoring.labels import truths
from worker.states import Role


def compare_bundles(engine: Engine, live: str, shadow: str) -> dict[str, Any]:
    """`side_by_side.compare` of two digests over the films of both, with where the films come from.

    JSON-ready.
    """
    with snapshot(engine) as connection:
        first, last, points = _scores(connection, live, shadow)
        labels = {one: label for one, (label, _) in truths(connection).items() if one in first}
        begun, ended = _span(connection, shadow)
        missed = _missed(connection, live, shadow)
        engines = {digest: _engines(connection, digest) for digest in (live, shadow)}
    films = [
        ComparedFilm(live=first[one], shadow=last[one], truth=labels.get(one))
        for one in sorted(first)
        if set(first[one]) == set(last[one])
    ]
    return {
        "live": {"digest": live, "engines": engines[live]},
        "shadow": {"digest": shadow, "engines": engines[shadow]},
        "from": begun.isoformat() if begun else None,
        "to": ended.isoformat() if ended else None,
        "truth_films": sum(one.truth is not None for one in films),
        "disputed_films": sum(label is None for label in labels.values()),
    } | compare(films, flagged=in_order(points), missed=missed)


Scores = dict[int, dict[str, FindingScore]]


def _scores(connection: Connection, live: str, shadow: str) -> tuple[Scores, Scores, set[str]]:
    """By instance, what each bundle said, of those that both scored; and the findings with an operating point."""
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
    found: dict[str, Scores] = {live: defaultdict(dict), shadow: defaultdict(dict)}
    points = set()
    for row in rows:
        said = FindingScore(probability=row.probability, flag=row.flag)
        found[row.bundle_digest][row.instance_id][row.finding] = said
        if row.operating_point is not None:
            points.add(row.finding)
    return (
        {one: {name: said[name] for name in in_order(said)} for one, said in found[live].items()},
        found[shadow],
        points,
    )


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
