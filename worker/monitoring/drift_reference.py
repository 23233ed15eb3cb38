"""Frozen references of drift: what an AE's films measured, and how they scored, when all was well.

The night freezes the first films of an AE, and of each bundle for what depends on it. After that only an operator
replaces a reference. Both leave an audit event with digests of the samples, so that none changes silently. Nobody has
looked at those first films: `xrayq drift freeze` with dates of which somebody knows that the device was in order is
the better reference.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from math import isfinite
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, delete, insert, select

from model.findings import NOT_NORMAL
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.film_measures import DISTANCE, INPUTS, PROBABILITY, Key, MeasuredValue, of_pixels, of_scores
from worker.db.scores import live_findings
from worker.db.session import database_time, snapshot, writing
from worker.db.span import Span
from worker.db.tables import audit_event, drift_reference, film_measure, finding_score, instance, score
from worker.errors import NotFound

ACTION = Action.REFERENCE_FROZEN
LEAST_FILMS = 100
"""Of a reference that an operator makes: its deciles then hold ten films each."""
MOST_KEPT = 2000
SEED = 20


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A row without its sample."""

    key: Key
    films: int
    """One of each study. The sample may hold fewer."""
    first_received_at: datetime
    last_received_at: datetime
    frozen_at: datetime

    def holds(self, received_at: datetime) -> bool:
        """Whether a film of this time was part of it: of that time every film of the AE was."""
        return self.first_received_at <= received_at <= self.last_received_at

    def as_dict(self) -> dict[str, Any]:
        return {
            "calling_ae": self.key.calling_ae,
            "measure": self.key.measure,
            "bundle": self.key.bundle_digest,
            "films": self.films,
            "from": self.first_received_at.isoformat(),
            "to": self.last_received_at.isoformat(),
            "frozen_at": self.frozen_at.isoformat(),
        }


class Sample:
    """Values of one key as they are read."""

    def __init__(self, first: datetime) -> None:
        self.values = array("d")
        self.first = self.last = first

    def add(self, at: datetime, value: float) -> None:
        self.values.append(value)
        self.last = at

    def kept(self) -> list[float]:
        """Sorted; MOST_KEPT of them, drawn without replacement, the same ones each time."""
        values = np.asarray(self.values)
        if len(values) > MOST_KEPT:
            values = np.random.default_rng(SEED).choice(values, MOST_KEPT, replace=False)
        return [float(value) for value in np.sort(values)]


def references(connection: Connection) -> dict[Key, Reference]:
    """Every reference in force."""
    columns = [column for column in drift_reference.c if column.name not in ("id", "sample")]
    found = {}
    for row in connection.execute(select(*columns)):
        key = Key(row.calling_ae, row.measure, row.bundle_digest)
        found[key] = Reference(
            key=key,
            films=row.films,
            first_received_at=row.first_received_at,
            last_received_at=row.last_received_at,
            frozen_at=row.frozen_at,
        )
    return found


def sample_of(connection: Connection, key: Key) -> list[float]:
    """The values of a reference that is there, sorted."""
    found = connection.execute(select(drift_reference.c.sample).where(*_is(key))).scalar_one()
    return [float(value) for value in found]


def sample_digest(sample: Sequence[float]) -> str:
    """SHA-256 over the values as JSON, as in the audit trail, hex."""
    return hashlib.sha256(json.dumps(list(sample)).encode()).hexdigest()


def audited_digests(connection: Connection) -> dict[Key, str]:
    """The digest of each reference as the audit trail has it."""
    found: dict[Key, str] = {}
    rows = connection.execute(
        select(audit_event.c.detail).where(audit_event.c.action == ACTION).order_by(audit_event.c.id)
    ).scalars()
    for detail in rows:
        for measure, sample in detail["measures"].items():
            found[Key(detail["calling_ae"], measure, detail["bundle"])] = sample["digest"]
    return found


def freeze_missing(engine: Engine, span: Span, *, films: int, actor: str) -> list[Reference]:
    """Freeze the first films of each AE that sent some in the span and has no reference yet, if there are so many.

    Films after the span do not count, so a night that is made late freezes the same.

    Args:
        films: of a reference, one of each study.
        actor: for the audit trail.
    """
    with snapshot(engine) as connection:
        wanted = _measured(connection, span) - set(references(connection))
        found = _first(connection, wanted, span.end, films)
    full = {key: sample for key, sample in found.items() if len(sample.values) == films}
    if not full:
        return []
    with writing(engine) as connection:
        there = references(connection)  # somebody may have been quicker
        return _write(connection, {key: sample for key, sample in full.items() if key not in there}, actor)


