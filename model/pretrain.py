"""In-domain pretraining of the trunk on an auxiliary set: supervised, multi-label, each film judged only on labels
its source reports."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model.augment import augment
from model.dataset import AuxiliaryFilms
from model.network import PretrainingNetwork


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Recipe of one pretraining run."""

    epochs: int = 8
    batch: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.02
    seed: int = 2020


@dataclass(frozen=True, kw_only=True)
class PretrainEpoch:
    epoch: int
    loss: float
    """Mean binary cross entropy over known labels."""
    seconds: float


def pretrain(
    films: AuxiliaryFilms, config: PretrainConfig, *, checkpoint: Path, report: Callable[[PretrainEpoch], None]
) -> None:
    """Train and write the trunk's state dict to `checkpoint` after every epoch (fp32, torch format)."""
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    informative = _informative_labels(films)
    usable = np.flatnonzero(films.known[:, informative].any(axis=1))
    network = PretrainingNetwork(len(informative)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = -(-len(usable) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.learning_rate, total_steps=steps * config.epochs, pct_start=0.15
    )
    loss_of = nn.BCEWithLogitsLoss(reduction="none")
    truth, known = torch.from_numpy(films.truth[:, informative]), torch.from_numpy(films.known[:, informative])
    for epoch in range(1, config.epochs + 1):
        started, total, weight = time.monotonic(), 0.0, 0.0
        network.train()
        order = usable[torch.randperm(len(usable), generator=generator).numpy()]
        for start in range(0, len(order), config.batch):
            rows = order[start : start + config.batch]
            images = augment(torch.from_numpy(films.images[rows]).float(), generator)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = network(images.contiguous(memory_format=torch.channels_last))
            loss = loss_of(logits.float(), truth[rows]) * known[rows]
            mean = loss.sum() / known[rows].sum().clamp(min=1.0)
            optimiser.zero_grad(set_to_none=True)
            mean.backward()
            optimiser.step()
            schedule.step()
            total, weight = total + float(loss.detach().sum()), weight + float(known[rows].sum())
        torch.save(network.trunk.state_dict(), checkpoint)
        report(PretrainEpoch(epoch=epoch, loss=total / max(weight, 1.0), seconds=time.monotonic() - started))


def _informative_labels(films: AuxiliaryFilms) -> list[int]:
    """Labels with positives and negatives among the films where they are known."""
    share = (films.truth * films.known).sum(axis=0) / films.known.sum(axis=0).clip(min=1.0)
    return [int(index) for index in np.flatnonzero((share > 0) & (share < 1))]
