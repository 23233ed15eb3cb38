"""Two bundles side by side, on the films in the database that both scored."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from model.findings import FINDINGS, NOT_NORMAL, in_order, negative_of
from model.promotion.compared_film import BundleScore, ComparedFilm, FindingScore
from model.promotion.side_by_side import SideBySide, compare
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.tables import deployment, finding_score, score
from worker.monitoring.label_sample import order_of_draws
from worker.monitoring.labels import truths
from worker.states import Role


class LabelSource(StrEnum):
    """Which labels a comparison takes for the truth."""

    SAMPLE = "sample"
    """Of films that were drawn at random."""
    ALL = "all"
    """Every label."""


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
    labels: LabelSource
    vouched: bool
    """Whether somebody asked for ALL, and so answers for it that no label was chosen by what a bundle said."""
    drawn_films: int
    """Films of the random sample."""
    truth_films: int
    """Films whose truth is known, by those labels; as the next."""
    disputed_films: int
    """Films that readers disagree on."""
    result: SideBySide

    @property
    def labels_in_words(self) -> str:
        """Which labels are the truth, and what to do where they are none."""
        films = f"{self.truth_films} of these films, readers disagree on {self.disputed_films}"
        if self.labels == LabelSource.SAMPLE:
            return f"labels: of the random sample, on {films}; {self.drawn_films} were drawn"
        if self.vouched:
            return f"labels: all, as asked for, on {films}"
        draw = "'xrayq labels sample --films 200' draws films for readers, 'xrayq labels import' takes what they say"
        if not self.truth_films:
            return f"labels: none, so nothing is promoted; {draw}"
        return f"labels: all, on {films}; nobody drew these films, so nothing is promoted by them; {draw}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "live": {"digest": self.live, "engines": self.engines[self.live]},
            "shadow": {"digest": self.shadow, "engines": self.engines[self.shadow]},
            "from": self.begun.isoformat() if self.begun else None,
            "to": self.ended.isoformat() if self.ended else None,
            "labels": self.labels,
            "vouched": self.vouched,
            "drawn_films": self.drawn_films,
            "truth_films": self.truth_films,
            "disputed_films": self.disputed_films,
        } | self.result.as_dict()


def compare_bundles(engine: Engine, live: str, shadow: str, labels: LabelSource | None = None) -> BundleComparison:
    """Compare two bundles, by digest, on the films that both scored.

    Args:
        labels: None for the random sample where one of its films has a label, else all: these are then shown, and
            may keep the live bundle, but promote no shadow.
    """
    with snapshot(engine) as connection:
        scores = _scores(connection, live, shadow)
        first, last = scores.live, scores.shadow
        known = {film: truth.label for film, truth in truths(connection).items() if film in first}
        drawn = set(order_of_draws(connection, since_reset=False)) & set(first)
        begun, ended = _span(connection, shadow)
        missed = _missed(connection, live, shadow)
        engines = {digest: _engines(connection, digest) for digest in (live, shadow)}
    source = labels or (LabelSource.SAMPLE if drawn & set(known) else LabelSource.ALL)
    if source == LabelSource.SAMPLE:
        known = {film: label for film, label in known.items() if film in drawn}
    films = [
        ComparedFilm(live=first[film], shadow=last[film], truth=known.get(film), drawn=film in drawn)
        for film in sorted(first)
        if set(first[film].findings) == set(last[film].findings)
    ]
    return BundleComparison(
        live=live,
        shadow=shadow,
        engines=engines,
        begun=begun,
        ended=ended,
        labels=source,
        vouched=labels == LabelSource.ALL,
        drawn_films=len(drawn),
        truth_films=sum(film.truth is not None for film in films),
        disputed_films=sum(label is None for label in known.values()),
        result=compare(
            films,
            flagged=scores.flagged,
            negative=scores.negative,
            missed=missed,
            representative=source == LabelSource.SAMPLE or labels == LabelSource.ALL,
        ),
    )


FilmScores = dict[int, BundleScore]


@dataclass(frozen=True, kw_only=True)
class BothScores:
    """What both bundles said of the films that both scored."""

    live: FilmScores
    shadow: FilmScores
    flagged: tuple[str, ...]
    """Findings that live has an operating point for. A flag that the shadow alone has is not compared."""
    negative: str
    """The finding that says that a film shows none."""


def _scores(connection: Connection, live: str, shadow: str) -> BothScores:
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
            score.c.prediction_set,
            finding_score.c.finding,
            finding_score.c.probability,
            finding_score.c.flag,
            finding_score.c.operating_point,
        )
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(score.c.bundle_digest.in_((live, shadow)), score.c.instance_id.in_(by_both))
    )
    findings: dict[str, dict[int, dict[str, FindingScore]]] = {live: defaultdict(dict), shadow: defaultdict(dict)}
    sets: dict[str, dict[int, list[str] | None]] = {live: {}, shadow: {}}
    points: dict[str, set[str]] = {live: set(), shadow: set()}
    for row in rows:
        findings[row.bundle_digest][row.instance_id][row.finding] = FindingScore(
            probability=row.probability, flag=row.flag
        )
        sets[row.bundle_digest][row.instance_id] = row.prediction_set
        if row.operating_point is not None:
            points[row.bundle_digest].add(row.finding)
    negative = _negative(next(iter(findings[live].values()), {}), points[live])
    first, last = (
        {
            film: BundleScore(
                findings=_compared(said, points[live], negative),
                prediction_set=None if sets[digest][film] is None else tuple(sets[digest][film] or ()),
            )
            for film, said in findings[digest].items()
        }
        for digest in (live, shadow)
    )
    return BothScores(live=first, shadow=last, flagged=tuple(in_order(points[live])), negative=negative)


def _compared(said: dict[str, FindingScore], flagged: set[str], negative: str) -> dict[str, FindingScore]:
    """The findings, and NOT_NORMAL where live has that flag. A shadow that lacks it never flags it, and so loses it."""
    found = dict(said)
    composite = found.pop(NOT_NORMAL, None)
    if NOT_NORMAL in flagged and negative in found:
        found[NOT_NORMAL] = composite or FindingScore(probability=1 - found[negative].probability, flag=False)
    return {name: found[name] for name in in_order(found)}


def _negative(said: Collection[str], flagged: set[str]) -> str:
    """The finding that says that a film shows none: it has no flag of its own."""
    names = [name for name in in_order(said or FINDINGS) if name != NOT_NORMAL]
    return negative_of([name for name in names if name not in flagged] or names)


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
