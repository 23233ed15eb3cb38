"""Shadow scores: silently, after the live ones are committed. Nothing that fails here is felt outside."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from model.errors import BundleError, ModelError, first_line
from model.preprocess import PreprocessSpec
from model.scorer import score
from model.xray_devices import XrayDevice
from worker.audit import score_digests, trail
from worker.audit.actions import Action, Actor
from worker.bundles.roles import PlacedBundle
from worker.db import scores
from worker.db.causes import cause
from worker.db.scores import NewScore
from worker.db.session import database_time, writing
from worker.db.tables import audit_event
from worker.states import Role

if TYPE_CHECKING:  # it brings ONNX Runtime, which is not where skipped films are only counted
    from worker.bundles.loaded import Serving

log = logging.getLogger("xrayq.worker")

SKIPPED = Action.SHADOW_SKIPPED
"""Audit event: films that have no score of a shadow. `detail`: bundle, films, reason. It is not made up for."""


@dataclass(frozen=True, kw_only=True)
class ScoredFilm:
    """A film with a live score."""

    scored: NewScore
    image: NDArray[np.uint8]
    """[size, size], what the score was made from."""
    device: XrayDevice


def score_shadows(
    database: Engine,
    serving: "Serving",
    shadows: tuple[PlacedBundle, ...],
    films: list[ScoredFilm],
    spec: PreprocessSpec,
    batch: int,
) -> None:
    """Score films with each shadow, `batch` at once, and keep what it says. Each score has its audit event.

    A shadow that cannot score is logged and audited.
    """
    for shadow in shadows if films else ():
        try:
            _score_one(database, serving, shadow, films, spec, batch)
        except (ModelError, SQLAlchemyError) as error:
            reason = first_line(error) if isinstance(error, ModelError) else cause(error)
            _skip(database, shadow, len(films), reason)


def films_skipped(connection: Connection, digest: str, since: datetime | None = None) -> int:
    """Films that a shadow did not score, by the audit trail."""
    query = select(audit_event.c.detail).where(audit_event.c.action == SKIPPED)
    details = connection.execute(query.where(audit_event.c.at >= since) if since else query).scalars()
    return sum(detail["films"] for detail in details if detail["bundle"] == digest)


def _score_one(
    database: Engine,
    serving: "Serving",
    shadow: PlacedBundle,
    films: list[ScoredFilm],
    spec: PreprocessSpec,
    batch: int,
) -> None:
    with serving.using(shadow) as loaded:
        if loaded.bundle.preprocess != spec:
            raise BundleError("it reads films in another way than the live bundle")
        scored = []
        for at in range(0, len(films), batch):
            part = films[at : at + batch]
            images = np.stack([film.image for film in part])[:, None]
            devices = [loaded.bundle.device_of(film.device) for film in part]
            scored += [
                NewScore(instance_id=film.scored.instance_id, score=result, notes=film.scored.notes)
                for film, result in zip(part, score(loaded.engine, loaded.bundle, images, devices), strict=True)
            ]
        with writing(database) as connection:
            scores.write(
                connection, loaded.bundle, loaded.engine.spec.name, Role.SHADOW, scored, database_time(connection)
            )
            keys = [film.instance_id for film in scored]
            digests = score_digests.written(connection, loaded.bundle.digest, keys)
            trail.record_all(connection, [_event(key, loaded.bundle.digest, digests[key]) for key in keys])


def _event(instance_id: int, bundle: str, digest: str) -> dict[str, Any]:
    detail = {"bundle": bundle, score_digests.IN_DETAIL: digest}
    return trail.event(action=Action.SHADOW_SCORED, instance_id=instance_id, actor=Actor.WORKER, detail=detail)


def _skip(database: Engine, shadow: PlacedBundle, films: int, reason: str) -> None:
    log.error("shadow skipped", extra={"bundle": shadow.digest[:12], "instances": films, "reason": reason})
    detail = {"bundle": shadow.digest, "films": films, "reason": reason}
    try:
        with writing(database) as connection:
            trail.record(connection, action=SKIPPED, instance_id=None, actor=Actor.WORKER, detail=detail)
    except SQLAlchemyError as error:
        log.error("cannot record that a shadow was skipped", extra={"reason": cause(error)})
