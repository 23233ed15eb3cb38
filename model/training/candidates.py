"""Weights that a training may keep: how they validate, which are better, and means of several."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.data.dataset import Films
from model.stats.summaries import summary
from model.training.loop import copy_state, predict
from model.training.recipe import TrainConfig
from model.training.resnet import ChestResNet50


@dataclass(kw_only=True)
class Candidate:
    """Weights that may be kept, and how they validate."""

    state: dict[str, Tensor]
    loss: float
    accuracy: float
    name: str

    def beats(self, other: "Candidate | None", select: str) -> bool:
        if other is None or select == "last":
            return True
        if select == "loss":
            return self.loss < other.loss
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def validate(network: nn.Module, films: Films, weights: Tensor, device: torch.device, name: str) -> Candidate:
    logits = torch.from_numpy(predict(network, films.take, len(films), device=device))
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(films.labels), weight=weights)
    accuracy = summary(torch.softmax(logits, dim=1).double().numpy(), films.labels, films.findings).accuracy.value
    if accuracy is None:
        raise AssertionError("validation films were checked before")
    return Candidate(state=copy_state(network), loss=float(loss), accuracy=accuracy, name=name)


def best_of(
    network: ChestResNet50,
    members: list[Candidate],
    films: Films,
    validation: Films,
    config: TrainConfig,
    device: torch.device,
) -> Candidate:
    """The best member, or the mean of all if that validates better."""
    best = members[0]
    for member in members[1:]:
        best = member if member.beats(best, config.select) else best
    if len(members) == 1:
        return best
    total: dict[str, Tensor] | None = None
    for member in members:
        total = added(total, member.state)
    network.to(device)  # after an interruption no member may have moved it there
    network.load_state_dict({name: value / len(members) for name, value in (total or {}).items()}, strict=False)
    measure_batch_norm(network, films, device)
    weights = class_weights(films, config.class_weight_power)
    mean = validate(network, validation, weights, device, f"mean of {len(members)} members")
    return mean if mean.beats(best, config.select) else best


def measure_batch_norm(network: nn.Module, films: Films, device: torch.device, batch: int = 32) -> None:
    """Measure batch norm's statistics again: the mean of several networks' statistics is not that of their mean."""
    numbers = np.arange(len(films))
    images = (torch.from_numpy(films.take(numbers[at : at + batch])) for at in range(0, len(films), batch))
    torch.optim.swa_utils.update_bn(images, network, device=device)


def class_weights(films: Films, power: float) -> Tensor:
    """float32 [findings], mean 1."""
    counts = np.array(list(films.counts().values()), float)
    weights = (counts.sum() / counts) ** power
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def added(total: dict[str, Tensor] | None, state: dict[str, Tensor]) -> dict[str, Tensor]:
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return floats if total is None else {name: total[name] + tensor for name, tensor in floats.items()}
