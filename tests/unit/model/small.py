"""Networks of few weights, and what tests of training ask of them: rules that hold for any network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from model.findings import FINDINGS
from model.training import resnet
from model.training.recipe import TrainConfig
from model.training.train import Epoch
from tests.unit.model.conftest import THIN, WHOLE

SIDE = 161  # the least at which the head's 3 x 3 x 2048 still fits
TINY = TrainConfig(epochs=1, batch=6)


@contextmanager
def residual(blocks: tuple[int, ...] = THIN) -> Iterator[None]:
    """What makes a ResNet50 makes one of these blocks: as many outputs, of kernels a quarter as wide but in WHOLE.

    It is trained in float32: a CPU without bfloat16 takes seconds for a step in it. Small is trained in bfloat16.
    """

    def resnet50(weights: None) -> ResNet:
        return ResNet(Bottleneck, list(blocks), width_per_group=64 if blocks == WHOLE else 16)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "resnet50", resnet50)
        patch.setattr(torch, "autocast", lambda *_, **_choices: nullcontext())
        yield


class Small(nn.Module):
    """A network with all that training touches: convolution, batch norm, dropout, a head."""

    def __init__(self, dropout: float = 0.4) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 5, stride=3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3))
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(8 * 9, len(FINDINGS))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images.float() / 255 - 0.5)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(features.flatten(1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(images))


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])


def timeless(epochs: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in epochs]


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


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, weights_only=True)["trunk"])
