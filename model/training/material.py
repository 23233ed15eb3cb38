"""What a training learns and chooses from: films with a target, a weight, a reading and a source each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.auxiliary import AuxiliaryFilms
from model.data.dataset import Films
from model.errors import DatasetError
from model.findings import REPORT_MINED, negative_of
from model.training.loop import Rows, shuffled
from model.training.recipe import READINGS, TrainConfig
from model.training.sampling import UNKNOWN, class_weights, film_weight, shares

Shares = NDArray[np.float32]
READING_LABELS = {"rsna:Normal": 0, "rsna:Not Normal": 1, "rsna:Lung Opacity": 2}
"""In auxiliary sets: label -> place in READINGS."""
OPACITY = "pneumonia"
"""The finding that "Lung Opacity" stands for. "Not normal, no opacity" stands for none."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Row i of everything is the same film."""

    take: Callable[[Rows], NDArray[np.uint8]]
    """Film numbers -> uint8 [n, 1, S, S]."""
    labels: NDArray[np.int64]
    """[N] index into the findings, or UNKNOWN."""
    targets: Shares
    """[N, findings] that sum to 1, before label smoothing."""
    weights: NDArray[np.float64]
    """[N] in the findings' loss; 0 where the label is UNKNOWN."""
    readings: NDArray[np.int64]
    """[N] index into READINGS, or UNKNOWN."""
    sources: tuple[str, ...]
    """[N]"""
    chances: NDArray[np.float64] | None = None
    """[N] to be drawn; None where each film is drawn once."""
    drawn: int
    """Films of an epoch."""
    balance: NDArray[np.float32]
    """[findings] class weights that are in `weights` already."""

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, generator: torch.Generator) -> Rows:
        """The films of an epoch."""
        if self.chances is None:
            return shuffled(len(self), generator)[: self.drawn]
        chances = torch.from_numpy(self.chances)
        return torch.multinomial(chances, self.drawn, replacement=True, generator=generator).numpy()


def training_material(
    films: Films, config: TrainConfig, *, auxiliary: AuxiliaryFilms | None = None, teacher: Shares | None = None
) -> Material:
    """Films to learn from: those with a weight above 0, and those with a reading where a second head learns them.

    Args:
        films: the training split.
        auxiliary: auxiliary sets; their films with a reading join.
        teacher: [films, findings] probabilities.

    Raises:
        DatasetError: a finding has no film with a weight above 0.
    """
    weights = np.array([film_weight(film, config) for film in films.records])
    _require_every_class(films.where(lambda film: film_weight(film, config) > 0), "train")
    readings = np.array(
        [READINGS.index(film.reading) if film.reading in READINGS else UNKNOWN for film in films.records], np.int64
    )
    labels = np.where(weights > 0, films.labels, UNKNOWN)
    targets = _targets(films, readings, config, teacher)
    kept = np.flatnonzero((labels != UNKNOWN) | ((readings != UNKNOWN) & (config.reading_weight > 0)))
    parts = [(labels[kept], targets[kept], weights[kept], readings[kept])]
    sources = [films.records[row].source for row in kept]
    more = np.zeros(0, np.int64)
    if auxiliary is not None:
        their_readings = readings_of(auxiliary)
        meant = np.array([_meant(films.findings).get(at, UNKNOWN) for at in their_readings.tolist()], np.int64)
        meant = meant if config.auxiliary_weight else np.full(len(meant), UNKNOWN)
        more = np.flatnonzero((meant != UNKNOWN) | ((their_readings != UNKNOWN) & (config.reading_weight > 0)))
        theirs = np.eye(len(films.findings), dtype=np.float32)[meant[more]]
        parts.append((meant[more], theirs, np.full(len(more), config.auxiliary_weight), their_readings[more]))
        sources += [auxiliary.sources[row] for row in more]
    labels, targets, weights, readings = (np.concatenate(part) for part in zip(*parts, strict=True))

    def take(rows: Rows) -> NDArray[np.uint8]:
        if auxiliary is None:
            return films.take(kept[rows])
        own = rows < len(kept)
        images = np.empty((len(rows), *films.store.shape[1:]), np.uint8)
        images[own] = films.take(kept[rows[own]])
        images[~own] = auxiliary.images[more[rows[~own] - len(kept)]]
        return images

    known = labels != UNKNOWN
    balance = class_weights(
        np.bincount(labels[known], minlength=len(films.findings)).tolist(), config.class_weight_power
    )
    drawn = config.epoch_films or len(labels)
    chances = shares(labels, sources, np.where(known, weights, 1.0)) if config.balance == "source" else None
    # What is drawn by weight needs no weight in the loss.
    weights = np.where(known, balance[labels] * (weights if chances is None else 1.0), 0.0)
    return Material(
        take=take,
        labels=labels,
        targets=targets,
        weights=weights,
        readings=readings,
        sources=tuple(sources),
        chances=chances,
        drawn=drawn if chances is not None else min(drawn, len(labels)),
        balance=balance,
    )


