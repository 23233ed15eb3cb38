"""What was measured of each decoded film, kept so that a night can be held beside a frozen reference."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from model.findings import NOT_NORMAL
from worker.db.scores import live_findings
from worker.db.tables import film_measure, finding_score, instance, score

INPUTS = ("brightness", "contrast", "entropy", "clipped")
"""Measures of the pixels as displayed; see `model.gate.quality`."""
UNITS = {
    "brightness": "of the display range",
    "contrast": "of the display range",
    "entropy": "bits",
    "clipped": "of the pixels",
}
"""Measures without one are plain numbers."""
DISTANCE = "distance"
"""Of the gate's network; see `model.gate.network`. Another bundle measures another distance."""
PROBABILITY = "probability:"
"""Begins the measure of a finding's live score, as in "probability:pneumonia"."""
CHUNK = 5000


class Key(NamedTuple):
    """What can be compared with each other: one measure of one AE's films, by one bundle."""

    calling_ae: str
    measure: str
    bundle_digest: str
    """"" where it depends on no bundle."""


MeasuredValue = tuple[Key, datetime, float]
"""With when its film was received."""


def write(connection: Connection, bundle_digest: str, films: Mapping[int, Mapping[str, float]]) -> None:
    """One row for each film that was decoded, by instance id. A film that comes again, requeued, replaces it."""
    rows = [
        {"instance_id": key, "bundle_digest": bundle_digest, DISTANCE: measured.get(DISTANCE)}
        | {name: measured[name] for name in INPUTS}
        for key, measured in films.items()
        if measured
    ]
    if not rows:
        return
    connection.execute(delete(film_measure).where(film_measure.c.instance_id.in_([row["instance_id"] for row in rows])))
    connection.execute(insert(film_measure), rows)


def of_film(connection: Connection, instance_id: int) -> dict[str, float]:
    """INPUTS and, where the bundle's gate has a network, DISTANCE; empty where the film was not decoded."""
    row = connection.execute(select(film_measure).where(film_measure.c.instance_id == instance_id)).one_or_none()
    found = {} if row is None else {name: row._mapping[name] for name in (*INPUTS, DISTANCE)}
    return {name: value for name, value in found.items() if value is not None}


def of_pixels(connection: Connection, *which: Any) -> Iterator[MeasuredValue]:
    """INPUTS and DISTANCE of the instances, oldest first, a chunk of rows at a time.

    The first film of each study alone: several films of one study are of one patient and one exposure room, and tests
    count films as independent. Without films of backfills: they are of other years.

    Args:
        which: conditions on `instance` and `film_measure`.
    """
    columns = [film_measure.c[name] for name in (*INPUTS, DISTANCE)]
    query = (
        select(*_ABOUT, film_measure.c.bundle_digest, *columns)
        .join(film_measure, film_measure.c.instance_id == instance.c.id)
        .where(*which, ~instance.c.backfilled)
        .order_by(instance.c.received_at, instance.c.id)
    )
    seen: set[tuple[str, str]] = set()
    for number, calling_ae, uid, at, bundle, *inputs, distance in _streamed(connection, query):
        study = _study(number, uid)
        if (calling_ae, study) in seen:
            continue
        seen.add((calling_ae, study))
        for name, value in zip(INPUTS, inputs, strict=True):
            if isfinite(value):
                yield Key(calling_ae, name, ""), at, value
        if distance is not None and isfinite(distance):
            yield Key(calling_ae, DISTANCE, bundle), at, distance


def of_scores(connection: Connection, *which: Any) -> Iterator[MeasuredValue]:
    """Live probabilities of the instances, oldest first: of the first scored film of each study, for each bundle.

    Without NOT_NORMAL, which moves exactly as the negative finding does, and without films of backfills.

    Args:
        which: conditions on `instance` and `score`.
    """
    query = (
        live_findings(*_ABOUT, score.c.bundle_digest, finding_score.c.finding, finding_score.c.probability)
        .where(*which, ~instance.c.backfilled, finding_score.c.finding != NOT_NORMAL)
        .order_by(instance.c.received_at, instance.c.id)
    )
    first: dict[tuple[str, str, str], int] = {}
    for number, calling_ae, uid, at, bundle, finding, probability in _streamed(connection, query):
        if first.setdefault((calling_ae, _study(number, uid), bundle), number) == number:
            yield Key(calling_ae, PROBABILITY + finding, bundle), at, probability


_ABOUT = (instance.c.id, instance.c.calling_ae, instance.c.study_instance_uid, instance.c.received_at)


def _study(number: int, uid: str) -> str:
    """A film without Study Instance UID is a study of its own."""
    return uid or f"instance {number}"


def _streamed(connection: Connection, query: Any) -> Any:
    return connection.execute(query, execution_options={"yield_per": CHUNK})
