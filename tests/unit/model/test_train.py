"""Training: what is kept, what an interruption changes (nothing), and `xrayq train` as a whole on phantoms.

Rules are tested on networks of a few weights, because they hold for any; the ResNet50 is trained where it matters.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from torch import nn  # noqa: E402

from model.augment import Augmentation  # noqa: E402
from model.auxiliary import AuxiliaryFilms  # noqa: E402
from model.bundle import MANIFEST, MODEL, Bundle, file_digest, load  # noqa: E402
from model.dataset import Dataset, load_dataset  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.findings import FINDINGS  # noqa: E402
from model.loop import Checkpoint, pick_device, predict  # noqa: E402
from model.network import ChestResNet50  # noqa: E402
from model.presets import PRESETS  # noqa: E402
from model.pretrain import PretrainConfig, PretrainEpoch, pretrain  # noqa: E402
from model.train import Epoch, TrainConfig, Trained, build, class_weights, train  # noqa: E402
from tests.unit.model.films import dataset_for, prepare_films, rows_for, write_films, write_metadata  # noqa: E402
from tests.unit.model.test_auxiliary import write_auxiliary  # noqa: E402
from worker.cli import main  # noqa: E402
from worker.cli import train as command  # noqa: E402

SIDE = 161  # the least at which the head's 3 x 3 x 2048 still fits
TINY = TrainConfig(epochs=1, batch=6)


class Small(nn.Module):
    """A network with all that training touches: convolution, batch norm, dropout, a head."""

    def __init__(self, dropout: float = 0.4) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        )
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(8 * 9, len(FINDINGS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.layers(images.float() / 255 - 0.5)))


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


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve training and six validation films of 32 x 32."""
    return dataset_for(tmp_path_factory.mktemp("films"), rows_for({"train": 4, "val": 2}))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads wait for each other most of the time, in small networks or on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])


def timeless(epochs: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in epochs]


# the same seed, and interruptions


RECIPES = {
    "search": TrainConfig(epochs=5, batch=5, search_epochs=2, search_rate=0.05, learning_rate=0.01),
    "members": TrainConfig(
        epochs=3, batch=5, schedule="one_cycle", learning_rate=0.02, select="loss", average_last=2, members=2
    ),
}


@pytest.mark.parametrize("config", RECIPES.values(), ids=RECIPES)
def test_same_seed_same_weights(dataset: Dataset, config: TrainConfig) -> None:
    first = train(Small(), dataset, config)
    torch.rand(3)
    again, other = train(Small(), dataset, config), train(Small(), dataset, replace(config, seed=1))
    assert same(first.network, again.network)
    assert (timeless(first.epochs), first.kept) == (timeless(again.epochs), again.kept)
    assert not same(first.network, other.network)
    assert not first.network.training


class Stop(Exception):
    pass


def stopping(after: int) -> Callable[..., None]:
    """A callback that raises at its call of this number."""
    calls = []

    def stop(*_: Any) -> None:
        calls.append(1)
        if len(calls) == after:
            raise Stop

    return stop


