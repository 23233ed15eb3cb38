"""A source left out: nothing of it is trained or chosen on, and every normal film of it is measured."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from torch import nn  # noqa: E402

from model.data.auxiliary import AuxiliaryFilms, load_auxiliary  # noqa: E402
from model.data.dataset import Dataset  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.notice import NOTICE  # noqa: E402
from model.training import study  # noqa: E402
from model.training.recipe import TrainConfig  # noqa: E402
from model.training.source_study import Unseen, flagged, source_study, without  # noqa: E402
from model.training.study import Bench  # noqa: E402
from model.training.train import Trained  # noqa: E402
from tests.services import Xrayq  # noqa: E402
from tests.unit.model.data.test_auxiliary import write_auxiliary  # noqa: E402
from tests.unit.model.films import Row, dataset_for, prepare_films, rows_for, write_films  # noqa: E402
from tests.unit.model.small import Small  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

Given = tuple[Dataset, AuxiliaryFilms | None]
"""A prepared set and the films that join it."""


def rows() -> list[Row]:
    """Odd films are of b, which has no pneumonia; the others of a. One COVID-19 film is of c, alone."""
    made = rows_for({"train": 4, "val": 4, "test": 2})
    for row in made:
        number = int(row["image_id"][-1])
        row["source"] = "b" if number % 2 and row["label"] != "pneumonia" else "a"
    made[-1]["source"] = "c"
    return made


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_for(tmp_path_factory.mktemp("films"), rows())


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """The films that trainings of a study were given, on networks of a few weights."""
    seen: list[Given] = []
    train = study.train

    def recorded(network: Any, data: Dataset, config: TrainConfig, **options: Any) -> Trained:
        seen.append((data, options["auxiliary"]))
        return train(network, data, config, **options)

    monkeypatch.setattr(study, "build", lambda *_: Small())
    monkeypatch.setattr(study, "train", recorded)
    return seen


def bench(dataset: Dataset, **changes: Any) -> Bench:
    plain: dict[str, Any] = {"initial": None, "device": torch.device("cpu"), "seeds": (1,), "report": lambda _: None}
    return Bench(dataset=dataset, config=TrainConfig(epochs=1, batch=6, search_epochs=0), **plain | changes)


def test_nothing_of_the_source_is_trained_or_chosen_on(dataset: Dataset, trained_on: list[Given]) -> None:
    done = source_study(bench(dataset))
    assert [tuple(row[:2]) for row in done.rows] == [("b, left out", 5)]
    left = [{film.source for films in data.splits.values() for film in films.records} for data, _ in trained_on]
    assert left == [{"b", "c"}, {"a", "c"}]  # the first has no pneumonia and is refused
    assert "a cannot be left out: split 'train' lacks films of every class" in done.note
    assert done.columns == (
        "source",
        "normal films",
        "pneumonia flag",
        "covid19 flag",
        "any finding's flag",
        "not normal",
    )
    assert len(done.rows[0]) == len(done.columns)


def test_sources_of_no_training_are_measured_after_all_others(dataset: Dataset, trained_on: list[Given]) -> None:
    images = dataset.splits["test"].images
    done = source_study(bench(dataset, seeds=(1, 2)), [Unseen(source="x", images=images)], ["b"])
    assert [row[0] for row in done.rows] == ["b, left out", "x, in no training"]
    assert [data is dataset for data, _ in trained_on] == [False, False, True, True]
    assert "means over 2 seeds" in done.note
    assert "takes films as independent" in done.note
    assert "nothing of the scatter of seeds" in done.note
    with pytest.raises(DatasetError, match="no normal film of source 'c'"):
        source_study(bench(dataset), sources=["c"])


def test_auxiliary_films_of_the_source_do_not_join_its_training(
    dataset: Dataset, trained_on: list[Given], tmp_path: Path
) -> None:
    """All of them join where nothing is left out."""
    labels = {"a/1": "mass", "b/1": "mass", "b/2": "", "c/1": "", "b/3": "edema"}
    auxiliary = load_auxiliary([write_auxiliary(tmp_path, labels)], size=32)
    images = dataset.splits["test"].images
    source_study(bench(dataset, auxiliary=auxiliary), [Unseen(source="x", images=images)], ["b"])
    (_, joined), (_, every) = trained_on
    assert every is auxiliary
    assert joined is not None
    assert joined.sources == ("a", "c")
    assert joined.digest != auxiliary.digest
    own = [auxiliary.sources.index(source) for source in joined.sources]
    for name in ("images", "truth", "known"):
        assert np.array_equal(getattr(joined, name), getattr(auxiliary, name)[own])


def test_the_rest_of_a_set_is_the_set_without_the_source(dataset: Dataset) -> None:
    rest = without(dataset, "b")
    assert rest.digest != dataset.digest
    for split, films in rest.splits.items():
        own = dataset.splits[split].where(lambda film: film.source != "b")
        assert films.identifiers == own.identifiers
        assert np.array_equal(films.images, own.images)


class ByBrightness(nn.Module):
    """The brighter a film, the more COVID-19; the others are equal."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.float().mean((1, 2, 3)) / 10
        return torch.stack([torch.zeros_like(bright), torch.zeros_like(bright), bright], dim=1)


def test_shares_are_those_above_thresholds_of_the_validation_films(dataset: Dataset) -> None:
    films = dataset.splits["val"]
    dark = replace(films, store=np.zeros_like(films.store))
    made = replace(dataset, splits={"val": dark})
    images = np.repeat(np.array([0, 0, 0, 255], np.uint8), 32 * 32).reshape(4, 1, 32, 32)
    trained = Trained(network=ByBrightness(), epochs=(), kept="")  # type: ignore[arg-type]
    found = flagged(trained, images, made, torch.device("cpu"))
    assert found == {"pneumonia": 0.0, "covid19": 0.25, "any finding's flag": 0.25, "not normal": 0.25}


def test_xrayq_study_source(tmp_path: Path, trained_on: list[Given], xrayq: Xrayq) -> None:
    prepare_films(write_films(tmp_path / "raw", rows()), tmp_path / "runs/films")
    write_auxiliary(tmp_path / "aux", {f"open/{at}": "normal" if at else "mass" for at in range(4)})
    words = ["study", "source", "--epochs", "1", "--only", "b", "--unseen", "aux=open:normal", "--set", "batch=6"]
    code, out, problems = xrayq(*words, "--out", "runs/source.json")
    assert code == 0, problems
    result = json.loads((tmp_path / "runs" / "source.json").read_text())
    assert [row[:2] for row in result["rows"]] == [["b, left out", 5], ["open, in no training", 3]]
    assert result["study"] == "source"
    assert result["provenance"]["recipe"]["batch"] == 6
    assert "A hospital never seen" in out
    assert NOTICE in " ".join(out.split())
    for given, code, message in (
        (("--unseen", "aux"), 2, "--unseen aux: write it as FOLDER=source:label"),
        (("--unseen", "aux=open:cyst"), 2, "--unseen aux=open:cyst: no film has that label"),
        (("--unseen", "nowhere=a:b"), 3, "no such folder or file: nowhere"),
        (("--set", "colour=1"), 2, "--set 'colour=1'"),
    ):
        left, _, problems = xrayq("study", "source", *given)
        assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
