"""Training: the rules of what is kept, of weights and of where it starts.

Tested on networks of a few weights, because they hold for any; a ResNet is trained in test_train_command.py.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from torch import nn  # noqa: E402

from model.data.dataset import Dataset, load_dataset  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.findings import FINDINGS  # noqa: E402
from model.training.loop import pick_device, predict  # noqa: E402
from model.training.recipe import PRESETS, TrainConfig  # noqa: E402
from model.training.sampling import class_weights  # noqa: E402
from model.training.train import Epoch, Trained, build, train  # noqa: E402
from tests.unit.model.films import dataset_for, prepare_films, rows_for, write_films, write_metadata  # noqa: E402
from tests.unit.model.small import TINY, Small, same  # noqa: E402
from worker.cli import train as command  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Scripted(nn.Module):
    """A network whose only state is a place that each training batch moves by `step`; on validation films it is right
    as often and as surely as `script` says of the place: (films right, margin of the logits)."""

    def __init__(self, dataset: Dataset, script: Callable[[float], tuple[int, float]], step: Any = lambda: 1.0) -> None:
        super().__init__()
        self.labels = torch.from_numpy(dataset.splits["val"].labels)
        self.script, self.step = script, step
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("place", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.place += self.step()
            return self.weight.expand(len(images), 3)
        right, margin = self.script(float(self.place))
        called = torch.where(torch.arange(len(self.labels)) < right, self.labels, (self.labels + 1) % 3)
        return margin * nn.functional.one_hot(called, 3).float()


# what is kept


def scripted(
    dataset: Dataset,
    config: TrainConfig,
    script: dict[float, tuple[int, float]],
    step: Callable[[], float] = lambda: 1.0,
) -> tuple[Trained, list[float]]:
    """The training, and the network's place when each epoch is reported. One batch is one epoch."""
    places: list[float] = []
    network = Scripted(dataset, lambda place: script[round(place, 3)], step)
    config = replace(config, batch=len(dataset.splits["train"]))
    trained = train(network, dataset, config, report=lambda _: places.append(float(network.place)))
    return trained, places


# Epoch 1 is right most often but badly wrong once, 3 as often and less wrong; 2 has the least loss.
QUALITY = {1.0: (5, 8.0), 2.0: (4, 0.5), 3.0: (5, 6.0), 4.0: (3, 0.1)}


@pytest.mark.parametrize(
    ("select", "kept", "best"), [("accuracy", 3, [True, False, True, False]), ("loss", 2, [True, True, False, False])]
)
def test_the_best_epoch_is_kept(dataset: Dataset, select: str, kept: int, best: list[bool]) -> None:
    config = replace(TINY, epochs=4, schedule="one_cycle", select=select)
    trained, _ = scripted(dataset, config, QUALITY)
    assert (trained.kept, float(trained.network.place)) == (f"epoch {kept}", kept)
    assert [epoch.best for epoch in trained.epochs] == best
    assert [epoch.validation_accuracy for epoch in trained.epochs] == pytest.approx(
        [5 / 6, 4 / 6, 5 / 6, 3 / 6], abs=1e-4
    )
    losses = [epoch.validation_loss for epoch in trained.epochs]
    for loss, (right, margin) in zip(losses, QUALITY.values(), strict=True):
        sure = np.log(1 + 2 * np.exp(-margin))
        assert loss == pytest.approx((right * sure + (6 - right) * (sure + margin)) / 6, abs=1e-5)


def test_the_search_goes_back_to_its_best_epoch(dataset: Dataset) -> None:
    """Of places 1, 2, 3 the second is best, so that the fourth epoch starts there and comes to 3 again."""
    script = {1.0: (3, 1.0), 2.0: (5, 1.0), 3.0: (4, 1.0), 4.0: (4, 1.0), 5.0: (6, 1.0)}
    config = replace(TINY, epochs=6, search_epochs=3, search_rate=5e-4, learning_rate=1e-4)
    trained, places = scripted(dataset, config, script)
    assert places == [1, 2, 2, 3, 4, 5]
    assert [epoch.learning_rate for epoch in trained.epochs] == pytest.approx([5e-4] * 3 + [1e-4] * 3)
    assert trained.kept == "epoch 6"


@pytest.mark.parametrize(("search_epochs", "rates"), [(0, [1e-4] * 4), (1, [5e-4] + [1e-4] * 3), (4, [5e-4] * 4)])
def test_rates_of_the_search(dataset: Dataset, search_epochs: int, rates: list[float]) -> None:
    trained = train(Small(), dataset, replace(TINY, epochs=4, batch=5, search_epochs=search_epochs))
    assert [epoch.learning_rate for epoch in trained.epochs] == pytest.approx(rates)


def test_a_search_to_the_very_end_has_nothing_to_go_back_for(dataset: Dataset) -> None:
    script = {1.0: (5, 1.0), 2.0: (4, 1.0), 3.0: (3, 1.0)}
    trained, places = scripted(dataset, replace(TINY, epochs=3, search_epochs=3), script)
    assert (places, trained.kept) == ([1, 2, 3], "epoch 1")