def freeze(engine: Engine, calling_ae: str, span: Span, *, actor: str) -> list[Reference]:
    """Replace the references of an AE by its films of the span, for each measure of which there are LEAST_FILMS.

    Raises:
        NotFound: there are fewer of all measures.
    """
    found: dict[Key, Sample] = {}
    which = (instance.c.calling_ae == calling_ae, span.covers(instance.c.received_at))
    with snapshot(engine) as connection:
        for key, at, value in chain(of_pixels(connection, *which), of_scores(connection, *which)):
            if isfinite(value):  # one number that is none would make the whole reference useless
                found.setdefault(key, Sample(at)).add(at, value)
    enough = {key: sample for key, sample in found.items() if len(sample.values) >= LEAST_FILMS}
    if not enough:
        most = max((len(sample.values) for sample in found.values()), default=0)
        raise NotFound(
            f"{calling_ae} has {most} measured films (one of each study) on these days, and a reference needs "
            f"{LEAST_FILMS}: choose more days"
        )
    with writing(engine) as connection:
        return _write(connection, enough, actor)


def _is(key: Key) -> tuple[Any, ...]:
    return tuple(drift_reference.c[name] == value for name, value in zip(Key._fields, key, strict=True))


def _measured(connection: Connection, span: Span) -> set[Key]:
    """Every key with a film in the span."""
    films = select(
        instance.c.calling_ae, film_measure.c.bundle_digest, film_measure.c.distance.is_not(None).label("has_distance")
    ).join(film_measure, film_measure.c.instance_id == instance.c.id)
    scores = live_findings(instance.c.calling_ae, finding_score.c.finding, score.c.bundle_digest).where(
        finding_score.c.finding != NOT_NORMAL  # as in `of_scores`
    )
    found = set()
    for calling_ae, bundle, has_distance in connection.execute(
        films.where(span.covers(instance.c.received_at), ~instance.c.backfilled).distinct()
    ):
        found |= {Key(calling_ae, name, "") for name in INPUTS}
        if has_distance:
            found.add(Key(calling_ae, DISTANCE, bundle))
    for calling_ae, finding, bundle in connection.execute(
        scores.where(span.covers(instance.c.received_at), ~instance.c.backfilled).distinct()
    ):
        found.add(Key(calling_ae, PROBABILITY + finding, bundle))
    return found


def _first(connection: Connection, wanted: set[Key], end: datetime, films: int) -> dict[Key, Sample]:
    """The first films of each wanted key. One pass for the inputs, one for the distances, one for the scores."""
    found: dict[Key, Sample] = {}
    for of_kind, read, bundles in (
        ({key for key in wanted if key.measure in INPUTS}, of_pixels, None),
        ({key for key in wanted if key.measure == DISTANCE}, of_pixels, film_measure.c.bundle_digest),
        ({key for key in wanted if key.measure.startswith(PROBABILITY)}, of_scores, score.c.bundle_digest),
    ):
        if not of_kind:
            continue
        which = [instance.c.calling_ae.in_({key.calling_ae for key in of_kind}), instance.c.received_at < end]
        if bundles is not None:
            which.append(bundles.in_({key.bundle_digest for key in of_kind}))
        found |= _filled(read(connection, *which), of_kind, films)
    return found


def _filled(values: Iterable[MeasuredValue], wanted: set[Key], films: int) -> dict[Key, Sample]:
    """So many values of each wanted key. Reads on only while one is not full."""
    found: dict[Key, Sample] = {}
    waiting = set(wanted)
    for key, at, value in values:
        if key in waiting and isfinite(value):
            found.setdefault(key, Sample(at)).add(at, value)
            if len(found[key].values) == films:
                waiting.remove(key)
                if not waiting:
                    break
    return found


def _write(connection: Connection, samples: dict[Key, Sample], actor: str) -> list[Reference]:
    """Insert or replace, and audit: one event for each AE and bundle."""
    now = database_time(connection)
    events, references_written = [], []
    in_order = sorted(samples, key=lambda key: (key.calling_ae, key.bundle_digest, key.measure))
    for (calling_ae, bundle), keys in groupby(in_order, key=lambda key: (key.calling_ae, key.bundle_digest)):
        measures = {}
        for key in keys:
            reference, old, new = _replace(connection, key, samples[key], now)
            references_written.append(reference)
            measures[key.measure] = {"films": reference.films, "digest": new, "old": old}
        detail = {"calling_ae": calling_ae, "bundle": bundle, "measures": measures}
        events.append(trail.event(action=ACTION, instance_id=None, actor=actor, detail=detail))
    trail.record_all(connection, events)
    return references_written


def _replace(connection: Connection, key: Key, sample: Sample, now: datetime) -> tuple[Reference, str | None, str]:
    """The new reference, the digest of the old one, None without one, and the new one's."""
    old = connection.execute(select(drift_reference.c.sample).where(*_is(key))).scalar_one_or_none()
    connection.execute(delete(drift_reference).where(*_is(key)))
    reference = Reference(
        key=key,
        films=len(sample.values),
        first_received_at=sample.first,
        last_received_at=sample.last,
        frozen_at=now,
    )
    kept = sample.kept()
    values = {name: value for name, value in vars(reference).items() if name != "key"}
    connection.execute(insert(drift_reference).values(**key._asdict(), **values, sample=kept))
    return reference, None if old is None else sample_digest(old), sample_digest(kept)
