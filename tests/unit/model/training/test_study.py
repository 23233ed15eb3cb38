"""Studies: what changes between their rows, and what must not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.data.dataset import Dataset  # noqa: E402
from model.notice import NOTICE  # noqa: E402
from model.training import study  # noqa: E402
from model.training.recipe import TrainConfig  # noqa: E402
from model.training.study import Bench, rate_study, split_study, start_study  # noqa: E402
from tests.services import Xrayq  # noqa: E402
from tests.unit.model.films import dataset_for, prepare_films, rows_for, write_films  # noqa: E402
from tests.unit.model.small import Small  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

Calls = list[tuple[TrainConfig, Any, Dataset]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_for(tmp_path_factory.mktemp("films"), rows_for({"train": 6, "val": 4, "test": 3}))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every training a study starts, on networks of a few weights: what holds for them holds for any."""
    made: Calls = []
    train = study.train

    def recorded(network: Any, data: Dataset, config: TrainConfig, **options: Any) -> Any:
        made[-1] = (*made[-1][:2], data)
        return train(network, data, config, **options)

    def small(config: TrainConfig, initial: Any, findings: int) -> Small:
        made.append((config, initial, None))  # type: ignore[arg-type]
        return Small()

    monkeypatch.setattr(study, "build", small)
    monkeypatch.setattr(study, "train", recorded)
    return made


def bench(dataset: Dataset, **changes: Any) -> Bench:
    config = TrainConfig(epochs=2, batch=6, search_epochs=1)
    plain: dict[str, Any] = {"initial": None, "device": torch.device("cpu"), "seeds": (1,), "report": lambda _: None}
    return Bench(dataset=dataset, config=config, **plain | changes)


def patients(dataset: Dataset) -> dict[str, set[str]]:
    return {split: set(films.patients) for split, films in dataset.splits.items()}


def test_split_study_divides_the_same_films_by_patient(dataset: Dataset, calls: Calls) -> None:
    done = split_study(bench(dataset, seeds=(1, 2)))
    assert [row[0] for row in done.rows] == ["70/30", "60/40", "50/50"]
    assert len(calls) == 6
    before = patients(dataset)
    for at, (config, _, data) in enumerate(calls):
        now = patients(data)
        assert now["test"] == before["test"]
        assert not now["train"] & now["val"]
        assert now["train"] | now["val"] == before["train"] | before["val"]
        shares = [len(data.splits["train"]), len(data.splits["val"])]
        assert np.allclose(np.array(shares) / 30, ((0.7, 0.3), (0.6, 0.4), (0.5, 0.5))[at // 2], atol=0.05)
        assert config.seed == 1 + at % 2
        for films in data.splits.values():
            by_name = dict(zip(dataset_names(dataset), dataset_images(dataset), strict=True))
            for name, image in zip(films.identifiers, films.images, strict=True):
                assert np.array_equal(image, by_name[name])
    assert patients(calls[0][2])["train"] != patients(calls[1][2])["train"]


def dataset_names(dataset: Dataset) -> list[str]:
    return [name for films in dataset.splits.values() for name in films.identifiers]


def dataset_images(dataset: Dataset) -> list[Any]:
    return [image for films in dataset.splits.values() for image in films.images]


def test_rate_study_changes_the_search_rate_alone(dataset: Dataset, calls: Calls) -> None:
    one = bench(dataset)
    done = rate_study(one, rates=(1e-2, 1e-4))
    assert [row[0] for row in done.rows] == ["0.01", "0.0001"]
    assert [config.search_rate for config, _, _ in calls] == [1e-2, 1e-4]
    assert {replace(config, search_rate=1.0, seed=1) for config, _, _ in calls} == {
        replace(one.config, search_rate=1.0, seed=1)
    }
    assert all(data is dataset for _, _, data in calls)
    assert "0.0001" in done.title


def test_start_study_changes_the_weights_alone(dataset: Dataset, calls: Calls) -> None:
    done = start_study(bench(dataset), {"random": None, "trunk": Path("trunk.pt")})
    assert [row[0] for row in done.rows] == ["random", "trunk"]
    assert [initial for _, initial, _ in calls] == [None, Path("trunk.pt")]
    assert len({config for config, _, _ in calls}) == 1
    assert len(done.columns) == len(done.rows[0]) == 7
    # The same small network both times: the figures must agree, or something else changed.
    assert done.rows[0][1:] == done.rows[1][1:]


def test_means_come_with_their_range(dataset: Dataset, calls: Calls) -> None:
    one = start_study(bench(dataset), {"random": None})
    assert one.note.startswith("One seed.")
    assert all(0 <= float(cell) <= 1 for cell in one.rows[0][1:])
    two = start_study(bench(dataset, seeds=(1, 2)), {"random": None})
    assert two.note.startswith("Mean (least to greatest) over 2 seeds.")
    mean, low, high = (float(part.strip("()")) for part in two.rows[0][1].replace(" to ", " ").split())
    assert low <= mean <= high
    assert two.provenance["seeds"] == [1, 2]
    assert two.provenance["data_digest"] == dataset.digest
    json.dumps(vars(two))


def test_study_without_a_test_split_says_so_in_its_figures(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataset_for(tmp_path, rows_for({"train": 3, "val": 2}))
    done = split_study(bench(small))
    assert {row[-1] for row in done.rows} == {"nan"}


@pytest.mark.parametrize("which", ["split", "lr", "init"])
def test_xrayq_study(which: str, tmp_path: Path, calls: Calls, xrayq: Xrayq) -> None:
    prepare_films(write_films(tmp_path / "raw", rows_for({"train": 3, "val": 3, "test": 2})), tmp_path / "runs/films")
    words = ["study", which, "--epochs", "1", "--out", "runs/study.json"]
    words += ["--init", "random", "--init", "random"] if which == "init" else []
    code, out, problems = xrayq(*words)
    assert code == 0, problems
    result = json.loads((tmp_path / "runs" / "study.json").read_text())
    assert set(result) == {"study", "title", "columns", "rows", "note", "provenance"}
    assert result["study"] == which
    assert result["title"].split(":")[0] in out
    assert all(column in out for column in result["columns"])  # a file or pipe takes the whole width
    assert NOTICE in " ".join(out.split())
    assert result["provenance"]["command"] == f"xrayq {' '.join(words)}".replace("runs/", "")
    assert result["provenance"]["start"]
    assert str(tmp_path) not in json.dumps(result)
    code, _, problems = xrayq(*words)
    assert (code, problems.count("\n")) == (2, 1)
    assert "exists" in problems


def test_study_of_unprepared_films_says_what_to_do(xrayq: Xrayq) -> None:
    code, _, problems = xrayq("study", "lr")
    assert (code, problems.count("\n")) == (3, 1)
    assert "xrayq prepare" in problems
