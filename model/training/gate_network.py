"""The gate's network and its training: view, turn and polarity of a film from one small trunk, in a few minutes on two
cores."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.data.bundle_films import Advance
from model.gate.network import OUTPUTS, TURNS, VIEWS
from model.gate.rims import RIMS, rimmed
from model.gate.training_films import GateFilms, others, view_weights
from model.training.augment import Augmentation, augment
from model.training.export import export_onnx
from model.training.loop import Pass, Rows, nothing, shuffled

WIDTHS = ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (96, 2), (128, 1))
"""Channels and stride of each convolution, from a film of half the input's side."""
VIEW, TURN, POLARITY = slice(0, 3), slice(3, 7), 7
"""Where the logits of VIEWS, of TURNS and of the polarity are."""
FEATURES_OF = (4, 6)
"""Layers whose means are the features that distances are measured in."""
SHRINK = 2
GROUP_FILMS = 600
"""About so many films give each group's centre, and all groups the covariance."""
RIDGE = 0.01
"""Added to the variances, in means of them: features that hardly vary do not decide alone."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Recipe. Written into the bundle."""

    epochs: int = 16
    batch: int = 52
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.3
    label_smoothing: float = 0.05
    others: int = 1400
    """Pictures that are no chest film, made once."""
    others_share: float = 0.3
    """So many of them in each epoch for each chest film."""
    turned: float = 0.35
    """Share of chest films shown turned."""
    inverted: float = 0.25
    """Share of chest films shown inverted."""
    rimmed: float = 0.4
    """Share of all pictures shown with rims of collimation."""
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            rotation=8.0, shift=0.06, zoom=0.1, shear=4.0, stretch=0.08, brightness=0.2, flip=0.0
        )
    )
    """Mirrored beforehand: to mirror a turned film would be to turn it the other way."""
    seed: int = 2020

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class GateEpoch:
    epoch: int
    loss: float
    seconds: float


class GateTrunk(nn.Module):
    """float [N, 1, S/2, S/2] in 0..255 -> logits [N, 3 + 4 + 1] of view, turn and polarity."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        layers, before = [], 1
        for number, (channels, stride) in enumerate(WIDTHS):
            side = 5 if number == 0 else 3
            convolution = nn.Conv2d(before, channels, side, stride, side // 2, bias=False)
            layers.append(nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU()))
            before = channels
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, len(VIEWS) + len(TURNS) + 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits_and_features(images)[0]

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values, means = (images - 127.5) / 64.0, []
        for number, layer in enumerate(self.layers):
            values = layer(values)
            if number in FEATURES_OF:
                means.append(values.mean(dim=(2, 3)))
        return cast(Tensor, self.head(self.dropout(means[-1]))), torch.cat(means, dim=1)


class ServedGate(nn.Module):
    """uint8 [N, 1, S, S] -> view [N, 3], turn [N, 4], inverted [N], distance [N]: what gate.onnx computes."""

    def __init__(self, trunk: GateTrunk, whiten: Tensor, centres: Tensor) -> None:
        """`whiten` [D, D] makes the features' covariance the identity; `centres` [groups, D] are whitened."""
        super().__init__()
        self.trunk = trunk
        self.register_buffer("whiten", whiten)
        self.register_buffer("centres", centres)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits, features = self.trunk.logits_and_features(functional.avg_pool2d(images.to(torch.float32), SHRINK))
        view, turn, inverted = logits[:, VIEW], logits[:, TURN], logits[:, POLARITY]
        away = (features @ cast(Tensor, self.whiten)).unsqueeze(1) - cast(Tensor, self.centres).unsqueeze(0)
        distance = away.square().sum(dim=2).min(dim=1).values.sqrt()
        return view.softmax(dim=1), turn.softmax(dim=1), inverted.sigmoid(), distance


