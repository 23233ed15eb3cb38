"""Scores in the database: written by a task, read by people and by a replay.

A film has one live score, of the bundle that was live when it was scored, and one of each bundle that was a shadow
then. Whoever wants live scores asks here: by `live_findings` and `live_scores`, or in a query of another shape by
IS_LIVE and LIVE_OF_FILM.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, select

from model.bundle import Bundle
from model.conformal import unsure
from model.findings import in_order
from model.json_value import plain
from model.scorer import Score
from worker.db.tables import finding_score, instance
from worker.db.tables import score as score_table
from worker.states import Role

IS_LIVE: ColumnElement[bool] = score_table.c.role == Role.LIVE
LIVE_OF_FILM: ColumnElement[bool] = and_(score_table.c.instance_id == instance.c.id, IS_LIVE)
"""Joins `score` to `instance`."""
IS_UNSURE: ColumnElement[bool] = func.coalesce(func.json_array_length(score_table.c.prediction_set) != 1, False)
"""`model.conformal.unsure` in SQL, of a row of `score`."""


@dataclass(frozen=True, kw_only=True)
class NewScore:
    """One film's score, on its way into the database."""

    instance_id: int
    score: Score
    notes: tuple[str, ...]
    """Reasons of the gate under which it was scored all the same."""


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """What a stored score says of one finding."""

    logit: float
    probability: float
    interval: tuple[float, float] | None
    operating_point: float | None
    operating_point_id: str | None
    flag: bool


@dataclass(frozen=True, kw_only=True)
class ScoreView:
    """A stored score."""

    role: Role
    bundle_digest: str
    engine: str
    software_version: str
    scored_at: datetime
    findings: dict[str, FindingView]
    prediction_set: list[str] | None
    notes: list[str]
    device: str | None = None
    """Of the bundle, whose calibration it took; None, and not in the JSON: the bundle's own."""

    @property
    def flags(self) -> list[str]:
        return [name for name, finding in self.findings.items() if finding.flag]

    @property
    def unsure(self) -> bool:
        """Whether the prediction set names several findings, or none."""
        return unsure(self.prediction_set)

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = plain(asdict(self), timespec="auto") | {"unsure": self.unsure}
        return {name: value for name, value in found.items() if name != "device" or value is not None}


def write(
    connection: Connection, bundle: Bundle, engine: str, role: Role, films: list[NewScore], now: datetime
) -> None:
    """One score row and its findings for each film.

    Args:
        engine: its name, as `engine.spec.name`.
        now: by the clock of the database.

    Raises:
        SQLAlchemyError: the database refuses a row; IntegrityError where a film has a score of this bundle.
    """
    if not films:
        return
    keys = connection.execute(
        insert(score_table).returning(score_table.c.id, sort_by_parameter_order=True),
        [
            {
                "instance_id": film.instance_id,
                "bundle_digest": bundle.digest,
                "role": role,
                "engine": engine,
                "software_version": _software_version(),
                "scored_at": now,
                "prediction_set": None if film.score.prediction_set is None else list(film.score.prediction_set),
                "notes": list(film.notes) or None,
                "device": film.score.device or None,
            }
            for film in films
        ],
    ).scalars()
    connection.execute(
        insert(finding_score),
        [row for key, film in zip(keys, films, strict=True) for row in _finding_rows(key, film.score, bundle)],
    )


def of_instance(connection: Connection, instance_id: int) -> list[ScoreView]:
    """Every score of an instance: live, then shadows as they were written."""
    scores = connection.execute(
        select(score_table)
        .where(score_table.c.instance_id == instance_id)
        .order_by(score_table.c.role, score_table.c.id)
    ).all()
    rows = connection.execute(
        select(finding_score).where(finding_score.c.score_id.in_([row.id for row in scores]))
    ).all()
    findings: dict[int, dict[str, FindingView]] = defaultdict(dict)
    for row in rows:
        findings[row.score_id][row.finding] = FindingView(
            logit=row.logit,
            probability=row.probability,
            interval=None if row.interval_low is None else (row.interval_low, row.interval_high),
            operating_point=row.operating_point,
            operating_point_id=row.operating_point_id,
            flag=row.flag,
        )
    return [
        ScoreView(
            role=Role(row.role),
            bundle_digest=row.bundle_digest,
            engine=row.engine,
            software_version=row.software_version,
            scored_at=row.scored_at,
            findings={name: findings[row.id][name] for name in in_order(findings[row.id])},
            prediction_set=row.prediction_set,
            notes=row.notes or [],
            device=row.device,
        )
        for row in scores
    ]


@dataclass(frozen=True, kw_only=True)
class LiveScore:
    """What lists show of a film's live score."""

    bundle_digest: str
    engine: str
    scored_at: datetime
    probabilities: dict[str, float]
    """By finding, in the order of `model.findings`; NOT_NORMAL too, where the bundle flags it."""
    flags: list[str]
    prediction_set: list[str] | None
    """None where the bundle makes none."""

    @property
    def unsure(self) -> bool:
        """Whether the prediction set names several findings, or none."""
        return unsure(self.prediction_set)


def live_findings(*columns: Any) -> Select[Any]:
    """A select from `instance`, `score` and `finding_score`: films that have a live score, a row for each finding."""
    return (
        select(*columns)
        .select_from(instance)
        .join(score_table, LIVE_OF_FILM)
        .join(finding_score, finding_score.c.score_id == score_table.c.id)
    )


def live_scores(connection: Connection, which: ColumnElement[bool]) -> dict[int, LiveScore]:
    """By instance id.

    Args:
        which: a condition on `instance` or `score`.
    """
    names = ("instance_id", "bundle_digest", "engine", "scored_at", "prediction_set")
    about = [score_table.c[name] for name in names]
    values = (finding_score.c.finding, finding_score.c.probability, finding_score.c.flag)
    of_film: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(live_findings(*about, *values).where(which)):
        of_film[row.instance_id].append(row)
    return {instance_id: _live_score(rows) for instance_id, rows in of_film.items()}


def _live_score(rows: list[Row[Any]]) -> LiveScore:
    """A score from the rows of its findings."""
    probabilities = {row.finding: row.probability for row in rows}
    return LiveScore(
        bundle_digest=rows[0].bundle_digest,
        engine=rows[0].engine,
        scored_at=rows[0].scored_at,
        probabilities={name: probabilities[name] for name in in_order(probabilities)},
        flags=in_order([row.finding for row in rows if row.flag]),
        prediction_set=rows[0].prediction_set,
    )


def _finding_rows(key: int, result: Score, bundle: Bundle) -> list[dict[str, Any]]:
    points = {point.finding: point for point in bundle.for_device(result.device).operating_points}
    rows = []
    for finding, (logit, probability) in result.stated.items():
        point = points.get(finding)
        low, high = result.intervals.get(finding, (None, None))
        rows.append(
            {
                "score_id": key,
                "finding": finding,
                "logit": logit,
                "probability": probability,
                "interval_low": low,
                "interval_high": high,
                "operating_point": result.thresholds.get(finding),
                "operating_point_id": (point.id or None) if point else None,
                "flag": finding in result.flags,
            }
        )
    return rows


@cache
def _software_version() -> str:
    return version("xrayq")
