"""The same seed gives the same weights, and an interruption changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.data.dataset import Dataset  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.training.augment import Augmentation  # noqa: E402
from model.training.loop import Checkpoint, parameter_groups, shrunk  # noqa: E402
from model.training.recipe import HIDDEN_SOURCE, TrainConfig  # noqa: E402
from model.training.resnet import ChestResNet50  # noqa: E402
from model.training.train import Epoch, train  # noqa: E402
from tests.unit.model.small import Small, Stop, same, stopping, timeless  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPES = {
    "search": TrainConfig(epochs=5, batch=5, search_epochs=2, search_rate=0.05, learning_rate=0.01),
    "members": TrainConfig(
        epochs=3, batch=5, schedule="one_cycle", learning_rate=0.02, select="loss", average_last=2, members=2
    ),
    "everything": TrainConfig(
        epochs=3,
        batch=5,
        schedule="one_cycle",
        learning_rate=0.02,
        select="loss",
        sizes=((24, 1), (32, 2)),
        balance="source",
        reading_weight=0.5,
        group_dro=0.1,
        adversary_weight=0.5,
        head_rate=3.0,
        clip=1.0,
        augmentation=HIDDEN_SOURCE,
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


def test_rates_fall_with_depth_and_rise_for_heads() -> None:
    groups = parameter_groups(ChestResNet50(), rate=1e-3, head_rate=5.0, trunk_decay=0.5)
    sizes = {group["lr"]: sum(one.numel() for one in group["params"]) for group in groups}
    assert sorted(sizes) == pytest.approx([1e-3 / 16, 1e-3 / 8, 1e-3 / 4, 1e-3 / 2, 1e-3, 5e-3])
    assert sizes[5e-3] == 3 * 18432 + 3
    assert sum(sizes.values()) == sum(one.numel() for one in ChestResNet50().parameters())
    (alone,) = parameter_groups(ChestResNet50(), rate=1e-3)
    assert alone["lr"] == 1e-3


def test_films_are_shrunk_by_areas() -> None:
    films = torch.arange(16.0).view(1, 1, 4, 4)
    assert shrunk(films, 2).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert shrunk(films, 4) is films
