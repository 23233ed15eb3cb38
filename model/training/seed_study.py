"""Networks of one recipe that differ in their seed alone, side by side. Nothing is trained."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.calibration import log_losses, probabilities
from model.data.bundle_films import BATCH, Progress, films_for
from model.data.dataset import MORE, Dataset, Films, load_dataset
from model.engine.ort import OrtEngine
from model.errors import DatasetError
from model.findings import SPOKEN
from model.stats.agreement import auroc
from model.study_table import Cell, Study
from model.training.loop import Rows
from model.training.material import validation_material
from model.training.recipe import TrainConfig, read_recipe
from model.training.sampling import class_weights, film_weight
from model.training.study import mean_and_range
from model.training.study_figures import Logits, logits_by_part

ALIKE = {
    "data_digest": "films",
    "views": "views",
    "train_views": "training views",
    "initial_weights": "start",
    "auxiliary_digest": "auxiliary films",
    "auxiliary_held_out": "share held out",
    "teachers": "teachers",
}
"""In the provenance, beside the recipe: what must be the same, in words."""
CHOSEN_ON = "val"


def seed_study(bundles: Sequence[Bundle], folder: Path, *, threads: int, report: Progress) -> Study:
    """Accuracy, recalls and AUROC of each network and of all; marked is the one of least validation log loss.

    Args:
        folder: the prepared set.

    Raises:
        DatasetError: the bundles differ in more than their seed, or the set is not what they need.
    """
    recipes = recipes_of(bundles)
    bundles = sorted(bundles, key=lambda bundle: recipes[bundle.digest].seed)
    dataset = films_for(bundles[0], folder)
    parts = parts_of(dataset, load_dataset(folder, views=()))
    weights = _weights(dataset, recipes[bundles[0].digest])
    figures: dict[int, dict[str, list[float]]] = {}
    losses: dict[int, float] = {}
    for bundle in bundles:
        seed, answer = recipes[bundle.digest].seed, _answers(bundle, parts[CHOSEN_ON].store, threads)
        logits = dict(zip(parts, logits_by_part(list(parts.values()), answer), strict=True))
        figures[seed] = {name: figures_of(logits[name], parts[name]) for name in parts}
        by_film = log_losses(probabilities(logits[CHOSEN_ON], 1.0), parts[CHOSEN_ON].labels)
        losses[seed] = float(np.average(by_film, weights=weights))
        report(f"seed {seed}: validation log loss {losses[seed]:.4f}")
    return Study(
        study="seeds",
        title=f"{len(bundles)} networks that differ in their seed alone",
        columns=("seed", "films of", "films", "log loss", *_columns(dataset)),
        rows=tuple(row for name, films in parts.items() for row in _rows(name, len(films), figures, losses)),
        note=_note(dataset, bundles[0]),
        provenance={
            "recipe": recipes[bundles[0].digest].as_dict(),
            "seeds": list(figures),
            "bundles": [bundle.digest for bundle in bundles],
            "data_digest": dataset.digest,
            "films": {name: films.counts() for name, films in parts.items()},
        },
    )


def recipes_of(bundles: Sequence[Bundle]) -> dict[str, TrainConfig]:
    """By digest.

    Raises:
        DatasetError: a bundle does not say how it was trained, two have one seed, or they differ in more than that.
    """
    found: dict[str, TrainConfig] = {}
    first = bundles[0]
    for bundle in bundles:
        try:
            config = read_recipe(bundle.provenance["recipe"])
        except (KeyError, ValueError):
            raise DatasetError(f"{bundle.path} does not say by which recipe it was trained") from None
        if other := _differences(bundle, config, first, found.get(first.digest, config)):
            raise DatasetError(f"{bundle.path} differs from {first.path} in more than the seed: {', '.join(other)}")
        if config.seed in {known.seed for known in found.values()}:
            raise DatasetError(f"{bundle.path} has the seed {config.seed} of another one")
        found[bundle.digest] = config
    return found


def _differences(bundle: Bundle, config: TrainConfig, first: Bundle, of_first: TrainConfig) -> list[str]:
    mine, theirs = replace(config, seed=0).as_dict(), replace(of_first, seed=0).as_dict()
    names = [name for name in mine if mine[name] != theirs[name]]
    names += [words for key, words in ALIKE.items() if _record(bundle, key) != _record(first, key)]
    alike = bundle.findings == first.findings, bundle.preprocess == first.preprocess
    return names + [words for words, same in zip(("findings", "preprocessing"), alike, strict=True) if not same]


def _record(bundle: Bundle, key: str) -> str:
    return json.dumps(bundle.provenance.get(key), sort_keys=True)


def parts_of(dataset: Dataset, whole: Dataset) -> dict[str, Films]:
    """By name: val and test of the bundle's views, test and more of every view.

    Raises:
        DatasetError: the set has no validation films, on which the choice is made.
    """
    if CHOSEN_ON not in dataset.splits:
        raise DatasetError("there are no validation films, on which one of the networks is chosen")
    found = {name: dataset.splits.get(name) for name in (CHOSEN_ON, "test")}
    found |= {"test, every view": whole.splits.get("test"), "more, every view": whole.splits.get(MORE)}
    return {name: films for name, films in found.items() if films}


def figures_of(logits: Logits, films: Films) -> list[float]:
    """Accuracy; recall of each finding; AUROC of each against the rest. NaN where there is no such film."""
    called, labels, chances = logits.argmax(axis=1), films.labels, probabilities(logits, 1.0)
    own = [labels == at for at in range(len(films.findings))]
    recalls = [float((called[of] == at).mean()) if of.any() else np.nan for at, of in enumerate(own)]
    areas = [auroc(chances[:, at], of) if 0 < of.sum() < len(of) else np.nan for at, of in enumerate(own)]
    return [float((called == labels).mean()), *recalls, *areas]


def _rows(
    name: str, films: int, figures: Mapping[int, Mapping[str, list[float]]], losses: Mapping[int, float]
) -> Iterator[tuple[Cell, ...]]:
    """Of one part: a row for each seed, and one for all."""
    best, own = min(losses, key=lambda seed: losses[seed]), name == CHOSEN_ON
    for seed, by_part in figures.items():
        loss = f"{losses[seed]:.4f}" if own else ""
        cells = (mean_and_range([value]) for value in by_part[name])
        yield (f"{seed}{', chosen' if seed == best else ''}", name, films, loss, *cells)
    over = (mean_and_range(column) for column in zip(*(by_part[name] for by_part in figures.values()), strict=True))
    yield ("all", name, films, mean_and_range(list(losses.values())) if own else "", *over)


def _answers(bundle: Bundle, store: NDArray[np.uint8], threads: int) -> Callable[[Rows], NDArray[np.float32]]:
    """Rows of the prepared set -> logits as the network gives them, before any calibration."""

    def logits_of(rows: Rows) -> NDArray[np.float32]:
        with closing(OrtEngine(bundle, threads=threads)) as engine:
            starts = range(0, len(rows), BATCH)
            return np.concatenate([engine.infer(store[rows[at : at + BATCH]]) for at in starts])

    return logits_of


def _weights(dataset: Dataset, config: TrainConfig) -> NDArray[np.float64]:
    """Of the validation films, as the trainings had them when they chose their epoch."""
    if "train" not in dataset.splits:
        raise DatasetError("there are no training films, after which the recipe weighs its findings")
    train = dataset.splits["train"].where(lambda film: film_weight(film, config) > 0)
    balance = class_weights(list(train.counts().values()), config.class_weight_power)
    return validation_material(dataset.splits[CHOSEN_ON], config, balance).weights


def _columns(dataset: Dataset) -> list[str]:
    spoken = [SPOKEN[finding] for finding in dataset.findings]
    return ["accuracy", *(f"recall, {name}" for name in spoken), *(f"AUROC, {name}" for name in spoken)]


def _note(dataset: Dataset, bundle: Bundle) -> str:
    views = ", ".join(dataset.views) or "all"
    note = (
        f"Logits without calibration; val and test of the views {views}. all: mean (least to greatest). The chosen one "
        "has the least log loss on the validation films, as the recipe weighs them; nothing is chosen on test films."
    )
    if bundle.provenance.get("data_digest") == dataset.digest:
        return note
    return f"{note} The networks were trained on another prepared set than this one."