def test_one_cycle_rises_and_falls(dataset: Dataset) -> None:
    config = replace(TINY, epochs=10, batch=6, schedule="one_cycle", learning_rate=0.01)
    rates = [epoch.learning_rate for epoch in train(Small(), dataset, config).epochs]
    peak = rates.index(max(rates))
    assert peak in (1, 2)  # a fifth of the steps
    assert max(rates) == pytest.approx(0.01, rel=0.2)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] < 0.001
    assert rates[-1] < 0.001


@pytest.mark.parametrize(
    ("script", "kept", "place"),
    [
        ({1.0: (3, 1.0), 2.0: (4, 1.0), 3.0: (5, 1.0), 2.5: (6, 1.0)}, "mean of epochs 2 to 3", 2.5),
        ({1.0: (3, 1.0), 2.0: (4, 1.0), 3.0: (5, 1.0), 2.5: (4, 1.0)}, "epoch 3", 3.0),
        ({1.0: (6, 1.0), 2.0: (4, 1.0), 3.0: (5, 1.0), 2.5: (6, 1.0)}, "epoch 1", 1.0),
    ],
    ids=["better", "worse", "equal"],
)
def test_the_mean_of_the_last_epochs_competes(
    dataset: Dataset, script: dict[float, tuple[int, float]], kept: str, place: float
) -> None:
    trained, _ = scripted(dataset, replace(TINY, epochs=3, schedule="one_cycle", average_last=2), script)
    assert (trained.kept, float(trained.network.place)) == (kept, place)


@pytest.mark.parametrize(
    ("middle", "kept", "place"),
    [(6, "mean of 2 members", 2.0), (4, "epoch 1 of member 2", 3.0), (5, "epoch 1 of member 2", 3.0)],
    ids=["better", "worse", "equal"],
)
def test_the_mean_of_the_members_is_kept_only_if_it_is_better(
    dataset: Dataset, middle: int, kept: str, place: float
) -> None:
    """Both members start at 0, one comes to 1, the other to 3."""
    steps = iter((1.0, 3.0))
    script = {1.0: (4, 1.0), 3.0: (5, 1.0), 2.0: (middle, 1.0)}
    config = replace(TINY, members=2, schedule="one_cycle")
    trained, places = scripted(dataset, config, script, lambda: next(steps))
    assert places == [1.0, 3.0]
    assert (trained.kept, float(trained.network.place)) == (kept, place)


def test_members_differ_and_their_mean_is_their_mean(dataset: Dataset) -> None:
    config = replace(TINY, epochs=1, batch=4, schedule="one_cycle", learning_rate=0.01, members=2, select="loss")
    seen: list[dict[str, torch.Tensor]] = []
    network = Small()

    def report(_: Epoch) -> None:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})

    trained = train(network, dataset, config, report=report)
    assert [epoch.member for epoch in trained.epochs] == [1, 2]
    assert not torch.equal(seen[0]["head.weight"], seen[1]["head.weight"])
    state = trained.network.state_dict()
    if trained.kept.startswith("mean"):
        assert torch.allclose(state["head.weight"], (seen[0]["head.weight"] + seen[1]["head.weight"]) / 2)
    else:
        number = int(trained.kept[-1])
        assert torch.equal(state["head.weight"], seen[number - 1]["head.weight"])


# weights of films and classes


def with_mined(folder: Path, mined: bool) -> Dataset:
    """Films read by somebody, with or without others whose labels were mined from reports."""
    rows = rows_for({"train": 4, "val": 1})
    for row in rows:
        found = row["split"] == "train" and int(row["image_id"][-1]) >= 2
        row["label_basis"] = "nih_report_nlp" if found else "radiologist"
    write_films(folder / "raw", rows)
    write_metadata(folder / "raw", [row for row in rows if mined or row["label_basis"] == "radiologist"])
    prepare_films(folder / "raw", folder / "films")
    return load_dataset(folder / "films")


def test_report_mined_films_weigh_what_they_should(tmp_path: Path) -> None:
    plain, mined = with_mined(tmp_path / "a", mined=False), with_mined(tmp_path / "b", mined=True)
    config = replace(TINY, epochs=2, batch=3, schedule="one_cycle", learning_rate=0.01)

    def network(dataset: Dataset, weight: float) -> nn.Module:
        return train(Small(), dataset, replace(config, mined_weight=tuple((name, weight) for name in FINDINGS))).network

    without = network(plain, 1.0)
    assert same(network(mined, 0.0), without)
    assert same(network(plain, 0.3), without)  # nothing to weigh
    assert not same(network(mined, 1.0), without)
    assert not same(network(mined, 0.3), network(mined, 1.0))


