"""Fine-tuning: films in, the best epoch's network out, chosen on the validation split and never on the test split."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.data.auxiliary import AuxiliaryFilms
from model.data.bundle_films import Advance
from model.data.dataset import Dataset, Films
from model.errors import DatasetError
from model.findings import FINDINGS
from model.training.candidates import Candidate, added, best_of, measure_batch_norm, validate
from model.training.loop import Checkpoint, Pass, copy_state, nothing, parameter_groups, pick_device
from model.training.material import Material, Shares, training_material, validation_material
from model.training.objective import Objective
from model.training.recipe import TrainConfig, side_at
from model.training.resnet import ChestResNet50
from model.training.trunk import begin


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch did."""

    member: int
    epoch: int
    learning_rate: float
    train_loss: float
    """As the films weigh, augmented, with dropout; of second heads, too."""
    validation_loss: float
    """As the films weigh."""
    validation_accuracy: float
    seconds: float
    best: bool
    """The best of its member so far."""

    def as_dict(self) -> dict[str, Any]:
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return rounded | {"seconds": round(self.seconds, 1)}


@dataclass(frozen=True, kw_only=True)
class Trained:
    network: ChestResNet50
    """On the CPU, in evaluation mode."""
    epochs: tuple[Epoch, ...]
    kept: str
    """Which weights these are, in words."""


def build(config: TrainConfig, initial: Path | str | None, findings: int = len(FINDINGS)) -> ChestResNet50:
    """A network to start from.

    Args:
        initial: None for random weights; "imagenet" for torchvision's (downloaded by torchvision); or a trunk file or
            a ResNet50's state dict, see `read_trunk`.

    Raises:
        DatasetError: the weights cannot be had, or do not fit.
    """
    start = begin(initial)
    torch.manual_seed(config.seed)
    network = ChestResNet50(findings, config.dropout, mean=start.mean, std=start.std)
    if start.state:
        network.trunk.load_state_dict(start.state)
    return network


def train(
    network: ChestResNet50,
    dataset: Dataset,
    config: TrainConfig,
    *,
    device: torch.device | None = None,
    auxiliary: AuxiliaryFilms | None = None,
    teacher: Shares | None = None,
    checkpoint: Checkpoint | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
    advance: Advance = nothing,
) -> Trained:
    """Fine-tune on split `train`, keep what is best on split `val`.

    Args:
        auxiliary: films of which those with a reading join, see `training_material`.
        teacher: [films of the training split, findings] probabilities, see `teacher.probabilities_of`.

    On the CPU the same seed gives the same weights, also when the training was interrupted and continued from its
    checkpoint; on CUDA some kernels add in a different order each time.

    Raises:
        DatasetError: a split is missing, a class has no training film, or the checkpoint is of another training.
    """
    films, measured = _split(dataset, "train"), _split(dataset, "val")
    material = training_material(films, config, auxiliary=auxiliary, teacher=teacher)
    validation = validation_material(measured, config, material.balance)
    device, checkpoint = device or pick_device("cpu"), checkpoint or Checkpoint(None, {})
    start, history, members = copy_state(network), list[Epoch](), list[Candidate]()
    saved = checkpoint.load()
    if saved:
        history = [Epoch(**epoch) for epoch in saved["history"]]
        members = [Candidate(**member) for member in saved["members"]]

    def keep(member: dict[str, Any] | None) -> None:
        checkpoint.save(
            {
                "history": [asdict(epoch) for epoch in history],
                "members": [vars(member) for member in members],
                "member": member,
            }
        )

    for number in range(len(members) + 1, config.members + 1):
        network.load_state_dict(start)
        member = _Member(network, material, validation, replace(config, seed=config.seed + number - 1), device)
        if saved and saved["member"]:
            member.restore(saved["member"])
        saved = None
        while member.epoch < config.epochs:
            done = member.one_epoch(number, advance)
            history.append(done)
            keep(member.state())
            report(done)
        members.append(member.finish(number))
        keep(None)
    best = best_of(network, members, material, validation, config, device)
    network.to("cpu").load_state_dict(best.state)
    return Trained(network=network.eval(), epochs=tuple(history), kept=best.name)


