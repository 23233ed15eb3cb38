"""The network: ResNet50 (He et al. 2015) with the head of the 2020 paper, on one grey channel."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50

HEAD_POOL, HEAD_SIDE = 2, 3  # 7 x 7 x 2048 -> 3 x 3 x 2048, as the paper's AveragePooling2D
GREY_MEAN, GREY_STD = 0.449, 0.226  # means over channels of torchvision's ImageNet statistics


def fits(size: int) -> bool:
    """Whether films of this side come out of the trunk and the pool as the head's 3 x 3."""
    return -(-size // 32) // HEAD_POOL == HEAD_SIDE


class Normalise(nn.Module):
    """uint8 or float [N, 1, H, W] in 0..255 -> float32 [N, 1, H, W], (grey / 255 - mean) / std.

    Part of the graph, so no caller forgets it.
    """

    def __init__(self, mean: float = GREY_MEAN, std: float = GREY_STD) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        return (images.to(torch.float32) / 255.0 - self.mean) / self.std


def trunk() -> nn.Sequential:
    """ResNet50 without its pooling and classifier: float [N, 1, H, W] -> [N, 2048, H/32, W/32]. Random weights."""
    network = resnet50(weights=None)
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    layers = nn.Sequential()
    for name in names:
        layers.add_module(name, getattr(network, name))
    return layers


class HeadPool(nn.Module):
    """[N, C, H, W] -> [N, C, 3, 3]: the paper's pool where films have a side that `fits`. At other sides, which
    training in stages passes through, the means of 3 x 3 parts."""

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[-1] // HEAD_POOL == HEAD_SIDE:
            return functional.avg_pool2d(maps, HEAD_POOL)
        return functional.adaptive_avg_pool2d(maps, HEAD_SIDE)


class ChestResNet50(nn.Module):
    """uint8 or float [N, 1, 224, 224] -> logits [N, findings]."""

    def __init__(
        self, findings: int = 3, dropout: float = 0.4, *, mean: float = GREY_MEAN, std: float = GREY_STD
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.trunk = trunk()
        self.pool = HeadPool()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * 3 * 2048, findings)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """[N, 2048, 3, 3], what the head sees."""
        return cast(Tensor, self.pool(self.trunk(self.normalise(images))))

    def classify(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.dropout(features.flatten(1))))

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))


class PretrainingNetwork(nn.Module):
    """The same trunk under a global pool, so it trains at any resolution: [N, 1, H, W] -> [N, labels]."""

    def __init__(self, labels: int, *, mean: float = GREY_MEAN, std: float = GREY_STD) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.trunk = trunk()
        self.head = nn.Linear(2048, labels)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.trunk(self.normalise(images)).mean(dim=(2, 3))))
