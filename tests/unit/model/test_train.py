"""Training, small but whole: `xrayq train` on phantoms, and the same seed twice."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.bundle import MANIFEST, MODEL, file_digest, load  # noqa: E402
from model.dataset import AuxiliaryFilms, Dataset, load_dataset  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.findings import FINDINGS  # noqa: E402
from model.preprocess import PreprocessSpec  # noqa: E402
from model.pretrain import PretrainConfig, PretrainEpoch, pretrain  # noqa: E402
from model.train import Epoch, TrainConfig, build, predict, train  # noqa: E402
from tests.unit.model.films import rows_for, write_films  # noqa: E402
from worker.cli import main  # noqa: E402

SIDE = 192  # the least at which the head's 3 x 3 x 2048 still fits
TINY = TrainConfig(epochs=1, batch=6, average_last=0)


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


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = write_films(tmp_path_factory.mktemp("films"), rows_for({"train": 2, "val": 1}))
    return load_dataset(folder, spec=PreprocessSpec(size=SIDE))


def test_xrayq_train_makes_a_bundle_that_verifies(tmp_path: Path, xrayq: Xrayq) -> None:
    films = write_films(tmp_path / "films", rows_for({"train": 4, "val": 4, "test": 4}))
    words = ["train", str(films), "--out", "runs/first", "--preset", "ci", "--epochs", "1", "--seed", "7"]
    code, _, problems = xrayq(*words, "--limit", "2", "--version", "0.9.1")
    assert code == 0, problems
    bundle = load(tmp_path / "runs" / "first")
    assert (bundle.name, bundle.version, bundle.findings) == ("first", "0.9.1", FINDINGS)
    assert bundle.provenance["data_digest"] == load_dataset(films, spec=bundle.preprocess, limit=2).digest
    recipe = bundle.provenance["recipe"]
    assert {key: recipe[key] for key in ("epochs", "seed", "batch")} == {"epochs": 1, "seed": 7, "batch": 4}
    assert bundle.provenance["initial_weights"] == "random"
    assert bundle.provenance["views"] == ["PA"]
    assert bundle.provenance["films"]["train"] == dict.fromkeys(FINDINGS, 2)
    assert bundle.provenance["command"].startswith("xrayq train films --out first --preset ci")
    assert {split: metrics["films"] for split, metrics in bundle.metrics.items()} == {"train": 6, "val": 6, "test": 6}
    assert [point.finding for point in bundle.operating_points] == ["pneumonia", "covid19"]
    assert all(point.chosen_on.startswith("val:") and point.sensitivity >= 0.9 for point in bundle.operating_points)
    assert all(set(metrics["flags"]) == {"pneumonia", "covid19"} for metrics in bundle.metrics.values())
    for name in (MANIFEST, MODEL):
        assert str(tmp_path).encode() not in (bundle.path / name).read_bytes()

    code, out, problems = xrayq("bundle", "verify", "runs/first", "--json")
    assert code == 0, problems
    assert json.loads(out)["digest"] == bundle.digest
    code, out, problems = xrayq("bundle", "show", "runs/first")
    assert code == 0, problems
    assert "recall covid19" in " ".join(out.split())
    code, _, problems = xrayq(*words)
    assert (code, problems.count("\n"), "exists" in problems) == (2, 1, True)
    assert load(tmp_path / "runs" / "first") == bundle


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere",), 1, "metadata.csv is missing"),
        (("films", "--views", "LL"), 1, "no film of view LL"),
        (("films", "--preset", "big"), 2, "--preset is one of default, ci"),
        (("films", "--init", "films/metadata.csv"), 1, "does not hold a ResNet50 trunk"),
        (("films", "--init", "nowhere.pt"), 1, "does not hold a ResNet50 trunk"),
        (("films",), 1, "split 'val' lacks films of every class"),
    ],
)
def test_xrayq_train_says_what_is_wrong(
    tmp_path: Path, xrayq: Xrayq, words: tuple[str, ...], code: int, message: str
) -> None:
    write_films(tmp_path / "films", rows_for({"train": 1}))
    left, _, problems = xrayq("train", *words, "--out", "runs/x")
    assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
    assert not (tmp_path / "runs" / "x").exists()


def test_same_seed_gives_the_same_network(dataset: Dataset) -> None:
    images = dataset.splits["val"].images

    def logits(config: TrainConfig) -> np.ndarray:
        return predict(train(build(config, None), dataset, config).network, images)

    first = logits(TINY)
    assert np.isfinite(first).all()
    assert np.array_equal(logits(TINY), first)
    assert not np.array_equal(logits(replace(TINY, seed=1)), first)


def test_the_epoch_that_validates_best_is_kept(dataset: Dataset) -> None:
    config = replace(TINY, epochs=2)
    reports: list[Epoch] = []
    trained = train(build(config, None), dataset, config, report=reports.append)
    assert [epoch.epoch for epoch in reports] == [1, 2]
    assert trained.epochs == tuple(reports)
    losses = [epoch.validation_loss for epoch in reports]
    assert trained.best_epoch == 1 + int(np.argmin(losses))
    assert [epoch.best for epoch in reports] == [True, losses[1] < losses[0]]
    assert not trained.network.training


@pytest.mark.parametrize(
    ("splits", "message"),
    [({"train": 1}, "split 'val' lacks films"), ({"val": 1}, "split 'train' lacks films")],
)
def test_missing_split_is_named(tmp_path: Path, splits: dict[str, int], message: str) -> None:
    small = load_dataset(write_films(tmp_path, rows_for(splits)), spec=PreprocessSpec(size=SIDE))
    with pytest.raises(DatasetError, match=message):
        train(torch.nn.Identity(), small, TINY)


def test_class_without_films_is_named(tmp_path: Path) -> None:
    rows = [row for row in rows_for({"train": 1, "val": 1}) if row["image_id"] != "train-covid19-0"]
    small = load_dataset(write_films(tmp_path, rows), spec=PreprocessSpec(size=SIDE))
    with pytest.raises(DatasetError, match=r"split 'train' lacks films of every class: .*'covid19': 0"):
        train(torch.nn.Identity(), small, TINY)


def test_pretrained_trunk_starts_a_training(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    films = AuxiliaryFilms(
        images=random.integers(0, 256, (6, 1, 64, 64), np.uint8),
        truth=np.array([[1, 0], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0]], np.float32),
        known=np.ones((6, 2), np.float32),
        labels=("a:mass", "a:never"),
        digest="",
    )
    reports: list[PretrainEpoch] = []
    pretrain(films, PretrainConfig(epochs=1, batch=3), checkpoint=tmp_path / "trunk.pt", report=reports.append)
    assert [epoch.epoch for epoch in reports] == [1]
    assert np.isfinite(reports[0].loss)
    started, other = build(TINY, tmp_path / "trunk.pt"), build(TINY, None)
    kept = torch.load(tmp_path / "trunk.pt", weights_only=True)
    assert all(torch.equal(value, kept[name]) for name, value in started.trunk.state_dict().items())
    assert not torch.equal(started.trunk.conv1.weight, other.trunk.conv1.weight)
    assert len(file_digest(tmp_path / "trunk.pt")) == 64


def test_garbage_is_not_a_trunk(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "garbage.pt").write_bytes(b"garbage")
    torch.save([1], tmp_path / "list.pt")
    (tmp_path / "empty.pt").touch()
    for name in ("other.pt", "garbage.pt", "missing.pt", "list.pt", "empty.pt"):
        with pytest.raises(DatasetError, match=f"{name} does not hold a ResNet50 trunk"):
            build(TINY, tmp_path / name)