def test_a_class_of_mined_films_alone_cannot_be_left_out(tmp_path: Path) -> None:
    rows = rows_for({"train": 1, "val": 1})
    rows[0]["label_basis"] = "nih_report_nlp"
    dataset = dataset_for(tmp_path, rows)
    train(Small(), dataset, replace(TINY, mined_weight=(("normal", 0.1),)))
    with pytest.raises(DatasetError, match=r"split 'train' lacks films of every class: .*'normal': 0"):
        train(Small(), dataset, replace(TINY, mined_weight=(("normal", 0.0),)))


@pytest.mark.parametrize(("power", "weights"), [(0.0, [1, 1, 1]), (1.0, [3 / 11, 6 / 11, 24 / 11])])
def test_class_weights(power: float, weights: list[float]) -> None:
    assert class_weights([8, 4, 1], power).tolist() == pytest.approx(weights, rel=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": "cosine"},
        {"select": "recall"},
        {"epochs": 0},
        {"batch": 0},
        {"members": 0},
        {"epochs": 2, "average_last": 3},
        {"average_last": -1},
    ],
    ids=str,
)
def test_impossible_recipes(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TrainConfig(**wrong)


def test_every_preset_is_explained() -> None:
    assert set(PRESETS) == set(command.PRESETS)
    paper = PRESETS["paper"]
    assert (paper.epochs, paper.search_epochs, paper.search_rate, paper.learning_rate) == (30, 4, 5e-4, 1e-4)
    assert paper.augmentation.brightness == 0.0


# what is missing


@pytest.mark.parametrize(
    ("splits", "message"),
    [({"train": 1}, "split 'val' lacks films"), ({"val": 1}, "split 'train' lacks films")],
)
def test_missing_split_is_named(tmp_path: Path, splits: dict[str, int], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        train(Small(), dataset_for(tmp_path, rows_for(splits)), TINY)


@pytest.mark.parametrize("split", ["train", "val"])
def test_class_without_films_is_named(tmp_path: Path, split: str) -> None:
    rows = [row for row in rows_for({"train": 1, "val": 1}) if row["image_id"] != f"{split}-covid19-0"]
    with pytest.raises(DatasetError, match=rf"split '{split}' lacks films of every class: .*'covid19': 0"):
        train(Small(), dataset_for(tmp_path, rows), TINY)


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("mps", "gpu", "", "cpu2"):
        with pytest.raises(DatasetError, match=f"no device '{name}': use auto, cpu or cuda"):
            pick_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_no_gpu(name: str) -> None:
    with pytest.raises(DatasetError, match="no CUDA device here: use --device cpu"):
        pick_device(name)


def test_predict_is_of_each_film_alone(dataset: Dataset) -> None:
    films, network = dataset.splits["train"], Small()
    every = predict(network, films.take, len(films))
    assert (every.dtype, every.shape) == (np.float32, (12, 3))
    assert np.allclose(predict(network, films.take, len(films), batch=5), every, atol=1e-5)
    assert np.allclose(predict(network, films.take, 4), every[:4], atol=1e-5)
    assert not network.training


# where training starts


def test_a_trunk_and_a_torchvision_file_both_start_a_training(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    plain, theirs = build(TINY, None), resnet50()
    torch.save(theirs.state_dict(), tmp_path / "resnet50.pth")
    torch.save({name: value for name, value in theirs.state_dict().items() if "fc." not in name}, tmp_path / "trunk.pt")
    for name in ("resnet50.pth", "trunk.pt"):
        started = build(TINY, tmp_path / name)
        state = started.trunk.state_dict()
        same_ones = [key for key in theirs.state_dict() if "fc." not in key and key != "conv1.weight"]
        assert all(torch.equal(state[key], theirs.state_dict()[key]) for key in same_ones)
        assert torch.allclose(state["conv1.weight"], theirs.conv1.weight.sum(1, keepdim=True))  # three equal channels
        assert torch.equal(started.head.weight, plain.head.weight)
        assert not torch.equal(started.trunk.conv1.weight, plain.trunk.conv1.weight)
    assert same(build(TINY, None), plain)
    assert not same(build(replace(TINY, seed=1), None), plain)


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    torch.save(build(TINY, None).state_dict(), tmp_path / "whole.pt")
    torch.save({1: torch.zeros(1)}, tmp_path / "numbers.pt")
    torch.save([1], tmp_path / "list.pt")
    (tmp_path / "garbage.pt").write_bytes(b"garbage")
    (tmp_path / "table.pt").write_text("image_id,file\n")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:10_000])
    for path in (*tmp_path.iterdir(), tmp_path / "missing.pt"):
        with pytest.raises(DatasetError, match=f"{path.name} does not hold a ResNet50 trunk") as error:
            build(TINY, path)
        assert "\n" not in str(error.value)


@pytest.mark.usefixtures("no_internet")
def test_imagenet_that_cannot_be_fetched_says_what_to_do() -> None:
    with pytest.raises(DatasetError) as error:
        build(TINY, "imagenet")
    text = str(error.value)
    assert text.startswith("cannot download torchvision's ImageNet weights (")
    assert "resnet50-11ad3fa6.pth elsewhere and give it as --init FILE" in text
    assert "\n" not in text
