"""Studies: the same training several times with one thing changed, as rows of a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model.data.auxiliary import AuxiliaryFilms
from model.data.bundle_films import Progress
from model.data.dataset import SPLITS, Dataset, dataset_of
from model.data.splits import assign
from model.stats.binomial import interval
from model.stats.estimate import Proportion
from model.stats.summaries import summary
from model.study_table import Cell, Study
from model.training.loop import predict
from model.training.recipe import TrainConfig
from model.training.train import Trained, build, train

SPLIT_SHARES = ((0.7, 0.3), (0.6, 0.4), (0.5, 0.5))
"""Shares of train and validation, as in the paper."""
RATES = (1e-3, 5e-4, 2e-4, 1e-4, 3e-5)
"""Learning rates of the search phase."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every training of a study has in common."""

    dataset: Dataset
    config: TrainConfig
    initial: Path | str | None
    device: torch.device
    seeds: Sequence[int]
    """Each row is trained once with each; figures are means over them."""
    report: Progress
    auxiliary: AuxiliaryFilms | None = None
    """Films that join every training, see `training_material`."""

    def train(self, name: str, dataset: Dataset) -> list[Trained]:
        """One training for each seed."""
        made = []
        for seed in self.seeds:
            seeded = replace(self.config, seed=seed)
            network = build(seeded, self.initial, len(dataset.findings))
            made.append(train(network, dataset, seeded, device=self.device, auxiliary=self.auxiliary))
            self.report(f"{name}, seed {seed}: {made[-1].kept}")
        return made

    def run(self, name: str, dataset: Dataset, config: TrainConfig, initial: Path | str | None) -> "list[_Result]":
        results = []
        for seed in self.seeds:
            seeded = replace(config, seed=seed)
            network = build(seeded, initial, len(dataset.findings))
            trained = train(network, dataset, seeded, device=self.device, auxiliary=self.auxiliary)
            results.append(_measure(trained, dataset, self.device))
            self.report(f"{name}, seed {seed}: {results[-1].line()}")
        return results


@dataclass(frozen=True, kw_only=True)
class _Result:
    trained: Trained
    accuracy: dict[str, float]
    recall: dict[str, float]
    """Recall of each class on the test split."""

    def line(self) -> str:
        return ", ".join(f"{split} {value:.3f}" for split, value in self.accuracy.items())


def split_study(bench: Bench) -> Study:
    """Films of train and val pooled and divided again by patient, the test split as it is (the paper's split study)."""
    rows = []
    for shares in SPLIT_SHARES:
        name = "/".join(f"{share * 100:g}" for share in shares)
        for_seed = []
        for seed in bench.seeds:
            dataset = _divided(bench.dataset, shares, seed)
            for_seed += replace(bench, seeds=(seed,)).run(name, dataset, bench.config, bench.initial)
        rows.append([name, *_accuracies(for_seed)])
    return study_of(
        bench,
        "split",
        "Split study: share of films for training and validation",
        ["train/val", "train accuracy", "val accuracy", "test accuracy"],
        rows,
    )


def rate_study(bench: Bench, rates: Iterable[float] = RATES) -> Study:
    """The rate of the search phase, and what its best epoch and the whole training reach."""
    rows = []
    for rate in rates:
        results = bench.run(f"{rate:g}", bench.dataset, replace(bench.config, search_rate=rate), bench.initial)
        searched = [_after_search(result.trained, bench.config.search_epochs) for result in results]
        rows.append([f"{rate:g}", mean_and_range(searched), *_accuracies(results)])
    return study_of(
        bench,
        "lr",
        f"Learning-rate study: rate of the first {bench.config.search_epochs} epochs, then "
        f"{bench.config.learning_rate:g}",
        ["search rate", "val accuracy after search", "train accuracy", "val accuracy", "test accuracy"],
        rows,
    )


def start_study(bench: Bench, starts: dict[str, Path | str | None]) -> Study:
    """The same recipe from different weights."""
    rows = []
    for name, initial in starts.items():
        results = bench.run(name, bench.dataset, bench.config, initial)
        recalls = [mean_and_range([result.recall[finding] for result in results]) for finding in bench.dataset.findings]
        rows.append([name, *_accuracies(results), *recalls])
    return study_of(
        bench,
        "init",
        "What pretraining adds: the same recipe from other weights",
        [
            "start",
            "train accuracy",
            "val accuracy",
            "test accuracy",
            *(f"test recall, {finding}" for finding in bench.dataset.findings),
        ],
        rows,
    )


def study_of(bench: Bench, name: str, title: str, columns: list[str], rows: Sequence[Sequence[Cell]]) -> Study:
    """A finished study as a table, with what its trainings had in common."""
    count = len(bench.seeds)
    means = f"Mean (least to greatest) over {count} seeds. " if count > 1 else "One seed. "
    test = bench.dataset.splits.get("test")
    low, high = interval(round(len(test) * 0.7), len(test)) if test else (0.0, 1.0)
    note = (
        f"{means}Differences within the noise of {len(test) if test else 0} test films mean nothing: the 95 % interval "
        f"of an accuracy of .70 measured there is {low:.2f} to {high:.2f}."
    )
    provenance = {
        "recipe": bench.config.as_dict(),
        "seeds": list(bench.seeds),
        "data_digest": bench.dataset.digest,
        **({"auxiliary_digest": bench.auxiliary.digest} if bench.auxiliary else {}),
        "views": list(bench.dataset.views) or ["all"],
        "films": {split: films.counts() for split, films in bench.dataset.splits.items()},
    }
    return Study(
        study=name,
        title=title,
        columns=tuple(columns),
        rows=tuple(map(tuple, rows)),
        note=note,
        provenance=provenance,
    )


def mean_and_range(values: Sequence[float]) -> str:
    """Mean (least to greatest), three digits; of one value that alone."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def _divided(dataset: Dataset, shares: tuple[float, ...], seed: int) -> Dataset:
    pooled = [film for split in ("train", "val") for film in dataset.splits[split].records]
    test = dataset.splits.get("test")
    records = (*assign(pooled, shares=shares, seed=seed), *(test.records if test else ()))
    rows = np.concatenate([films.rows for name in SPLITS if (films := dataset.splits.get(name))])
    films = replace(dataset.splits["train"], rows=rows, records=records)
    return dataset_of(films, spec=dataset.spec, views=dataset.views, train_views=dataset.train_views)


def _measure(trained: Trained, dataset: Dataset, device: torch.device) -> _Result:
    network = trained.network.to(device)
    accuracy, recall = {}, {}
    for split, films in dataset.splits.items():
        logits = predict(network, films.take, len(films), device=device)
        found = summary(logits.astype(np.float64), films.labels, films.findings)
        accuracy[split] = _number(found.accuracy)
        if split == "test":
            recall = {finding: _number(found.recall[finding]) for finding in films.findings}
    network.to("cpu")
    return _Result(trained=trained, accuracy=accuracy, recall=recall or dict.fromkeys(dataset.findings, float("nan")))


def _number(share: Proportion) -> float:
    return float("nan") if share.value is None else share.value


def _accuracies(results: list[_Result]) -> list[str]:
    return [
        mean_and_range([result.accuracy.get(split, float("nan")) for result in results])
        for split in ("train", "val", "test")
    ]


def _after_search(trained: Trained, epochs: int) -> float:
    return max(epoch.validation_accuracy for epoch in trained.epochs if epoch.epoch <= epochs)
