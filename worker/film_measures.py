"""What was measured of each decoded film, kept so that a night can be held beside a frozen reference."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert

from worker.db.tables import film_measure

INPUTS = ("brightness", "contrast", "entropy", "clipped")
"""Of the pixels as displayed; see `model.quality`."""
DISTANCE = "distance"
"""Of the gate's network; see `model.gate_network`. Another bundle measures another distance."""


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
