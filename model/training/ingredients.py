"""What each ingredient of a recipe adds: the same training with one of them left out, a row each."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.data.dataset import Dataset, dataset_of
from model.errors import DatasetError
from model.json_value import ReadableJson
from model.study_table import Cell, Study
from model.training.loop import Rows, predict
from model.training.material import OPACITY
from model.training.recipe import changed
from model.training.study import Bench, mean_and_range, study_of
from model.training.study_figures import Column, measured, pooled

EVERYTHING = "everything"
HIDING = ("gamma", "collimation", "blur", "noise", "jpeg")
"""Of the augmentation: what hides where a film comes from. Films are moved with or without it."""
SAME = (
    "recipe",
    "data_digest",
    "auxiliary_digest",
    "views",
    "columns",
    "start",
    "pretrained_from",
    "held_out",
    "added",
)
"""What the trainings of one table have in common."""


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What the bench does not say."""

    pretrained_from: Path | str = ""
    """The weights that pretraining began with, as `build` takes them; "" where it is not said. Random weights
    have a row of their own."""
    added: str = ""
    """Name of the set whose films were added; "" for none."""


@dataclass(frozen=True, kw_only=True)
class Training(ReadableJson):
    """One training, measured."""

    row: str
    """Name in INGREDIENTS."""
    seed: int
    kept: str
    device: str
    figures: dict[str, float]
    """By title of the column."""


def without_added(dataset: Dataset, added: str) -> Dataset:
    """Without the training films of the set of this name; the films to choose and measure on stay as they are.

    Raises:
        DatasetError: no training film is of that set, or all are.
    """
    train = dataset.splits["train"]
    sets = sorted({film.set for film in train.records})
    if added not in sets or len(sets) == 1:
        raise DatasetError(f"training films are of {', '.join(filter(None, sets)) or 'one set'}: not {added!r} alone")
    parts = dataset.splits | {"train": train.where(lambda film: film.set != added)}
    films = pooled(list(parts.values()))
    return dataset_of(films, spec=dataset.spec, views=dataset.views, train_views=dataset.train_views)


def _pretraining(bench: Bench, extras: Extras) -> Bench:
    return bench if extras.pretrained_from == "" else replace(bench, initial=extras.pretrained_from)


def _auxiliary(bench: Bench, _: Extras) -> Bench:
    """The readings' head learns from the set's own films, too, and goes with them."""
    return replace(bench, config=replace(bench.config, reading_weight=0.0), auxiliary=None)


def _added(bench: Bench, extras: Extras) -> Bench:
    return replace(bench, dataset=without_added(bench.dataset, extras.added)) if extras.added else bench


def _recipe(*changes: str) -> Callable[[Bench, Extras], Bench]:
    return lambda bench, _: replace(bench, config=changed(bench.config, changes))


def _mined(bench: Bench, _: Extras) -> Bench:
    weighs = dict(bench.config.mined_weight).get(OPACITY, 1.0) != 1.0
    return replace(bench, config=changed(bench.config, [f"mined_weight.{OPACITY}=1"])) if weighs else bench


INGREDIENTS: dict[str, tuple[str, Callable[[Bench, Extras], Bench]]] = {
    EVERYTHING: (EVERYTHING, lambda bench, _: bench),
    "pretraining": ("without pretraining on chest films", _pretraining),
    "random": ("random weights", lambda bench, _: replace(bench, initial=None)),
    "auxiliary": ("without auxiliary films and readings", _auxiliary),
    "added": ("without the added films", _added),
    "balancing": ("without balancing", _recipe("balance=none")),
    "hiding": ("without hiding the source", _recipe(*(f"augmentation.{name}=0" for name in HIDING))),
    "mined": ("with mined pneumonias at weight 1", _mined),
}


def rows_of(bench: Bench, extras: Extras, only: Sequence[str] = ()) -> dict[str, Bench]:
    """What each row trains, by name; without those that would change nothing.

    Raises:
        DatasetError: a name of `only` would change nothing here.
    """
    made = {name: change(bench, extras) for name, (_, change) in INGREDIENTS.items() if not only or name in only}
    idle = [name for name, row in made.items() if name != EVERYTHING and _same(row, bench)]
    if only and idle:
        raise DatasetError(f"nothing to leave out for {', '.join(idle)}: this recipe and these films have none of it")
    return {name: row for name, row in made.items() if name not in idle}