class _Member:
    """One fine-tuning: its optimiser, its schedule, and the best weights it has seen."""

    def __init__(
        self,
        network: ChestResNet50,
        material: Material,
        validation: Material,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.material, self.validation, self.device = config, material, validation, device
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(network, material, config, device)
        steps = -(-material.drawn // config.batch)
        groups = parameter_groups(
            self.objective, rate=_first_rate(config), head_rate=config.head_rate, trunk_decay=config.trunk_decay
        )
        self.factor = groups[0]["lr"] / _first_rate(config)
        optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.training = Pass(
            network=self.objective,
            optimiser=optimiser,
            schedule=_schedule(optimiser, config, steps),
            generator=torch.Generator().manual_seed(config.seed),
            device=device,
            batch=config.batch,
            augmentation=config.augmentation,
            clip=config.clip,
        )
        self.best: Candidate | None = None
        self.average: dict[str, Tensor] | None = None
        self.epoch = 0

    def one_epoch(self, number: int, advance: Advance) -> Epoch:
        started, config, network = time.monotonic(), self.config, self.network
        self.epoch += 1
        rate = float(self.training.schedule.get_last_lr()[0]) / self.factor
        order, side = self.material.order(self.training.generator), side_at(config.sizes, self.epoch)
        loss = self.training.run(order, self.material.take, self.objective.loss, advance, side)
        now = validate(network, self.validation, self.device, f"epoch {self.epoch}")
        best = now.beats(self.best, config.select)
        if best:
            self.best = now
        if config.schedule == "search" and self.epoch == config.search_epochs < config.epochs and self.best:
            network.load_state_dict(self.best.state)
        if self.epoch > config.epochs - config.average_last:
            self.average = added(self.average, copy_state(network))
        return Epoch(
            member=number,
            epoch=self.epoch,
            learning_rate=rate,
            train_loss=loss,
            validation_loss=now.loss,
            validation_accuracy=now.accuracy,
            seconds=time.monotonic() - started,
            best=best,
        )

    def finish(self, number: int) -> Candidate:
        """This member's best weights, named for its number when there are several."""
        config, best = self.config, self.best
        if self.average is not None:
            mean = {name: total / config.average_last for name, total in self.average.items()}
            self.network.load_state_dict(mean, strict=False)
            measure_batch_norm(self.network, self.material, self.device)
            name = f"mean of epochs {config.epochs - config.average_last + 1} to {config.epochs}"
            averaged = validate(self.network, self.validation, self.device, name)
            best = averaged if averaged.beats(best, config.select) else best
        if best is None:
            raise AssertionError("a member has at least one epoch")
        return replace(best, name=f"{best.name} of member {number}") if config.members > 1 else best

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "training": self.training.state(),
            "best": vars(self.best) if self.best else None,
            "average": self.average,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.average = state["epoch"], state["average"]
        self.training.restore(state["training"])
        self.best = Candidate(**state["best"]) if state["best"] else None


def _first_rate(config: TrainConfig) -> float:
    return config.search_rate if config.schedule == "search" and config.search_epochs else config.learning_rate


def _schedule(
    optimiser: torch.optim.Optimizer, config: TrainConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in optimiser.param_groups],
            total_steps=steps * config.epochs,
            pct_start=0.2,
        )
    later = config.learning_rate / _first_rate(config)
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1.0 if step < config.search_epochs * steps or not config.search_epochs else later
    )


def _split(dataset: Dataset, name: str) -> Films:
    films = dataset.splits.get(name)
    if films is None:
        raise DatasetError(f"split {name!r} lacks films of every class: no films")
    return films
