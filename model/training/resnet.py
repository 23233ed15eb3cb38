"""The network: ResNet50 (He et al. 2015) with the head of the 2020 paper, on one grey channel."""

from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

HEAD_POOL = 2  # 7 x 7 x 2048 -> 3 x 3 x 2048, as the paper's AveragePooling2D
GREY_MEAN, GREY_STD = 0.449, 0.226  # means over channels of torchvision's ImageNet statistics


def fits(size: int) -> bool:
    """Whether films of this side come out of the trunk and the pool as the head's 3 x 3."""
    return -(-size // 32) // HEAD_POOL == 3


class Normalise(nn.Module):
    """uint8 or float [N, 1, H, W] in 0..255 -> float32 [N, 3, H, W] around zero.

    Part of the graph, so no caller forgets it.
    """

    def forward(self, images: Tensor) -> Tensor:
        values = (images.to(torch.float32) / 255.0 - GREY_MEAN) / GREY_STD
        return values.expand(-1, 3, -1, -1)


def trunk() -> nn.Sequential:
    """ResNet50 without its pooling and classifier: float [N, 3, H, W] -> [N, 2048, H/32, W/32]. Random weights."""
    network = resnet50(weights=None)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    layers = nn.Sequential()
    for name in names:
        layers.add_module(name, getattr(network, name))
    return layers


class ChestResNet50(nn.Module):
    """uint8 or float [N, 1, 224, 224] -> logits [N, findings]."""

    def __init__(self, findings: int = 3, dropout: float = 0.4) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.trunk = trunk()
        self.pool = nn.AvgPool2d(HEAD_POOL)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * 3 * 2048, findings)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(self.trunk(self.normalise(images)))
        return cast(Tensor, self.head(self.dropout(features.flatten(1))))


class PretrainingNetwork(nn.Module):
    """The same trunk under a global pool, so it trains at any resolution: [N, 1, H, W] -> [N, labels]."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.trunk = trunk()
        self.head = nn.Linear(2048, labels)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.trunk(self.normalise(images)).mean(dim=(2, 3))))
