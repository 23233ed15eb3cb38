"""Fine-tuning: films in, the best epoch's network out, chosen on the validation split and never on the test split."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.augment import augment
from model.dataset import Dataset, Films
from model.errors import DatasetError, first_line
from model.findings import FINDINGS
from model.metrics import summary
from model.network import ChestResNet50


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe. Written into the bundle's provenance."""

    epochs: int = 14
    batch: int = 16
    learning_rate: float = 2e-4
    weight_decay: float = 0.02
    dropout: float = 0.4
    label_smoothing: float = 0.05
    class_weight_power: float = 0.7
    """Class weights are (1 / class share) to this power: 0 none, 1 fully balanced."""
    seed: int = 2020
    average_last: int = 4
    """The network kept is the mean of this many last epochs' weights if that validates better than any one epoch;
    0 off."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch did; `validation` is a `metrics.summary`."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation: dict[str, Any]
    seconds: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class Trained:
    network: ChestResNet50
    epochs: tuple[Epoch, ...]
    best_epoch: int


def build(config: TrainConfig, initial: Path | None) -> ChestResNet50:
    """A network with random weights, or with a trunk written by pretraining. Raises DatasetError if it does not fit."""
    torch.manual_seed(config.seed)
    network = ChestResNet50(len(FINDINGS), config.dropout)
    if initial:
        try:
            network.trunk.load_state_dict(torch.load(initial, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, TypeError, EOFError, UnpicklingError) as error:
            raise DatasetError(f"{initial} does not hold a ResNet50 trunk: {first_line(error)}") from error
    return network


def train(
    network: ChestResNet50, dataset: Dataset, config: TrainConfig, *, report: Callable[[Epoch], None] = lambda _: None
) -> Trained:
    """Fine-tune on split `train`, keep the epoch with the least validation loss on split `val`. Deterministic
    given the seed.

    Raises:
        DatasetError: a split is missing or a class has no training film.
    """
    films, validation = _split(dataset, "train"), _split(dataset, "val")
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = -(-len(films) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.learning_rate, total_steps=steps * config.epochs, pct_start=0.2
    )
    weights = _class_weights(films, config.class_weight_power)
    loss_of = nn.CrossEntropyLoss(weight=weights, label_smoothing=config.label_smoothing)
    history: list[Epoch] = []
    best_loss, best_state, best_epoch = float("inf"), _copy(network), 0
    average: dict[str, Tensor] | None = None
    for epoch in range(1, config.epochs + 1):
        started = time.monotonic()
        train_loss = _one_epoch(network, films, config.batch, generator, optimiser, schedule, loss_of)
        loss, scores = _validate(network, validation, weights)
        best = loss < best_loss
        if best:
            best_loss, best_state, best_epoch = loss, _copy(network), epoch
        done = Epoch(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=loss,
            validation=scores,
            seconds=time.monotonic() - started,
            best=best,
        )
        history.append(done)
        report(done)
        if config.average_last and epoch > config.epochs - config.average_last:
            average = _add(average, network)
    if average:
        network.load_state_dict({name: total / config.average_last for name, total in average.items()}, strict=False)
        loss, _ = _validate(network, validation, weights)
        if loss < best_loss:
            best_state, best_epoch = _copy(network), config.epochs
    network.load_state_dict(best_state)
    return Trained(network=network.eval(), epochs=tuple(history), best_epoch=best_epoch)


def predict(network: nn.Module, images: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """uint8 [N, 1, S, S] -> logits float32 [N, findings], in fp32."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(images[at : at + batch])).numpy() for at in range(0, len(images), batch)]
    return np.concatenate(parts).astype(np.float32)


def _one_epoch(
    network: nn.Module,
    films: Films,
    batch: int,
    generator: torch.Generator,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loss_of: nn.Module,
) -> float:
    network.train()
    order = torch.randperm(len(films), generator=generator).numpy()
    total = 0.0
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        images = augment(torch.from_numpy(films.images[rows]).float(), generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), torch.from_numpy(films.labels[rows]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        total += float(loss.detach()) * len(rows)
    return total / len(films)


def _validate(network: nn.Module, films: Films, weights: Tensor) -> tuple[float, dict[str, Any]]:
    logits = torch.from_numpy(predict(network, films.images))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(films.labels), weight=weights)
    return float(loss), summary(torch.softmax(logits, dim=1).double().numpy(), films.labels, FINDINGS)


def _split(dataset: Dataset, name: str) -> Films:
    films = dataset.splits.get(name)
    if films is None or 0 in films.counts().values():
        raise DatasetError(f"split {name!r} lacks films of every class: {films.counts() if films else 'no films'}")
    return films


def _class_weights(films: Films, power: float) -> Tensor:
    counts = np.array(list(films.counts().values()), float)
    weights = (counts.sum() / counts) ** power
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _add(total: dict[str, Tensor] | None, network: nn.Module) -> dict[str, Tensor]:
    state = {name: tensor for name, tensor in _copy(network).items() if tensor.is_floating_point()}
    return state if total is None else {name: total[name] + tensor for name, tensor in state.items()}
