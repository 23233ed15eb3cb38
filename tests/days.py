"""Whole days of films as rows, for what reads days: the nightly report, its page and its benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine, func, insert, select

from dicom_gateway.errors import CorruptPixels, NoPixelData
from model import bundle
from model.findings import FINDINGS
from worker.audit import trail
from worker.db.session import reading, writing
from worker.db.span import Span
from worker.db.tables import alarm, film_measure, finding_score, instance, outbox, score, truth
from worker.monitoring.drift_result import DriftOptions
from worker.states import State

SENDERS = {"CR_EMERGENCY": 0.45, "DX_WARD": 0.4, "MOBILE_1": 0.15}
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 9, 14, 16, 15, 13, 10, 12, 14, 13, 10, 8, 6, 5, 4, 4, 3, 2], float)
REASONS = {State.INELIGIBLE: ("view", "age", "blank"), State.FAILED: (CorruptPixels.reason, NoPixelData.reason)}
CHUNK = 5000
DRIFT = DriftOptions(reference_films=100, least_films=20, alpha=0.001, psi=0.1)


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Of a day's films; the rest is scored."""

    ineligible: float = 0.1
    failed: float = 0.0
    labelled: float = 0.0
    """Of the scored ones."""


def fill(
    engine: Engine,
    day: date,
    films: int,
    *,
    shares: Shares = Shares(),
    seed: int = 1,
    came: Sequence[datetime] | None = None,
) -> list[int]:
    """Write a day of films in UTC with their scores and audited arrivals. Returns their instance ids.

    Args:
        came: when each was received; default: over the day as in a hospital.
    """
    random = np.random.default_rng(seed)
    span = Span(start=datetime(day.year, day.month, day.day, tzinfo=UTC), end=datetime.max.replace(tzinfo=UTC))
    with reading(engine) as connection:
        first = 1 + (connection.execute(select(func.max(instance.c.id))).scalar_one() or 0)
        first_score = 1 + (connection.execute(select(func.max(score.c.id))).scalar_one() or 0)
    if came is None:
        hours = np.sort(random.choice(24, films, p=HOURS / HOURS.sum()))
        drawn = [span.start + timedelta(hours=int(hour), seconds=float(random.uniform(0, 3600))) for hour in hours]
        came = sorted(drawn)
    for at in range(0, films, CHUNK):
        rows = [_instance(first + number, came[number], random, shares) for number in range(at, min(at + CHUNK, films))]
        _write(engine, rows, first_score + at, random, shares)
    return list(range(first, first + films))


def _instance(key: int, came: datetime, random: np.random.Generator, shares: Shares) -> dict[str, Any]:
    drawn = random.uniform()
    state = State.SCORED
    if drawn < shares.failed:
        state = State.FAILED
    elif drawn < shares.failed + shares.ineligible:
        state = State.INELIGIBLE
    reason = random.choice(REASONS[state]) if state in REASONS else None
    return {
        "id": key,
        "sop_instance_uid": f"1.2.826.0.1.3680043.10.1.{key}",
        "revision": 1,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "study_instance_uid": f"1.2.826.0.1.3680043.10.2.{key}",
        "series_instance_uid": f"1.2.826.0.1.3680043.10.3.{key}",
        "digest": f"{key:064x}",
        "size": int(random.normal(9e6, 1e6)),
        "calling_ae": str(random.choice(list(SENDERS), p=list(SENDERS.values()))),
        "called_ae": "XRAYQ",
        "modality": "DX",
        "body_part": "CHEST",
        "view_position": "PA",
        "state": state,
        "reason": None if reason is None else str(reason),
        "received_at": came,
        "finished_at": came + timedelta(seconds=float(random.gamma(2.0, 0.9))),
    }


