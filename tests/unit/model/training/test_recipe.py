"""Recipes: stages of size, and changes by name."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.training.recipe import PRESETS, TrainConfig, changed, side_at

PAPER = PRESETS["paper"]


def test_stages_follow_one_another() -> None:
    sizes = ((128, 2), (160, 1))
    assert [side_at(sizes, epoch) for epoch in (1, 2, 3)] == [128, 128, 160]
    assert side_at((), 1) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("balance=source", {"balance": "source"}),
        ("learning_rate=1", {"learning_rate": 1.0}),
        ("batch=8", {"batch": 8}),
        ("sizes=[[160, 4], [224, 2]]", {"sizes": ((160, 4), (224, 2)), "epochs": 6}),
        ("mined_weight.pneumonia=0", {"mined_weight": (("pneumonia", 0.0),)}),
        ("source_weight.siim=0.3", {"source_weight": (("siim", 0.3),)}),
        ("augmentation.blur=0.5", {"augmentation": replace(PAPER.augmentation, blur=0.5)}),
    ],
)
def test_one_value_is_changed(change: str, expected: dict[str, Any]) -> None:
    assert changed(PAPER, [change]) == replace(PAPER, **expected)


def test_fewer_epochs_are_fewer_to_average() -> None:
    made = changed(PRESETS["reference"], ["sizes=[[160,1]]"])
    assert (made.epochs, made.average_last) == (1, 1)


def test_changes_add_up() -> None:
    made = changed(PAPER, ["mined_weight.pneumonia=0", "mined_weight.normal=0.5", "epochs=2", "seed=7"])
    assert made.as_dict()["mined_weight"] == {"normal": 0.5, "pneumonia": 0.0}
    assert (made.epochs, made.seed) == (2, 7)


@pytest.mark.parametrize(
    "change",
    [
        "balance",
        "colour=1",
        "batch=many",
        "batch=1.5",
        "balance=patient",
        "mined_weight=0",
        "batch.x=1",
        "augmentation.colour=1",
        "augmentation=1",
        "sizes=160",
        "epochs=0",
        "disagreement=2.0",
        "as_dict=1",
    ],
)
def test_impossible_changes_are_named(change: str) -> None:
    with pytest.raises(ValueError, match=change.split("=")[0].split(".")[0]):
        changed(PAPER, [change])


def test_recipes_can_be_compared_and_told() -> None:
    assert len({TrainConfig(), PAPER, *PRESETS.values()}) == len(PRESETS)
    assert all(isinstance(config.as_dict()["source_weight"], dict) for config in PRESETS.values())
