"""Films of many nights without pixels: rows as the worker writes them, for devices that differ from each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, func, insert, select

from worker.db.film_measures import INPUTS
from worker.db.session import reading, writing
from worker.db.span import Span
from worker.db.tables import film_measure, finding_score, instance, score

FINDINGS = ("normal", "pneumonia", "covid19")
BUNDLE = "b" * 64
FIRST_DAY = datetime(2026, 9, 7, tzinfo=UTC)  # a Monday
Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Device:
    """One AE. Its films' measures hang together: a film that is brighter has less contrast."""

    ae: str
    films: float
    """On a weekday; a third of it at weekends."""
    brightness: float = 0.5
    spread: float = 0.06
    clipped: float = 0.4
    """Share of films with any clipped pixel; of the others `clipped` is 0, a tie."""
    sick: float = 0.3


DEVICES = (
    Device(ae="CR1", films=120),
    Device(ae="CR2", films=80, brightness=0.42, spread=0.09, clipped=0.1),
    Device(ae="DX1", films=200, brightness=0.55, spread=0.04, clipped=0.7, sick=0.15),
    Device(ae="DX2", films=60, brightness=0.48, spread=0.05, clipped=0.02, sick=0.5),
    Device(ae="WARD", films=15, brightness=0.6, spread=0.08, clipped=0.9, sick=0.6),
)


@dataclass(frozen=True, kw_only=True)
class Films:
    """Measures of films of one AE, each [N]."""

    pixels: dict[str, NDArray[np.float64]]
    """INPUTS and distance."""
    probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """By finding, summing to 1."""

    def __len__(self) -> int:
        return len(next(iter(self.pixels.values())))


def day(number: int) -> Span:
    start = FIRST_DAY + timedelta(days=number)
    return Span(start=start, end=start + timedelta(days=1))


def how_many(device: Device, number: int, random: Random) -> int:
    """Films of a day: more scatter than Poisson's, fewer at weekends."""
    weekend = (FIRST_DAY + timedelta(days=number)).weekday() >= 5
    return int(random.poisson(device.films * (1 / 3 if weekend else 1) * random.gamma(20, 1 / 20)))


def draw(device: Device, films: int, random: Random, *, brighter: float = 0.0) -> Films:
    """Films of a device, independent of each other. Four digits, as the worker keeps them."""
    exposure, build, other, more = random.normal(size=(4, films))
    clipped = np.where(random.random(films) < device.clipped, random.exponential(0.01, films), 0.0)
    pixels = {
        "brightness": device.brightness + device.spread * (exposure + 0.3 * (np.exp(0.5 * build) - 1)) + brighter,
        "contrast": 1 - np.exp(-1.6 + 0.35 * build + 0.3 * exposure + 0.2 * other),
        "entropy": 5.4 - np.exp(-0.6 + 0.5 * build + 0.4 * other),
        "clipped": np.clip(clipped, 0, 1),
        "distance": np.exp(3 + 0.25 * other + 0.2 * exposure),
    }
    sick = random.random(films) < device.sick
    logits = random.normal(size=(3, films)) + np.array([1.5, 0.0, -1.0])[:, None] + 0.4 * more
    logits[1] += 2.5 * sick
    shares = np.exp(logits) / np.exp(logits).sum(axis=0)
    return Films(
        pixels={name: np.round(np.clip(values, 0, None), 4) for name, values in pixels.items()},
        probabilities=dict(zip(FINDINGS, shares, strict=True)),
    )


def keep(
    engine: Engine,
    ae: str,
    span: Span,
    films: Films,
    *,
    bundle: str = BUNDLE,
    studies: Sequence[str] | None = None,
) -> list[int]:
    """Write the rows of films that were received evenly over a span and scored. Returns their instance ids.

    Args:
        studies: Study Instance UID of each; default: each its own.
    """
    total = len(films)
    with reading(engine) as connection:
        first = (connection.execute(select(func.max(instance.c.id))).scalar_one() or 0) + 1
    ids = list(range(first, first + total))
    step = (span.end - span.start) / max(total, 1)
    about = {"sop_class_uid": "1", "transfer_syntax_uid": "1", "series_instance_uid": "1", "digest": "0", "size": 1}
    header = {"called_ae": "XRAYQ", "modality": "DX", "body_part": "CHEST", "view_position": "PA"}
    fixed = about | header | {"calling_ae": ae, "revision": 1, "state": "scored"}
    uids = studies or [f"1.2.{key}" for key in ids]
    numbers = {name: values.tolist() for name, values in films.pixels.items()}
    chances = {name: values.tolist() for name, values in films.probabilities.items()}
    instances, measures, scores, findings = [], [], [], []
    for at, key, uid in zip(count(), ids, uids, strict=False):
        received = span.start + at * step
        instances.append(
            fixed | {"id": key, "sop_instance_uid": f"1.3.{key}", "study_instance_uid": uid, "received_at": received}
        )
        measured = {name: numbers[name][at] for name in (*INPUTS, "distance") if name in numbers}
        measures.append({"instance_id": key, "bundle_digest": bundle} | measured)
        about_score = {"instance_id": key, "bundle_digest": bundle, "engine": "e", "software_version": "0"}
        scores.append(about_score | {"id": key, "role": "live", "scored_at": received})
        findings += [
            {"score_id": key, "finding": name, "logit": 0.0, "probability": values[at], "flag": False}
            for name, values in chances.items()
        ]
    with writing(engine) as connection:
        for table, rows in (
            (instance, instances),
            (film_measure, measures),
            (score, scores),
            (finding_score, findings),
        ):
            if rows:
                connection.execute(insert(table), rows)
    return ids
