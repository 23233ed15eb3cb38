"""What a training makes small: the findings' loss, and what else the features are asked while training.

Second heads are here and not in the network, so that nothing of them is kept or exported.
"""

from collections import Counter, defaultdict
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.training.loop import Rows
from model.training.losses import GroupWeights, known_cross_entropy, reversed_gradient, weighted_mean
from model.training.material import Material
from model.training.recipe import READINGS, TrainConfig
from model.training.resnet import HEAD_SIDE
from model.training.sampling import UNKNOWN

HIDDEN = 128


class Objective(nn.Module):
    """The network with the heads that the recipe asks for: images -> logits [N, findings + readings + sources], the
    second and third where they are on."""

    def __init__(self, network: Any, material: Material, config: TrainConfig, device: torch.device) -> None:
        """`network` has `features` [N, C, 3, 3] and `classify`, where second heads are asked for."""
        super().__init__()
        self.network, self.config, self.device = network, config, device
        self.findings, features = material.targets.shape[1], _features(network, config)
        names = sorted(set(material.sources))
        sources = np.array([names.index(source) for source in material.sources])
        self.reading = nn.Linear(features, len(READINGS)) if config.reading_weight else None
        self.source = _adversary(features, len(names)) if config.adversary_weight else None
        cells = sorted(set(zip(sources.tolist(), material.labels.tolist(), strict=True)))
        groups = {cell: at for at, cell in enumerate(cell for cell in cells if cell[1] != UNKNOWN)}
        self.groups = GroupWeights(len(groups), config.group_dro) if config.group_dro else None
        self.to(device)
        pairs = list(zip(sources.tolist(), material.labels.tolist(), strict=True))
        self.targets, self.weights = self._of(material.targets), self._of(material.weights.astype(np.float32))
        self.readings, self.sources = self._of(material.readings), self._of(sources)
        self.group_of = self._of(np.array([groups.get(pair, UNKNOWN) for pair in pairs]))
        self.telling = self._of(telling(pairs, np.ones(len(pairs)) if material.chances is None else material.chances))

    def forward(self, images: Tensor) -> Tensor:
        if self.reading is None and self.source is None:
            return cast(Tensor, self.network(images))
        features = self.network.features(images)
        found, pooled = [self.network.classify(features)], features.mean(dim=(2, 3))
        if self.reading is not None:
            found.append(self.reading(pooled))
        if self.source is not None:
            found.append(self.source(reversed_gradient(pooled, self.config.adversary_weight)))
        return torch.cat(found, dim=1)

    def loss(self, logits: Tensor, rows: Rows) -> tuple[Tensor, float]:
        """Of a batch, and its weight in an epoch's mean."""
        at, config = torch.from_numpy(rows).to(self.device), self.config
        logits, rest = logits[:, : self.findings], logits[:, self.findings :]
        losses = functional.cross_entropy(
            logits, self.targets[at], reduction="none", label_smoothing=config.label_smoothing
        )
        if self.groups is not None:
            total = self.groups(losses, self.weights[at], self.group_of[at])
        else:
            total = weighted_mean(losses, self.weights[at])
        if self.reading is not None:
            reading, rest = rest[:, : len(READINGS)], rest[:, len(READINGS) :]
            total = total + config.reading_weight * known_cross_entropy(reading, self.readings[at])
        if self.source is not None:
            total = total + known_cross_entropy(rest, self.sources[at], self.telling[at])
        return total, float(len(rows))

    def _of(self, values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def _adversary(features: int, sources: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, sources))


def _features(network: Any, config: TrainConfig) -> int:
    """Channels of the network's features; 0 where no second head needs them."""
    needed = config.reading_weight or config.adversary_weight
    return int(network.head.in_features) // HEAD_SIDE**2 if needed else 0


def telling(pairs: list[tuple[int, int]], drawn: NDArray[np.float64]) -> NDArray[np.float32]:
    """[N] weights of the source's loss. Each source of a finding counts alike, so that the finding itself tells
    nothing of the source and need not be hidden; films of a finding with one source, and of no finding, count 0.

    Args:
        pairs: [N] (source, label)
        drawn: [N] how often each film is drawn.
    """
    mass: dict[tuple[int, int], float] = defaultdict(float)
    for pair, often in zip(pairs, drawn.tolist(), strict=True):
        mass[pair] += often
    kinds = Counter(label for _, label in mass)
    return np.array([0.0 if pair[1] == UNKNOWN or kinds[pair[1]] < 2 else 1 / mass[pair] for pair in pairs], np.float32)
