"""The honest table for a new hospital: one source left out of training at a time, and how many of its normal films are
flagged. Nothing of the source is trained on, chosen on or calibrated on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.calibration import fit_temperature, probabilities
from model.data.auxiliary import AuxiliaryFilms
from model.data.dataset import Dataset, Films, dataset_of
from model.errors import DatasetError
from model.stats.binomial import interval
from model.study_table import Cell, Study
from model.training.loop import predict
from model.training.study import Bench, study_of
from model.training.train import Trained

Shares = dict[str, float]
FLAG_SPECIFICITY, NOT_NORMAL_SPECIFICITY = 0.95, 0.90
"""Of the thresholds: a finding's among validation films without it, "not normal" among the normal ones."""
ANY, NOT_NORMAL = "any finding's flag", "not normal"


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Normal films of a source that no training has."""

    source: str
    images: NDArray[np.uint8]
    """[N, 1, S, S]"""


def source_study(bench: Bench, unseen: Sequence[Unseen] = (), sources: Iterable[str] = ()) -> Study:
    """Share of a left-out source's normal films under each finding's flag, any flag, and "not normal".

    Args:
        unseen: measured after a training that leaves nothing out.
        sources: to leave out; all that have normal films when there are none.
    """
    dataset, rows, impossible = bench.dataset, list[list[Cell]](), list[str]()
    for source in sources or _with_normals(dataset):
        normals = _normals(dataset, source)
        if not len(normals):
            raise DatasetError(f"no normal film of source {source!r}")
        try:
            rest = without(dataset, source)
            trained = replace(bench, auxiliary=_others(bench.auxiliary, source)).train(source, rest)
        except DatasetError as error:
            impossible.append(f"{source} cannot be left out: {error}.")
            continue
        rows.append(_row(bench, f"{source}, left out", normals.images, rest, trained))
    if unseen:
        trained = bench.train("none left out", dataset)
        rows += [_row(bench, f"{films.source}, in no training", films.images, dataset, trained) for films in unseen]
    flags = [f"{finding} flag" for finding in dataset.findings[1:]]
    made = study_of(
        bench,
        "source",
        "A hospital never seen: shares of its normal films that are flagged",
        ["source", "normal films", *flags, ANY, NOT_NORMAL],
        rows,
    )
    seeds = f", means over {len(bench.seeds)} seeds" if len(bench.seeds) > 1 else ""
    note = (
        f"Each share with its exact 95 % interval{seeds}. The interval takes films as independent, though patients "
        "have several, and knows nothing of the scatter of seeds. Thresholds are chosen on validation films of the "
        f"other sources: a finding's flag is up on {1 - FLAG_SPECIFICITY:.0%} of those without it, {NOT_NORMAL} on "
        f"{1 - NOT_NORMAL_SPECIFICITY:.0%} of the normal ones. What is above that here is the cost of a new source. "
        "A pretrained trunk may have seen the source's films."
    )
    return replace(made, note=" ".join([note, *impossible]))


def without(dataset: Dataset, source: str) -> Dataset:
    """The films of the other sources."""
    kept = [films.where(lambda film: film.source != source) for films in dataset.splits.values()]
    films = replace(
        kept[0],
        rows=np.concatenate([part.rows for part in kept]),
        records=tuple(film for part in kept for film in part.records),
    )
    if not len(films):
        raise DatasetError("no other source has films")
    return dataset_of(films, spec=dataset.spec, views=dataset.views, train_views=dataset.train_views)


def _with_normals(dataset: Dataset) -> list[str]:
    normal = dataset.findings[0]
    found = {film.source for films in dataset.splits.values() for film in films.records if film.label == normal}
    return sorted(found - {""})


def _normals(dataset: Dataset, source: str) -> Films:
    """Of every split: the source is in no training here."""
    normal = dataset.findings[0]
    parts = [
        films.where(lambda film: film.source == source and film.label == normal) for films in dataset.splits.values()
    ]
    return replace(
        parts[0],
        rows=np.concatenate([part.rows for part in parts]),
        records=tuple(film for part in parts for film in part.records),
    )


def _others(auxiliary: AuxiliaryFilms | None, source: str) -> AuxiliaryFilms | None:
    if auxiliary is None:
        return None
    kept = np.array([other != source for other in auxiliary.sources], bool)
    parts = {name: getattr(auxiliary, name)[kept] for name in ("images", "truth", "known")}
    sources = tuple(other for other in auxiliary.sources if other != source)
    return replace(auxiliary, **parts, sources=sources, digest=f"{auxiliary.digest} without {source}")


def _row(
    bench: Bench, name: str, images: NDArray[np.uint8], dataset: Dataset, trained: Sequence[Trained]
) -> list[Cell]:
    found = [flagged(one, images, dataset, bench.device) for one in trained]
    cells: list[Cell] = [name, len(images)]
    for column in found[0]:
        share = float(np.mean([shares[column] for shares in found]))
        low, high = interval(round(share * len(images)), len(images))
        cells.append(f"{share:.3f} ({low:.2f} to {high:.2f})")
    return cells


def flagged(trained: Trained, images: NDArray[np.uint8], dataset: Dataset, device: torch.device) -> Shares:
    """Share of the films under each finding's flag, any, and "not normal"; thresholds from the validation films."""
    network, validation = trained.network.to(device), dataset.splits["val"]
    logits = predict(network, validation.take, len(validation), device=device)
    temperature = fit_temperature(logits, validation.labels)
    chosen = probabilities(logits, temperature)
    chances = probabilities(predict(network, lambda rows: images[rows], len(images), device=device), temperature)
    network.to("cpu")
    up = {}
    for at, finding in enumerate(dataset.findings[1:], start=1):
        limit = _limit(chosen[validation.labels != at, at], FLAG_SPECIFICITY)
        up[finding] = chances[:, at] > limit
    every = np.any(list(up.values()), axis=0)
    limit = _limit(1 - chosen[validation.labels == 0, 0], NOT_NORMAL_SPECIFICITY)
    columns = up | {ANY: every, NOT_NORMAL: 1 - chances[:, 0] > limit}
    return {name: float(one.mean()) for name, one in columns.items()}


def _limit(scores: NDArray[np.float64], specificity: float) -> float:
    """The least score that so many of these films do not exceed."""
    return float(np.quantile(scores, specificity, method="higher"))