def train_gate(
    films: GateFilms,
    config: GateConfig,
    out: Path,
    *,
    report: Callable[[GateEpoch], None] = lambda _: None,
    advance: Advance = nothing,
) -> None:
    """Train on chest films and on pictures that are none, and write gate.onnx.

    On one thread: the same films give the same network, and two threads were slower for so small a one (a step took
    0.08 s on one core, 0.5 s on two that others use too).

    A chest film's view is learned upright and of normal polarity; else, and where its view is not known, it only
    teaches that its view is not OTHER.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        served = _train(films, config, report, advance)
        export_onnx(served, out, films.images.shape[-1], OUTPUTS)
    finally:
        torch.set_num_threads(threads)


def _train(films: GateFilms, config: GateConfig, report: Callable[[GateEpoch], None], advance: Advance) -> "ServedGate":
    torch.manual_seed(config.seed)
    random = np.random.default_rng(config.seed)
    chest, count = half_size(films.images), len(films.images)
    weights = view_weights(films)
    teaches = weights > 0
    views, mean = np.where(teaches, films.views, -1), weights[teaches].mean() if teaches.any() else 1.0
    pictures = np.concatenate([chest, half_size(others(films.images, config.others, config.seed))])
    network = GateTrunk(config.dropout).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    each = count + int(config.others_share * count)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.learning_rate, total_steps=-(-each // config.batch) * config.epochs
    )
    training = Pass(
        network=network,
        optimiser=optimiser,
        schedule=schedule,
        generator=torch.Generator().manual_seed(config.seed),
        device=torch.device("cpu"),
        batch=config.batch,
        augmentation=config.augmentation,
    )
    weights = np.concatenate([weights / mean, np.ones(len(pictures) - count)])
    for epoch in range(1, config.epochs + 1):
        started = time.monotonic()
        turn = np.where(random.random(len(pictures)) < config.turned, random.integers(1, len(TURNS), len(pictures)), 0)
        inverted, mirrored = random.random(len(pictures)) < config.inverted, random.random(len(pictures)) < 0.5
        rim = np.where(random.random(len(pictures)) < config.rimmed, random.integers(len(RIMS), size=len(pictures)), -1)
        view = np.full(len(pictures), VIEWS.index("OTHER"))
        view[:count] = np.where((turn[:count] == 0) & ~inverted[:count], views, -1)

        def images_of(rows: Rows) -> NDArray[np.uint8]:
            return np.stack(
                [_shown(_in_rims(pictures[i], rim[i], random), turn[i], inverted[i], mirrored[i]) for i in rows]  # noqa: B023
            )

        def loss_of(logits: Tensor, rows: Rows) -> tuple[Tensor, float]:
            chest = rows < count
            return _loss(logits, view[rows], turn[rows], inverted[rows], chest, weights[rows], config), len(rows)  # noqa: B023

        chosen = count + random.choice(len(pictures) - count, each - count)
        order = np.concatenate([np.arange(count), chosen])[shuffled(each, training.generator)]
        loss = training.run(order, images_of, loss_of, advance)
        report(GateEpoch(epoch=epoch, loss=loss, seconds=time.monotonic() - started))
    return ServedGate(network, *_groups(network, chest[:: max(1, count // GROUP_FILMS)], config))


def half_size(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, 1, S, S] -> [N, 1, S/2, S/2], means of 2 x 2."""
    parts = torch.split(torch.from_numpy(images), 512)  # all at once as floats would be four times the films
    halves = [functional.avg_pool2d(part.to(torch.float32), SHRINK).round().to(torch.uint8) for part in parts]
    return torch.cat(halves).numpy()


def _in_rims(image: NDArray[np.uint8], number: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """[1, S, S] in rims of this one of RIMS; as it is where that is -1."""
    return image if number < 0 else rimmed(image[0], list(RIMS.values())[number], random)[None]


def _shown(image: NDArray[np.uint8], turn: int, inverted: bool, mirrored: bool) -> NDArray[np.uint8]:
    """[1, S, S] mirrored, turned by `turn` quarters counter-clockwise, inverted."""
    image = image[:, :, ::-1] if mirrored else image
    image = np.rot90(image, turn, axes=(1, 2))
    return 255 - image if inverted else image


def _loss(
    logits: Tensor,
    view: NDArray[np.int64],
    turn: NDArray[np.int64],
    inverted: NDArray[np.bool_],
    chest: NDArray[np.bool_],
    weights: NDArray[np.float64],
    config: GateConfig,
) -> Tensor:
    of_view, of_turn, of_polarity = logits[:, VIEW], logits[:, TURN], logits[:, POLARITY]
    known, film = torch.from_numpy(view >= 0), torch.from_numpy(chest)
    target = torch.from_numpy(view).clamp(min=0)
    each = functional.cross_entropy(of_view, target, label_smoothing=config.label_smoothing, reduction="none")
    weight = torch.from_numpy(weights).to(torch.float32)
    named = (each * weight)[known].sum() / weight[known].sum().clamp(min=1e-6)
    unnamed = of_view[film & ~known].log_softmax(dim=1)[:, :2].logsumexp(dim=1)
    turned = functional.cross_entropy(of_turn[film], torch.from_numpy(turn)[film])
    polarity = torch.from_numpy(inverted).to(torch.float32)[film]
    black = functional.binary_cross_entropy_with_logits(of_polarity[film], polarity)
    return named - 0.5 * unnamed.sum() / max(len(unnamed), 1) + turned + 0.5 * black


@torch.inference_mode()
def _groups(network: GateTrunk, chest: NDArray[np.uint8], config: GateConfig) -> tuple[Tensor, Tensor]:
    """Whitening matrix and whitened centres of the training films' features, a group for each turn and polarity, with
    rims and without."""
    network.eval()
    generator = torch.Generator().manual_seed(config.seed)
    random = np.random.default_rng(config.seed)
    in_rims = np.stack([_in_rims(film, number % len(RIMS), random) for number, film in enumerate(chest)])
    centres, rest = [], []
    for films, turn, inverted in product((chest, in_rims), range(len(TURNS)), (False, True)):
        images = torch.from_numpy(np.stack([_shown(film, turn, inverted, False) for film in films])).float()
        images = torch.cat([images, augment(images, generator, config.augmentation)])
        found = torch.cat([network.logits_and_features(part)[1] for part in torch.split(images, 256)])
        centres.append(found.mean(dim=0))
        rest.append(found - centres[-1])
    scatter = torch.cat(rest)
    covariance = scatter.T @ scatter / len(scatter)
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    whiten = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
    return whiten.contiguous(), torch.stack(centres) @ whiten
