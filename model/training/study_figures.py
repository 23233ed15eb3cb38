"""What the rows of a study are measured by: columns of figures, each on films that are the same for every row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import MORE, Dataset, FilmRow, Films
from model.findings import SPOKEN
from model.stats.agreement import auroc
from model.training.loop import Rows
from model.training.recipe import TrainConfig
from model.training.sampling import film_weight

Logits = NDArray[np.float64]
ENOUGH = 10
"""Films that each finding of a pair needs."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two findings of one source, so that knowing the source tells nothing."""

    source: str
    positive: str
    other: str
    parts: tuple[str, ...]
    """Pooled, every view."""


PAIRS = (
    Pair(source="siim", positive="covid19", other="normal", parts=(MORE,)),
    Pair(source="nih", positive="pneumonia", other="normal", parts=(MORE,)),
    Pair(source="ieee8023", positive="covid19", other="pneumonia", parts=("val", "test")),
)
"""The third has so few test films that those of val join."""


@dataclass(frozen=True, kw_only=True)
class Column:
    title: str
    films: Films
    figure: Callable[[Logits, NDArray[np.int64]], float]
    """Of the films' logits [N, findings] and labels [N]."""


def columns_of(dataset: Dataset, whole: Dataset, config: TrainConfig) -> tuple[Column, ...]:
    """Accuracy and the area of "not normal" on val, test and more, then the pairs; without what has too few films.

    Args:
        dataset: with the bundle's views, for val and test.
        whole: the same set with every view, for more and the pairs.
        config: the full recipe. Validation films that weigh nothing in it count in no row's val columns.
    """
    parts = {split: films for split in ("val", "test") if (films := dataset.splits.get(split))}
    if "val" in parts:
        parts["val"] = parts["val"].where(lambda film: film_weight(film, config) > 0)
    if more := whole.splits.get(MORE):
        parts[MORE] = more
    made = [
        Column(title=f"{name} accuracy, {len(films)} films", films=films, figure=_accuracy)
        for name, films in parts.items()
        if len(films)
    ]
    negative = dataset.findings[0]
    made += [
        Column(title=f"{name} AUROC, {SPOKEN[negative]}", films=films, figure=_not_negative)
        for name, films in parts.items()
        if 0 < films.counts()[negative] < len(films)
    ]
    return (*made, *(column for pair in PAIRS if (column := _pair(pair, whole))))


def measured(columns: Sequence[Column], logits_of: Callable[[Rows], NDArray[np.float32]]) -> dict[str, float]:
    """By title; `logits_of` as in `logits_by_part`."""
    logits = logits_by_part([column.films for column in columns], logits_of)
    return {column.title: column.figure(of, column.films.labels) for column, of in zip(columns, logits, strict=True)}


def logits_by_part(parts: Sequence[Films], logits_of: Callable[[Rows], NDArray[np.float32]]) -> list[Logits]:
    """[N, findings] for each of several parts of one set, which may share films.

    Args:
        logits_of: rows of the set's store -> their logits; asked once for each film.
    """
    rows = np.unique(np.concatenate([films.rows for films in parts]))
    logits = logits_of(rows).astype(np.float64)
    return [logits[np.searchsorted(rows, films.rows)] for films in parts]


def _accuracy(logits: Logits, labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _not_negative(logits: Logits, labels: NDArray[np.int64]) -> float:
    """By the log odds of any other finding: in the order of 1 - p(negative), and no ties near 0 and 1."""
    return auroc(np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0], labels != 0)


def _pair(pair: Pair, whole: Dataset) -> Column | None:
    if not {pair.positive, pair.other} <= set(whole.findings):
        return None

    def wanted(film: FilmRow) -> bool:
        return film.source == pair.source and film.label in (pair.positive, pair.other)

    found = [whole.splits[part].where(wanted) for part in pair.parts if part in whole.splits]
    if not found:
        return None
    films = pooled(found)
    positive, other = (whole.findings.index(name) for name in (pair.positive, pair.other))
    counts = films.counts()
    if min(counts[pair.positive], counts[pair.other]) < ENOUGH:
        return None
    return Column(
        title=f"{pair.source}, {' and '.join(pair.parts)}: AUROC, {counts[pair.positive]} {SPOKEN[pair.positive]} "
        f"against {counts[pair.other]} {SPOKEN[pair.other]}",
        films=films,
        figure=lambda logits, labels: auroc(logits[:, positive] - logits[:, other], labels == positive),
    )


def pooled(parts: Sequence[Films]) -> Films:
    """Films of one set, one part after the other."""
    return Films(
        store=parts[0].store,
        rows=np.concatenate([films.rows for films in parts]),
        records=tuple(film for films in parts for film in films.records),
        findings=parts[0].findings,
    )
