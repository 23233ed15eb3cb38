"""Films of a prepared set beside what a bundle says of them, scored exactly as served."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.conformal import unsure
from model.data.bundle_films import BATCH, Advance
from model.data.dataset import FilmRow, Films
from model.engine.base import Engine
from model.json_value import SparseJson
from model.scorer import score

CONFIDENT = 6
"""Films of each class shown as the most confident right ones."""


@dataclass(frozen=True, kw_only=True)
class ScoredFilms:
    """Films and what the bundle says of them. Row i of everything is the same film."""

    films: Films
    logits: NDArray[np.float32]
    """[N, findings]"""
    chances: NDArray[np.float64]
    """[N, findings], calibrated, before a prior shift: the films are not mixed as a site's."""
    flags: tuple[tuple[str, ...], ...]
    sets: tuple[tuple[str, ...], ...] | None
    """Prediction sets; None where the bundle makes none."""

    @property
    def unsure(self) -> NDArray[np.bool_] | None:
        """[N] whether the set is not exactly one finding; None where the bundle makes no sets."""
        return None if self.sets is None else np.array([unsure(found) for found in self.sets], bool)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.films.labels

    @property
    def called(self) -> NDArray[np.int64]:
        """[N] index of the most probable finding."""
        return np.asarray(self.chances.argmax(axis=1), np.int64)

    def where(self, wanted: Callable[[FilmRow], bool]) -> "ScoredFilms":
        kept = [index for index, film in enumerate(self.films.records) if wanted(film)]
        return ScoredFilms(
            films=self.films.where(wanted),
            logits=self.logits[kept],
            chances=self.chances[kept],
            flags=tuple(self.flags[index] for index in kept),
            sets=None if self.sets is None else tuple(self.sets[index] for index in kept),
        )


@dataclass(frozen=True, kw_only=True)
class CalledFilm(SparseJson):
    """One film that the report shows."""

    identifier: str
    label: str
    """Its true finding."""
    called: str
    """The most probable finding."""
    probabilities: dict[str, float]
    view: str
    source: str
    label_basis: str
    flags: tuple[str, ...] | None = None
    """None in an evaluation of an earlier release."""
    unsure: bool | None = None
    """Whether the prediction set names several findings, or none; None where the bundle makes no sets, too."""


def score_films(bundle: Bundle, engine: Engine, films: Films, advance: Advance) -> ScoredFilms:
    scores = []
    for start in range(0, len(films), BATCH):
        scores += score(engine, bundle, films.take(np.arange(start, min(start + BATCH, len(films)))))
        advance(len(scores), len(films))
    logits = np.array([list(film.logits.values()) for film in scores], np.float32)
    return ScoredFilms(
        films=films,
        logits=logits,
        chances=bundle.calibration.at_films.probabilities(logits),
        flags=tuple(film.flags for film in scores),
        sets=tuple(film.prediction_set or () for film in scores) if bundle.conformal else None,
    )


def wrong(part: ScoredFilms) -> tuple[CalledFilm, ...]:
    """Films called wrongly, most confident first."""
    return tuple(_about(part, index) for index in _ranked(part) if part.called[index] != part.labels[index])


def right(part: ScoredFilms) -> dict[str, tuple[CalledFilm, ...]]:
    """The most confident films called rightly, of each class."""
    rows = [index for index in _ranked(part) if part.called[index] == part.labels[index]]
    return {
        name: tuple(_about(part, index) for index in rows if part.labels[index] == number)[:CONFIDENT]
        for number, name in enumerate(part.films.findings)
    }


def predictions_text(scored: ScoredFilms, bundle: str) -> str:
    """predictions.csv. Its column split names the part: test films of the subset `more` are not of test there.

    Empty cells of prediction_set and unsure: the bundle makes no sets.

    Args:
        bundle: its digest.
    """
    text, findings = io.StringIO(), scored.films.findings
    writer = csv.writer(text, lineterminator="\n")
    identity = ("identifier", "part", "view", "source", "label_basis", "label")
    numbers = [f"{kind}_{name}" for kind in ("p", "logit") for name in findings]
    columns = ["split" if name == "part" else name for name in identity]
    writer.writerow([*columns, "called", *numbers, "flags", "prediction_set", "unsure", "patient", "bundle"])
    for row, film in enumerate(scored.films.records):
        values = [f"{value:.6f}" for value in scored.chances[row]] + [f"{value:.5f}" for value in scored.logits[row]]
        found = None if scored.sets is None else scored.sets[row]
        said = ["", ""] if found is None else [" ".join(found), "yes" if unsure(found) else "no"]
        cells = [*(getattr(film, name) for name in identity), findings[scored.called[row]], *values]
        writer.writerow([*cells, " ".join(scored.flags[row]), *said, film.patient, bundle[:12]])
    return text.getvalue()


def _ranked(part: ScoredFilms) -> list[int]:
    """Rows by falling probability of the called class; ties by identifier."""
    confidence = part.chances.max(axis=1).round(6)
    return sorted(range(len(confidence)), key=lambda row: (-confidence[row], part.films.records[row].identifier))


def _about(part: ScoredFilms, row: int) -> CalledFilm:
    film, findings = part.films.records[row], part.films.findings
    return CalledFilm(
        identifier=film.identifier,
        label=film.label,
        called=findings[part.called[row]],
        probabilities={name: round(float(value), 4) for name, value in zip(findings, part.chances[row], strict=True)},
        view=film.view,
        source=film.source,
        label_basis=film.label_basis,
        flags=part.flags[row],
        unsure=None if part.sets is None else unsure(part.sets[row]),
    )
