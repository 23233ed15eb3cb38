"""Networks that differ in their seed alone: what is refused, what is measured, and which one is chosen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model import bundle as bundles
from model.bundle import Bundle
from model.data.bundle_films import logits_of
from model.data.dataset import load_dataset
from model.engine.ort import OrtEngine
from model.errors import DatasetError
from model.notice import NOTICE
from model.stats.curves import roc_curve
from model.stats.summaries import summary
from model.training.recipe import PRESETS, TrainConfig, read_recipe
from model.training.seed_study import recipes_of, seed_study
from tests.services import Xrayq
from tests.unit.model.films import prepare_films, rows_for, write_films
from tests.unit.model.tiny import SIZE, tiny_bundle

RECIPE = TrainConfig(mined_weight=(("pneumonia", 0.0),), class_weight_power=0.0)


def network(folder: Path, seed: int, digest: str, **said: Any) -> Bundle:
    """A bundle of random weights that says it was trained with this seed."""
    made = tiny_bundle(folder / str(seed), seed)
    provenance = {"recipe": replace(RECIPE, seed=seed).as_dict(), "data_digest": digest, "views": ["PA"], **said}
    return bundles.derive(made, folder / f"seed{seed}", provenance=provenance)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of val and test AP; the first pneumonia of val mined from a report; six films of more."""
    made = rows_for({"train": 2, "val": 6, "test": 6})
    for row in made:
        number = int(row["image_id"][-1])
        row["view"] = "AP" if number % 2 else "PA"
        row["test_subset"] = "more" if row["split"] == "test" and number > 3 else ""
        row["label_basis"] = "nih_report_nlp" if row["image_id"] == "val-pneumonia-0" else "read by a person"
    folder = tmp_path_factory.mktemp("films")
    prepare_films(write_films(folder / "raw", made), folder / "films", size=SIZE, views=())
    return folder / "films"


@pytest.fixture(scope="module")
def made(films: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    digest = load_dataset(films, views=("PA",)).digest
    return [network(tmp_path_factory.mktemp("bundles"), seed, digest) for seed in (3, 1, 2)]


@pytest.mark.parametrize("config", [*PRESETS.values(), RECIPE])
def test_a_recipe_is_read_back(config: TrainConfig) -> None:
    assert read_recipe(config.as_dict()) == config
    assert read_recipe(json.loads(json.dumps(config.as_dict()))) == config
    with pytest.raises(ValueError, match="another release"):
        read_recipe(config.as_dict() | {"colour": 1})


def test_figures_are_those_of_the_films_and_the_least_loss_is_chosen(films: Path, made: list[Bundle]) -> None:
    done = seed_study(made, films, threads=1, report=lambda _: None)
    assert [row[1] for row in done.rows[::4]] == ["val", "test", "test, every view", "more, every view"]
    assert [row[2] for row in done.rows[::4]] == [9, 6, 12, 6]
    whole, chosen = load_dataset(films, views=()), load_dataset(films, views=("PA",))
    losses = {}
    for at, bundle in enumerate(sorted(made, key=lambda bundle: bundle.provenance["recipe"]["seed"])):
        engine = OrtEngine(bundle, threads=1)
        for part, rows in ((whole.splits["test"], done.rows[8:12]), (chosen.splits["test"], done.rows[4:8])):
            logits = logits_of(engine, part).astype(np.float64)
            found = summary(logits, part.labels, part.findings)
            chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            areas = [roc_curve(chances[:, n], part.labels == n, part.patients).auroc.value for n in range(3)]
            wanted = [found.accuracy.value, *(share.value for share in found.recall.values()), *areas]
            assert [float(str(cell)) for cell in rows[at][4:]] == pytest.approx(wanted, abs=6e-4)
        val = chosen.splits["val"]
        logits = logits_of(engine, val).astype(np.float64)
        by_film = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(9), val.labels]
        losses[bundle.provenance["recipe"]["seed"]] = by_film[[f.identifier != "val-pneumonia-0" for f in val.records]]
    means = {seed: float(by_film.mean()) for seed, by_film in losses.items()}
    assert [float(str(row[3])) for row in done.rows[:3]] == pytest.approx(list(means.values()), abs=6e-5)
    best = min(means, key=lambda seed: means[seed])
    names = [f"{seed}, chosen" if seed == best else f"{seed}" for seed in means]
    assert [row[0] for row in done.rows] == [*names, "all"] * 4
    assert {row[3] for row in done.rows[4:]} == {""}
    accuracies = [float(str(row[4])) for row in done.rows[:3]]
    mean, low, high = (float(part.strip("()")) for part in str(done.rows[3][4]).replace(" to ", " ").split())
    assert (low, high) == (min(accuracies), max(accuracies))
    assert mean == pytest.approx(np.mean(accuracies), abs=1e-3)
    assert "another prepared set" not in done.note


def test_only_the_seed_may_differ(made: list[Bundle], tmp_path: Path) -> None:
    plain = network(tmp_path, 9, made[0].provenance["data_digest"])
    assert {config.seed for config in recipes_of(made).values()} == {1, 2, 3}
    for said, words in (
        ({"recipe": replace(RECIPE, seed=9, dropout=0.1).as_dict()}, "more than the seed: dropout$"),
        ({"data_digest": "other", "initial_weights": "random"}, "more than the seed: films, start$"),
        ({"auxiliary_digest": "some", "train_views": ["AP"]}, "training views, auxiliary films$"),
        ({"recipe": replace(RECIPE, seed=3).as_dict()}, "has the seed 3 of another one"),
        ({"recipe": {}}, "does not say by which recipe"),
    ):
        other = replace(plain, provenance=plain.provenance | said)
        with pytest.raises(DatasetError, match=words):
            recipes_of([made[0], other])


def test_networks_of_another_set_are_said_to_be(films: Path, tmp_path: Path) -> None:
    strangers = [network(tmp_path, seed, "of another set") for seed in (1, 2)]
    done = seed_study(strangers, films, threads=1, report=lambda _: None)
    assert done.note.endswith("trained on another prepared set than this one.")


def test_xrayq_study_seeds(films: Path, made: list[Bundle], tmp_path: Path, xrayq: Xrayq) -> None:
    names = [str(bundle.path) for bundle in made]
    words = ["study", "seeds", *names, "--films", str(films), "--out", "runs/seeds.json"]
    code, out, problems = xrayq(*words)
    assert code == 0, problems
    assert "3 networks that differ in their seed alone" in out
    assert NOTICE in " ".join(out.split())
    result = json.loads((tmp_path / "runs/seeds.json").read_text())
    assert result["study"] == "seeds"
    assert result["provenance"]["seeds"] == [1, 2, 3]
    assert "/" not in result["provenance"]["command"].replace("runs/", "")
    for given, code, message in (
        (names[:1], 2, "name two bundles or more"),
        ([names[0], names[0]], 1, "has the seed 3 of another one"),
        ([names[0], str(made[0].path.parent / "3" / "tiny")], 1, "does not say by which recipe it was trained"),
    ):
        left, _, problems = xrayq("study", "seeds", *given, "--films", str(films))
        assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
