"""Fine-tuning: films in, the best epoch's network out, chosen on the validation split and never on the test split."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.data.bundle_films import Advance
from model.data.dataset import Dataset, Films
from model.errors import DatasetError, first_line
from model.findings import FINDINGS, REPORT_MINED
from model.training.candidates import Candidate, added, best_of, class_weights, measure_batch_norm, validate
from model.training.loop import UNREADABLE, Checkpoint, Pass, Rows, copy_state, nothing, pick_device, shuffled
from model.training.recipe import TrainConfig
from model.training.resnet import ChestResNet50


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch did."""

    member: int
    epoch: int
    learning_rate: float
    train_loss: float
    """Class-weighted, on augmented films, with dropout."""
    validation_loss: float
    """Class-weighted."""
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


def build(config: TrainConfig, initial: Path | str | None, *, findings: int = len(FINDINGS)) -> ChestResNet50:
    """A network to start from.

    Args:
        initial: None for random weights; "imagenet" for torchvision's (downloaded by torchvision); or a file with a
            ResNet50's state dict, from `xrayq pretrain` or torchvision.
        findings: how many the network tells apart.

    Raises:
        DatasetError: the weights cannot be had, or do not fit.
    """
    torch.manual_seed(config.seed)
    network = ChestResNet50(findings, config.dropout)
    if initial is not None:
        try:
            state = _imagenet() if initial == "imagenet" else torch.load(initial, map_location="cpu", weights_only=True)
            trunk = {name: value for name, value in state.items() if not name.startswith("fc.")}
            network.trunk.load_state_dict(trunk)
        except (*UNREADABLE, TypeError, AttributeError) as error:
            raise DatasetError(f"{initial} does not hold a ResNet50 trunk: {first_line(error)}") from error
    return network


def _imagenet() -> dict[str, Tensor]:
    from torchvision.models import ResNet50_Weights

    try:
        state: dict[str, Tensor] = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False)
    except OSError as error:
        raise DatasetError(
            f"cannot download torchvision's ImageNet weights ({first_line(error)}): fetch "
            f"{ResNet50_Weights.IMAGENET1K_V2.url} elsewhere and give it as --init FILE"
        ) from error
    return state


def train(
    network: ChestResNet50,
    dataset: Dataset,
    config: TrainConfig,
    *,
    device: torch.device | None = None,
    checkpoint: Checkpoint | None = None,
    report: Callable[[Epoch], None] = lambda _: None,
    advance: Advance = nothing,
) -> Trained:
    """Fine-tune on split `train`, keep what is best on split `val`.

    On the CPU the same seed gives the same weights, also when the training was interrupted and continued from its
    checkpoint; on CUDA some kernels add in a different order each time.

    Raises:
        DatasetError: a split is missing, a class has no training film, or the checkpoint is of another training.
    """
    films, validation = _split(dataset, "train", without_mined=not config.report_mined_weight), _split(dataset, "val")
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
        member = _Member(network, films, validation, replace(config, seed=config.seed + number - 1), device)
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
    best = best_of(network, members, films, validation, config, device)
    network.to("cpu").load_state_dict(best.state)
    return Trained(network=network.eval(), epochs=tuple(history), kept=best.name)


class _Member:
    """One fine-tuning: its optimiser, its schedule, and the best weights it has seen."""

    def __init__(
        self, network: ChestResNet50, films: Films, validation: Films, config: TrainConfig, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.films, self.validation, self.device = config, films, validation, device
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps = -(-len(films) // config.batch)
        optimiser = torch.optim.AdamW(network.parameters(), lr=_first_rate(config), weight_decay=config.weight_decay)
        self.training = Pass(
            network=network,
            optimiser=optimiser,
            schedule=_schedule(optimiser, config, steps),
            generator=torch.Generator().manual_seed(config.seed),
            device=device,
            batch=config.batch,
            augmentation=config.augmentation,
        )
        self.labels = torch.from_numpy(films.labels).to(device)
        self.class_weights = class_weights(films, config.class_weight_power)
        mined = torch.tensor([film.label_basis in REPORT_MINED for film in films.records])
        self.weights = torch.where(mined, config.report_mined_weight, 1.0) * self.class_weights[films.labels]
        self.weights = self.weights.float().to(device)
        self.best: Candidate | None = None
        self.average: dict[str, Tensor] | None = None
        self.epoch = 0

    def one_epoch(self, number: int, advance: Advance) -> Epoch:
        started, config, network = time.monotonic(), self.config, self.training.network
        self.epoch += 1
        rate = float(self.training.schedule.get_last_lr()[0])
        order = shuffled(len(self.films), self.training.generator)
        loss = self.training.run(order, self.films.take, self._loss, advance)
        now = validate(network, self.validation, self.class_weights, self.device, f"epoch {self.epoch}")
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
            self.training.network.load_state_dict(mean, strict=False)
            measure_batch_norm(self.training.network, self.films, self.device)
            name = f"mean of epochs {config.epochs - config.average_last + 1} to {config.epochs}"
            averaged = validate(self.training.network, self.validation, self.class_weights, self.device, name)
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

    def _loss(self, logits: Tensor, rows: Rows) -> tuple[Tensor, float]:
        at = torch.from_numpy(rows).to(self.device)
        smoothing = self.config.label_smoothing
        losses = nn.functional.cross_entropy(logits, self.labels[at], reduction="none", label_smoothing=smoothing)
        return (losses * self.weights[at]).sum() / self.weights[at].sum(), float(len(rows))


def _first_rate(config: TrainConfig) -> float:
    return config.search_rate if config.schedule == "search" and config.search_epochs else config.learning_rate


def _schedule(
    optimiser: torch.optim.Optimizer, config: TrainConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=config.learning_rate, total_steps=steps * config.epochs, pct_start=0.2
        )
    later = config.learning_rate / _first_rate(config)
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1.0 if step < config.search_epochs * steps or not config.search_epochs else later
    )


def _split(dataset: Dataset, name: str, *, without_mined: bool = False) -> Films:
    films = dataset.splits.get(name)
    if films is not None and without_mined:
        films = films.where(lambda film: film.label_basis not in REPORT_MINED)
    if films is None or 0 in films.counts().values():
        raise DatasetError(f"split {name!r} lacks films of every class: {films.counts() if films else 'no films'}")
    return films