def ingredient_study(
    bench: Bench,
    columns: Sequence[Column],
    rows: dict[str, Bench],
    record: dict[str, Any],
    *,
    done: Sequence[Training] = (),
    keep: Callable[[Study, Sequence[Training]], None] = lambda _table, _trainings: None,
) -> Study:
    """One row for each of `rows` whose trainings are done, those of `done` among them.

    Args:
        columns: what all are measured by.
        record: more of what the trainings have in common, for the provenance; `device` in words.
        done: trainings of a run that was stopped; they are not made again.
        keep: called after each training with the table so far and all trainings.
    """
    found = {(training.row, training.seed): training for training in done}
    for name, row in rows.items():
        for seed in bench.seeds:
            if (name, seed) not in found:
                found[name, seed] = _training(name, replace(row, seeds=(seed,)), columns, str(record.get("device")))
                trainings = tuple(found.values())
                keep(table_of(bench, columns, trainings, record), trainings)
    made = table_of(bench, columns, tuple(found.values()), record)
    keep(made, tuple(found.values()))  # a run that goes on with all done may ask for fewer seeds
    return made


def table_of(bench: Bench, columns: Sequence[Column], trainings: Sequence[Training], record: dict[str, Any]) -> Study:
    """A row for each ingredient that has been trained with every seed of the bench; arguments as above."""
    rows: list[list[Cell]] = []
    for name, (words, _) in INGREDIENTS.items():
        own = [training for training in trainings if training.row == name and training.seed in bench.seeds]
        if len(own) == len(bench.seeds):
            rows.append([words, *(mean_and_range([one.figures[column.title] for one in own]) for column in columns)])
    titles = [column.title for column in columns]
    made = study_of(bench, "ingredients", "What each ingredient adds: one left out at a time", ["", *titles], rows)
    stages = [f"{epochs} epochs at {side} pixels" for side, epochs in bench.config.sizes]
    note = (
        f"Each row was trained for {', then '.join(stages) or f'{bench.config.epochs} epochs'}: compare rows with each "
        "other, not with a network that was trained for longer. "
        "Each row chooses its weights on the validation films as its own recipe weighs them. val figures leave out the "
        "films that weigh nothing in the full recipe, in every row. val and test are of the views "
        f"{', '.join(bench.dataset.views) or 'all'}, more and the pairs of every view; a pair is ordered by the "
        "difference of the two logits. A pretrained trunk has seen what it was pretrained on."
    )
    devices = ", ".join(sorted({training.device for training in trainings}))
    provenance = made.provenance | record | {"columns": titles, "device": devices}
    return replace(made, note=f"{made.note} {note}", provenance=provenance)


def trainings_in(path: Path, provenance: dict[str, Any]) -> tuple[Training, ...]:
    """Those that a stopped run left in its file.

    Raises:
        DatasetError: the file is no such study's, or of one with other provenance.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        trainings = tuple(Training.read(training) for training in content["trainings"])
        before = content["provenance"]
        other = [name for name in SAME if before.get(name) != _through_json(provenance.get(name))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DatasetError(f"{path} is not what a study of ingredients left: choose another file") from None
    if other:
        raise DatasetError(f"{path} is of a study with other {', '.join(other)}: choose another file")
    return trainings


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _same(row: Bench, bench: Bench) -> bool:
    alike = row.config == bench.config and row.initial == bench.initial
    return alike and row.auxiliary is bench.auxiliary and row.dataset is bench.dataset


def _training(name: str, row: Bench, columns: Sequence[Column], device: str) -> Training:
    (trained,) = row.train(INGREDIENTS[name][0], row.dataset)
    network, store = trained.network.to(row.device), row.dataset.splits["train"].store

    def logits_of(rows: Rows) -> Any:
        return predict(network, lambda at: store[rows[at]], len(rows), device=row.device)

    figures = measured(columns, logits_of)
    network.to("cpu")
    row.report("  " + "; ".join(f"{title}: {value:.3f}" for title, value in figures.items()))
    return Training(row=name, seed=row.seeds[0], kept=trained.kept, device=device, figures=figures)
