"""In-domain pretraining of the trunk on an auxiliary set: supervised, multi-label, each film judged only on labels
its source reports."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.data.auxiliary import AuxiliaryFilms
from model.data.bundle_films import Advance
from model.errors import DatasetError
from model.training.augment import Augmentation
from model.training.loop import Checkpoint, Pass, Rows, nothing, parameter_groups, pick_device, shuffled
from model.training.recipe import HIDDEN_SOURCE, side_at
from model.training.resnet import PretrainingNetwork
from model.training.trunk import Trunk, begin, write_trunk


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Recipe of one pretraining run."""

    sizes: tuple[tuple[int, int], ...] = ((224, 40),)
    """Stages as (side, epochs), under one cycle of the learning rate."""
    batch: int = 64
    learning_rate: float = 1e-3
    """Of the trunk."""
    head_rate: float = 1.0
    """Learning rate of the head by the trunk's."""
    weight_decay: float = 0.05
    augmentation: Augmentation = HIDDEN_SOURCE
    seed: int = 2020

    @property
    def epochs(self) -> int:
        return sum(epochs for _, epochs in self.sizes)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PretrainEpoch:
    epoch: int
    loss: float
    """Mean binary cross entropy over known labels."""
    seconds: float


def pretrain(
    films: AuxiliaryFilms,
    config: PretrainConfig,
    *,
    initial: Path | str | None = None,
    out: Path,
    device: torch.device | None = None,
    checkpoint: Checkpoint | None = None,
    report: Callable[[PretrainEpoch], None] = lambda _: None,
    advance: Advance = nothing,
) -> tuple[PretrainEpoch, ...]:
    """Train and write the trunk to `out`, see `trunk.read_trunk`. Continues from its checkpoint.

    Args:
        initial: what the trunk begins with, as for `train.build`.

    Returns:
        Every epoch, those before an interruption too.

    Raises:
        DatasetError: nothing to learn from, or the checkpoint is of another training.
    """
    torch.manual_seed(config.seed)
    device, checkpoint = device or pick_device("cpu"), checkpoint or Checkpoint(None, {})
    informative, usable = teaching(films)
    if not len(usable):
        raise DatasetError("no label has films with it and films of the same source without it: nothing to learn from")
    start = begin(initial)
    network = PretrainingNetwork(len(informative), mean=start.mean, std=start.std)
    if start.state:
        network.trunk.load_state_dict(start.state)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = parameter_groups(network, rate=config.learning_rate, head_rate=config.head_rate)
    optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    steps = -(-len(usable) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=[group["lr"] for group in optimiser.param_groups],
        total_steps=steps * config.epochs,
        pct_start=0.15,
    )
    training = Pass(
        network=network,
        optimiser=optimiser,
        schedule=schedule,
        generator=torch.Generator().manual_seed(config.seed),
        device=device,
        batch=config.batch,
        augmentation=config.augmentation,
    )
    truth = torch.from_numpy(films.truth[:, informative]).to(device)
    known = torch.from_numpy(films.known[:, informative]).to(device)

    def loss_of(logits: Tensor, rows: Rows) -> tuple[Tensor, float]:
        at = torch.from_numpy(rows).to(device)
        losses = nn.functional.binary_cross_entropy_with_logits(logits, truth[at], reduction="none") * known[at]
        return losses.sum() / known[at].sum().clamp(min=1.0), float(films.known[rows][:, informative].sum())

    saved = checkpoint.load()
    history = [PretrainEpoch(**epoch) for epoch in saved["history"]] if saved else []
    if saved:
        training.restore(saved["training"])
    for epoch in range(len(history) + 1, config.epochs + 1):
        started = time.monotonic()
        order = usable[shuffled(len(usable), training.generator)]
        side = side_at(config.sizes, epoch)
        loss = training.run(order, lambda rows: films.images[rows], loss_of, advance, side)
        history.append(PretrainEpoch(epoch=epoch, loss=loss, seconds=time.monotonic() - started))
        checkpoint.save({"history": [asdict(one) for one in history], "training": training.state()})
        report(history[-1])
    write_trunk(out, Trunk(state=network.trunk.state_dict(), mean=start.mean, std=start.std))
    checkpoint.remove()
    return tuple(history)


def teaching(films: AuxiliaryFilms) -> tuple[list[int], Rows]:
    """Labels with positives and negatives among the films where they are known, and the films that have such a one.

    The others are left out: a source whose every film has the same label teaches nothing but the source.
    """
    share = (films.truth * films.known).sum(axis=0) / films.known.sum(axis=0).clip(min=1.0)
    labels = [int(index) for index in np.flatnonzero((share > 0) & (share < 1))]
    return labels, np.flatnonzero(films.known[:, labels].any(axis=1))
