"""The same films prepared from other copies, such as native resolution: do their flags stay?"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.bundle import Bundle
from model.data.bundle_films import logits_of, require
from model.data.dataset import PARTS, Films, open_prepared
from model.engine.base import Engine
from model.errors import DatasetError
from model.evaluation.scored import ScoredFilms
from model.json_value import ReadableJson
from model.stats.agreement import Agreement, compare


@dataclass(frozen=True, kw_only=True)
class CopiesMeasured(ReadableJson):
    sets: tuple[str, ...]
    """Names of the folders that the copies were prepared from."""
    films: dict[str, int]
    """Films that are in both sets, by part."""
    left_out: int
    """Copies of films that the evaluated set has not."""
    agreement: Agreement
    """Pairs are (the evaluated film, its copy)."""


def open_copies(bundle: Bundle, folder: Path, films: Films) -> Films:
    """The copies of these films, by identifier.

    Raises:
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or of no film of these.
    """
    found, spec = open_prepared(folder)
    require(bundle, folder, spec)
    known = set(films.identifiers)
    copies = found.where(lambda film: film.identifier in known)
    if not len(copies):
        raise DatasetError(f"{folder} has no film of the evaluated set: films are paired by image_id")
    return copies


def measure_copies(
    bundle: Bundle, engine: Engine, scored: ScoredFilms, copies: Films, advance: Callable[[int, int], None]
) -> CopiesMeasured:
    """Copies, as `open_copies` gave them, beside their films."""
    place = {name: row for row, name in enumerate(scored.films.identifiers)}
    rows = np.array([place[name] for name in copies.identifiers])
    parts = [scored.films.records[row].part for row in rows]
    return CopiesMeasured(
        sets=tuple(sorted({film.set for film in copies.records})),
        films={name: parts.count(name) for name in PARTS if name in parts},
        left_out=len(copies.store) - len(copies),
        agreement=compare(bundle, scored.logits[rows], logits_of(engine, copies, advance), scored.labels[rows]),
    )