def validation_material(films: Films, config: TrainConfig, balance: NDArray[np.float32]) -> Material:
    """Films to choose on, which weigh in the loss what they would in training.

    Args:
        balance: the training's class weights.

    Raises:
        DatasetError: a finding has no film with a weight above 0.
    """
    weights = np.array([film_weight(film, config) for film in films.records])
    heavy, sources = weights > 0, tuple(film.source for film in films.records)
    _require_every_class(films.where(lambda film: film_weight(film, config) > 0), "val")
    if config.balance == "source":
        own = [source for source, counts in zip(sources, heavy, strict=True) if counts]
        weights[heavy] = shares(films.labels[heavy], own, weights[heavy])
    return Material(
        take=films.take,
        labels=films.labels,
        targets=np.eye(len(films.findings), dtype=np.float32)[films.labels],
        weights=weights * balance[films.labels],
        readings=np.full(len(films), UNKNOWN, np.int64),
        sources=sources,
        drawn=len(films),
        balance=balance,
    )


def readings_of(films: AuxiliaryFilms) -> NDArray[np.int64]:
    """[N] index into READINGS, or UNKNOWN."""
    found = np.full(len(films.images), UNKNOWN, np.int64)
    for column, label in enumerate(films.labels):
        if label in READING_LABELS:
            found[(films.truth[:, column] > 0) & (films.known[:, column] > 0)] = READING_LABELS[label]
    return found


def _meant(findings: tuple[str, ...]) -> dict[int, int]:
    """Reading -> the finding that it stands for."""
    return {0: findings.index(negative_of(findings))} | ({2: findings.index(OPACITY)} if OPACITY in findings else {})


def _targets(films: Films, readings: NDArray[np.int64], config: TrainConfig, teacher: Shares | None) -> Shares:
    """[N, findings]: the label; moved towards the reading where the label was mined and the two differ, and towards a
    teacher."""
    count, labels = len(films.findings), films.labels
    targets = np.eye(count, dtype=np.float32)[labels]
    for row, film in enumerate(films.records if config.disagreement else ()):
        meant = _meant(films.findings).get(int(readings[row]))
        if readings[row] != UNKNOWN and film.label_basis in REPORT_MINED and meant != labels[row]:
            # What is taken from a label whose film was read as of no finding is shared out.
            read = np.full(count, 1 / count) if meant is None else np.eye(count)[meant]
            targets[row] = (1 - config.disagreement) * targets[row] + config.disagreement * read
    if teacher is None or not config.teacher_weight:
        return targets
    softened = teacher ** (1 / config.teacher_temperature)
    softened /= softened.sum(axis=1, keepdims=True)
    return np.asarray((1 - config.teacher_weight) * targets + config.teacher_weight * softened, np.float32)


def _require_every_class(films: Films, split: str) -> None:
    if 0 in films.counts().values():
        raise DatasetError(f"split {split!r} lacks films of every class: {films.counts()}")