def _write(
    engine: Engine, rows: list[dict[str, Any]], first_score: int, random: np.random.Generator, shares: Shares
) -> None:
    live = bundle.load(bundle.REFERENCE)
    points = {point.finding: point for point in live.operating_points}
    scored = [row for row in rows if row["state"] == State.SCORED]
    scores, findings, labels = [], [], []
    for number, row in enumerate(scored):
        kind = int(random.choice(3, p=(0.8, 0.15, 0.05)))
        logits = random.normal(0, 0.7, 3)
        logits[kind] += 5 if random.uniform() < 0.92 else -1
        probabilities = np.exp(logits) / np.exp(logits).sum()
        scores.append(
            {
                "id": first_score + number,
                "instance_id": row["id"],
                "bundle_digest": live.digest,
                "role": "live",
                "engine": "onnxruntime-int8",
                "software_version": "0.1.0",
                "scored_at": row["finished_at"],
            }
        )
        for finding, logit, probability in zip(FINDINGS, logits, probabilities, strict=True):
            point = points.get(finding)
            findings.append(
                {
                    "score_id": first_score + number,
                    "finding": finding,
                    "logit": float(logit),
                    "probability": float(probability),
                    "operating_point": point.threshold if point else None,
                    "operating_point_id": point.id if point else None,
                    "flag": bool(point and probability >= point.threshold),
                }
            )
        if random.uniform() < shares.labelled:
            labels.append(
                {
                    "sop_instance_uid": row["sop_instance_uid"],
                    "accession_digest": "",
                    "reader": "reader1",
                    "label": FINDINGS[kind],
                    "read_on": row["received_at"].date(),
                    "imported_at": row["finished_at"],
                }
            )
    measures = [
        {
            "instance_id": row["id"],
            "bundle_digest": live.digest,
            "brightness": float(random.normal(0.5, 0.05)),
            "contrast": float(random.normal(0.2, 0.03)),
            "entropy": float(random.normal(7, 0.3)),
            "clipped": float(random.uniform(0, 0.02)),
            "distance": float(random.gamma(2, 1)),
        }
        for row in rows
        if row["state"] != State.FAILED
    ]
    with writing(engine) as connection:
        connection.execute(insert(instance), rows)
        for into, found in ((score, scores), (finding_score, findings), (film_measure, measures), (truth, labels)):
            if found:
                connection.execute(insert(into), found)
        trail.record_all(connection, [event for row in rows for event in _events(row, live.digest)])


def _events(row: dict[str, Any], bundle_digest: str) -> list[dict[str, Any]]:
    """As of a release that kept no digest of a score: tests change the scores of a day."""
    arrival = trail.event(action="received", instance_id=row["id"], actor=row["calling_ae"])
    detail = {"bundle": bundle_digest} if row["state"] == State.SCORED else {"reason": row["reason"]}
    ended = trail.event(action=row["state"], instance_id=row["id"], actor="worker", detail=detail)
    return [arrival | {"at": row["received_at"]}, ended | {"at": row["finished_at"]}]


def wait(engine: Engine, keys: list[int], *, queued: bool) -> None:
    """Make scored films wait again; without a row in the outbox nobody comes back to them."""
    with writing(engine) as connection:
        old = select(score.c.id).where(score.c.instance_id.in_(keys))
        connection.execute(finding_score.delete().where(finding_score.c.score_id.in_(old)))
        connection.execute(score.delete().where(score.c.instance_id.in_(keys)))
        fresh = {"state": State.RECEIVED, "finished_at": None, "reason": None}
        connection.execute(instance.update().where(instance.c.id.in_(keys)).values(**fresh))
        if queued:
            now = datetime.now(UTC)
            rows = [{"kind": "score", "instance_id": key, "next_attempt_at": now} for key in keys]
            connection.execute(insert(outbox), rows)
        events = [trail.event(action="requeued", instance_id=key, actor="operator:test") for key in keys]
        trail.record_all(connection, events)


def stood(engine: Engine, rule: str, subject: str, text: str, at: datetime, until: datetime | None = None) -> None:
    """An alarm."""
    row = {"rule": rule, "subject": subject, "value": 1.0, "threshold": 0.0, "text": text}
    with writing(engine) as connection:
        connection.execute(insert(alarm), row | {"raised_at": at, "cleared_at": until})


def brighten(engine: Engine, keys: list[int], calling_ae: str, by: float) -> None:
    """Films of one device, as after a change of its settings."""
    of_device = select(instance.c.id).where(instance.c.calling_ae == calling_ae, instance.c.id.in_(keys))
    with writing(engine) as connection:
        connection.execute(
            film_measure.update()
            .where(film_measure.c.instance_id.in_(of_device))
            .values(brightness=film_measure.c.brightness + by)
        )