@pytest.mark.parametrize("config", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("callback", ["report", "advance"])
def test_an_interruption_changes_nothing(tmp_path: Path, dataset: Dataset, config: TrainConfig, callback: str) -> None:
    """After each epoch, and within each: what comes out is the same to the bit."""
    whole = train(Small(), dataset, config)
    calls = config.epochs * config.members * (1 if callback == "report" else 3)
    for after in range(1, calls + 1):
        checkpoint = Checkpoint(tmp_path / f"{after}", {"recipe": config.as_dict(), "data": dataset.digest})
        with pytest.raises(Stop):
            train(Small(), dataset, config, checkpoint=checkpoint, **{callback: stopping(after)})
        torch.manual_seed(after)
        reported: list[Epoch] = []
        again = train(Small(), dataset, config, checkpoint=checkpoint, report=reported.append)
        assert same(again.network, whole.network), after
        assert (timeless(again.epochs), again.kept) == (timeless(whole.epochs), whole.kept)
        done = after if callback == "report" else (after - 1) // 3
        assert len(reported) == len(whole.epochs) - done  # no finished epoch is done again


def test_interrupted_twice(tmp_path: Path, dataset: Dataset) -> None:
    config = RECIPES["members"]
    checkpoint = Checkpoint(tmp_path / "c", {})
    for after in (2, 2, 1):
        with pytest.raises(Stop):
            train(Small(), dataset, config, checkpoint=checkpoint, report=stopping(after))
    assert same(train(Small(), dataset, config, checkpoint=checkpoint).network, train(Small(), dataset, config).network)


def test_a_finished_training_is_not_done_again(tmp_path: Path, dataset: Dataset) -> None:
    """The bundle may have failed after it."""
    checkpoint = Checkpoint(tmp_path / "c", {})
    first = train(Small(), dataset, RECIPES["members"], checkpoint=checkpoint)
    again = train(Small(), dataset, RECIPES["members"], checkpoint=checkpoint, report=stopping(1), advance=stopping(1))
    assert same(first.network, again.network)
    assert (first.epochs, first.kept) == (again.epochs, again.kept)


BELONGS = {"recipe": RECIPES["search"].as_dict(), "data": "d" * 64, "start": "random"}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"recipe": replace(RECIPES["search"], seed=1).as_dict()}, "recipe"),
        ({"recipe": replace(RECIPES["search"], augmentation=Augmentation(flip=0.0)).as_dict()}, "recipe"),
        ({"data": "e" * 64}, "data"),
        ({"start": "file, sha256 00", "data": ""}, "data, start"),
        ({"more": 1}, "more"),
    ],
    ids=str,
)
def test_only_the_same_training_continues(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    path = tmp_path / "x.checkpoint"
    Checkpoint(path, BELONGS).save({"epoch": 1})
    assert Checkpoint(path, dict(BELONGS)).load() == {"epoch": 1}
    with pytest.raises(DatasetError, match=rf"x\.checkpoint is of a training with another {named}: delete it"):
        Checkpoint(path, BELONGS | other).load()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda _: b"garbage",
    "text": lambda _: b"image_id,file\n",
    "middle": lambda content: content[:200] + bytes(100) + content[300:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.checkpoint"
    Checkpoint(path, BELONGS).save({"epoch": 1, "weights": torch.zeros(50)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=r"x\.checkpoint cannot be read .*: delete it to start again") as error:
        Checkpoint(path, BELONGS).load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [{"conv1.weight": torch.zeros(1)}, [1], {"belongs_to": 1}], ids=str)
def test_another_file_is_no_checkpoint(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.checkpoint")
    with pytest.raises(DatasetError, match="cannot be read"):
        Checkpoint(tmp_path / "x.checkpoint", BELONGS).load()


def test_a_checkpoint_comes_and_goes(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "x", BELONGS)
    assert checkpoint.load() is None
    for epoch in (1, 2):
        checkpoint.save({"epoch": epoch})
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
        assert checkpoint.load() == {"epoch": epoch}
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() is None


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
        return train(Small(), dataset, replace(config, report_mined_weight=weight)).network

    without = network(plain, 1.0)
    assert same(network(mined, 0.0), without)
    assert same(network(plain, 0.3), without)  # nothing to weigh
    assert not same(network(mined, 1.0), without)
    assert not same(network(mined, 0.3), network(mined, 1.0))


def test_a_class_of_mined_films_alone_cannot_be_left_out(tmp_path: Path) -> None:
    rows = rows_for({"train": 1, "val": 1})
    rows[0]["label_basis"] = "nih_report_nlp"
    dataset = dataset_for(tmp_path, rows)
    train(Small(), dataset, replace(TINY, report_mined_weight=0.1))
    with pytest.raises(DatasetError, match=r"split 'train' lacks films of every class: .*'normal': 0"):
        train(Small(), dataset, replace(TINY, report_mined_weight=0.0))


@pytest.mark.parametrize(("power", "weights"), [(0.0, [1, 1, 1]), (1.0, [3 / 11, 6 / 11, 24 / 11])])
def test_class_weights(tmp_path: Path, power: float, weights: list[float]) -> None:
    counts = {"normal": 8, "pneumonia": 4, "covid19": 1}
    rows = [row for row in rows_for({"train": 8}) if int(row["image_id"][-1]) < counts[row["label"]]]
    found = class_weights(dataset_for(tmp_path, rows).splits["train"], power)
    assert found.tolist() == pytest.approx(weights, rel=1e-5)


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
        assert all(torch.equal(state[key], value) for key, value in theirs.state_dict().items() if "fc." not in key)
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


@pytest.fixture
def no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing downloaded before, and a proxy where nobody listens."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.mark.usefixtures("no_internet")
def test_imagenet_that_cannot_be_fetched_says_what_to_do() -> None:
    with pytest.raises(DatasetError) as error:
        build(TINY, "imagenet")
    text = str(error.value)
    assert text.startswith("cannot download torchvision's ImageNet weights (")
    assert "resnet50-11ad3fa6.pth elsewhere and give it as --init FILE" in text
    assert "\n" not in text


# pretraining


def auxiliary(labels: tuple[str, ...] = ("a:mass", "a:never")) -> AuxiliaryFilms:
    """Six films; odd ones have the first label, none the others."""
    truth = np.zeros((6, len(labels)), np.float32)
    truth[::2, :1] = 1
    images = np.random.default_rng(1).integers(0, 256, (6, 1, 32, 32), np.uint8)
    return AuxiliaryFilms(images=images, truth=truth, known=np.ones_like(truth), labels=labels, digest="")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, weights_only=True))


class SmallPretraining(nn.Module):
    """As PretrainingNetwork, with few weights."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.trunk = Small().layers
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(8 * 9, labels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(images / 255 - 0.5))


def test_an_interrupted_pretraining_continues_as_if_nothing_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.pretrain.PretrainingNetwork", SmallPretraining)
    config = PretrainConfig(epochs=3, batch=4)
    whole: list[PretrainEpoch] = []
    pretrain(auxiliary(), config, out=tmp_path / "whole.pt", report=whole.append)
    expected = weights(tmp_path / "whole.pt")
    assert [epoch.epoch for epoch in whole] == [1, 2, 3]
    assert np.isfinite([epoch.loss for epoch in whole]).all()
    out, path = tmp_path / "trunk.pt", tmp_path / "trunk.pt.checkpoint"
    for callback, after, done in [
        *(("report", n, n) for n in (1, 2, 3)),
        *(("advance", n, (n - 1) // 2) for n in range(1, 7)),
    ]:
        checkpoint = Checkpoint(path, {"recipe": config.as_dict()})
        with pytest.raises(Stop):
            pretrain(auxiliary(), config, out=out, checkpoint=checkpoint, **{callback: stopping(after)})
        assert not out.exists()
        if path.exists():
            with pytest.raises(DatasetError, match="another recipe"):
                pretrain(auxiliary(), config, out=out, checkpoint=Checkpoint(path, {"recipe": {}}))
        torch.manual_seed(after)
        rest: list[PretrainEpoch] = []
        pretrain(auxiliary(), config, out=out, checkpoint=checkpoint, report=rest.append)
        assert [(epoch.epoch, epoch.loss) for epoch in rest] == [(epoch.epoch, epoch.loss) for epoch in whole[done:]]
        assert all(torch.equal(weights(out)[name], value) for name, value in expected.items())
        assert sorted(one.name for one in tmp_path.iterdir()) == ["trunk.pt", "whole.pt"]
        out.unlink()
    pretrain(auxiliary(), replace(config, seed=1), out=out)
    assert any(not torch.equal(weights(out)[name], value) for name, value in expected.items())


@pytest.mark.parametrize("labels", [("a:never",), ()], ids=str)
def test_nothing_to_learn_from(tmp_path: Path, labels: tuple[str, ...]) -> None:
    films = auxiliary(labels)
    films.truth[:] = 0
    with pytest.raises(DatasetError, match="no label has films with it and films of the same source without it"):
        pretrain(films, PretrainConfig(epochs=1), out=tmp_path / "trunk.pt")
    assert not (tmp_path / "trunk.pt").exists()


# the commands

Xrayq = Callable[..., tuple[int, str, str]]


@pytest.fixture
def xrayq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Xrayq:
    """The command as typed in tmp_path, in this process because torch takes seconds to import: code, out, err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in os.environ:
        if name.startswith("XRAYQ_"):
            monkeypatch.delenv(name)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xrayq", *words])
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        return (code if isinstance(code, int) else int(code is not None), *capsys.readouterr())

    return run


def test_prepare_and_train_in_ci_size(tmp_path: Path, xrayq: Xrayq) -> None:
    """As the README says, on 36 films: the loss goes down, and the bundle is whole."""
    write_films(tmp_path / "films", rows_for({"train": 6, "val": 3, "test": 3}))
    code, out, problems = xrayq("prepare", "films", "--json")
    assert code == 0, problems
    assert json.loads(out)["films"]["covid19"] == {"train": 6, "val": 3, "test": 3}
    code, out, problems = xrayq("train", "--preset", "ci", "--device", "cpu")
    assert code == 0, problems
    assert problems == ""
    bundle = load(tmp_path / "runs" / "bundle")
    losses = [epoch["train_loss"] for epoch in bundle.provenance["history"]]
    assert len(losses) == PRESETS["ci"].epochs
    assert losses[-1] < losses[0]
    assert f"kept: {bundle.provenance['kept']}" in out
    check_bundle(bundle, tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["bundle", "films"]

    code, out, problems = xrayq("bundle", "verify", "runs/bundle", "--json")
    assert code == 0, problems
    assert json.loads(out)["digest"] == bundle.digest
    code, out, problems = xrayq("bundle", "show", "runs/bundle")
    assert code == 0, problems
    assert "recall covid19" in " ".join(out.split())
    code, _, problems = xrayq("train", "--preset", "ci")
    assert (code, problems.count("\n"), "runs/bundle exists" in problems) == (2, 1, True)
    assert load(tmp_path / "runs" / "bundle") == bundle


def check_bundle(bundle: Bundle, folder: Path) -> None:
    """What anybody must be able to read out of a bundle, and what nobody may."""
    told, films = bundle.provenance, load_dataset(folder / "runs" / "films")
    assert (bundle.name, bundle.version, bundle.findings) == ("bundle", "0.1.0", FINDINGS)
    assert bundle.preprocess == films.spec
    assert told["data_digest"] == films.digest
    assert told["recipe"] == json.loads(json.dumps(PRESETS["ci"].as_dict()))
    assert told["recipe"]["seed"] == 2020
    assert (told["initial_weights"], told["device"]) == ("random", "CPU")
    assert (told["views"], told["train_views"]) == (["PA"], ["PA"])
    assert told["films"] == {name: part.counts() for name, part in films.splits.items()}
    assert told["command"] == "xrayq train --preset ci --device cpu"
    assert set(told["versions"]) >= {"python", "torch", "torchvision"}
    assert told["versions"]["torch"] == torch.__version__
    assert [epoch["epoch"] for epoch in told["history"]] == list(range(1, PRESETS["ci"].epochs + 1))
    assert {split: metrics["films"] for split, metrics in bundle.metrics.items()} == {"train": 18, "val": 9, "test": 9}
    assert [point.finding for point in bundle.operating_points] == ["pneumonia", "covid19"]
    assert all(point.chosen_on.startswith("val:") and point.sensitivity >= 0.9 for point in bundle.operating_points)
    assert all(set(metrics["flags"]) == {"pneumonia", "covid19"} for metrics in bundle.metrics.values())
    for name in (MANIFEST, MODEL):
        assert str(folder).encode() not in (bundle.path / name).read_bytes()


def test_resume(tmp_path: Path, xrayq: Xrayq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training stopped after its first epoch, and one that was not."""
    prepare_films(write_films(tmp_path / "raw", rows_for({"train": 2, "val": 2})), tmp_path / "films", size=SIDE)
    words = ["train", str(tmp_path / "films"), "--preset", "ci", "--epochs", "2", "--limit", "1", "--seed", "7"]
    words += ["--version", "0.9.1", "--device", "cpu", "--out"]
    code, out, problems = xrayq(*words, "whole")
    assert code == 0, problems
    assert "epoch   2  loss " in out
    save = Checkpoint.save

    def save_and_stop(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        save(checkpoint, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        code, _, problems = xrayq(*words, "again")
    assert code not in (0, 2)
    assert "Traceback" not in problems
    assert not (tmp_path / "again").exists()

    code, _, problems = xrayq(*words, "again")
    assert (code, problems.count("\n")) == (2, 1)
    assert "an interrupted run left again.checkpoint: --resume continues it, deleting it starts again" in problems
    code, _, problems = xrayq(*words, "again", "--resume", "--seed", "8")
    assert (code, problems.count("\n")) == (1, 1)
    assert "again.checkpoint is of a training with another recipe: delete it to start again" in problems
    code, _, problems = xrayq(*words, "again", "--resume", "--limit", "2")
    assert (code, "with another data: delete it" in problems) == (1, True)

    code, out, problems = xrayq(*words, "again", "--resume")
    assert code == 0, problems
    assert "epoch   1" not in out
    whole, again = load(tmp_path / "whole"), load(tmp_path / "again")
    assert file_digest(again.onnx) == file_digest(whole.onnx)
    histories = [[epoch | {"seconds": 0} for epoch in one.provenance["history"]] for one in (whole, again)]
    assert histories[0] == histories[1]
    assert (again.metrics, again.version) == (whole.metrics, "0.9.1")
    assert {key: again.provenance["recipe"][key] for key in ("epochs", "seed")} == {"epochs": 2, "seed": 7}
    assert again.provenance["films"]["train"] == dict.fromkeys(FINDINGS, 1)
    assert again.provenance["command"].startswith("xrayq train films --preset ci")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "films", "raw", "whole"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere",), 1, "nowhere is not a prepared set (prepared.json is missing): run 'xrayq prepare' first"),
        (("raw",), 1, "raw is not a prepared set"),
        (("films", "--views", "LL"), 1, "no film of view LL"),
        (("films", "--preset", "big"), 2, "--preset is one of paper, reference, ci"),
        (("films", "--device", "tpu"), 1, "no device 'tpu': use auto, cpu or cuda"),
        (("small",), 2, "small has films of side 32, the network takes 161 to 224: xrayq prepare --size 224"),
        (("films", "--init", "raw/metadata.csv"), 1, "does not hold a ResNet50 trunk"),
        (("films", "--init", "nowhere.pt"), 1, "nowhere.pt does not hold a ResNet50 trunk"),
        (("films", "--init", "imagenet"), 1, "give it as --init FILE"),
        (("films",), 1, "split 'val' lacks films of every class"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_internet")
def test_xrayq_train_says_what_is_wrong(
    tmp_path: Path, xrayq: Xrayq, words: tuple[str, ...], code: int, message: str
) -> None:
    raw = write_films(tmp_path / "raw", rows_for({"train": 1}))
    prepare_films(raw, tmp_path / "films", size=SIDE)
    prepare_films(raw, tmp_path / "small", size=32)
    left, _, problems = xrayq("train", *words, "--out", "runs/x")
    assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
    assert not list(tmp_path.glob("runs/*"))


def test_xrayq_pretrain_resumes(tmp_path: Path, xrayq: Xrayq, monkeypatch: pytest.MonkeyPatch) -> None:
    write_auxiliary(tmp_path / "aux", {f"a/{at}": "mass" if at % 2 else "" for at in range(4)})
    words = ("pretrain", "aux", "--size", "32", "--epochs", "2", "--batch", "4", "--device", "cpu", "--out")
    assert xrayq(*words, "whole.pt")[0] == 0
    save = Checkpoint.save

    def save_and_stop(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        save(checkpoint, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        assert xrayq(*words, "trunk.pt")[0] not in (0, 2)
    code, _, problems = xrayq(*words, "trunk.pt")
    assert (code, problems.count("\n"), "--resume continues it" in problems) == (2, 1, True)
    code, out, problems = xrayq(*words, "trunk.pt", "--resume")
    assert code == 0, problems
    assert ("epoch   1" in out, "epoch   2" in out) == (False, True)
    whole, found = weights(tmp_path / "whole.pt"), weights(tmp_path / "trunk.pt")
    assert all(torch.equal(found[name], value) for name, value in whole.items())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["aux", "trunk.pt", "trunk.pt.json", "whole.pt", "whole.pt.json"]
    told = command.pretraining_of("trunk.pt")
    assert told is not None
    assert told["weights"] == file_digest(tmp_path / "trunk.pt")
    (tmp_path / "trunk.pt.json").replace(tmp_path / "whole.pt.json")
    assert (command.pretraining_of("trunk.pt"), command.pretraining_of("imagenet")) == (None, None)
    assert isinstance(build(TINY, tmp_path / "trunk.pt"), ChestResNet50)
    code, _, problems = xrayq("pretrain", "nowhere")
    assert (code, problems.count("\n"), "metadata.csv is missing" in problems) == (1, 1, True)
