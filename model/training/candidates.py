"""Weights that a training may keep: how they validate, which are better, and means of several."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.training.loop import copy_state, predict
from model.training.losses import weighted_mean
from model.training.material import Material
from model.training.recipe import TrainConfig

SETTLING = 1024
"""Films that batch norm is measured on, at most: each has hundreds of values for every channel."""


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


def validate(network: nn.Module, material: Material, device: torch.device, name: str) -> Candidate:
    """The loss is weighed as the material's films are; the accuracy counts each of them."""
    logits = torch.from_numpy(predict(network, material.take, len(material), device=device))
    labels, weights = torch.from_numpy(material.labels), torch.from_numpy(material.weights)
    losses = nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    loss = float(weighted_mean(losses, weights))
    return Candidate(state=copy_state(network), loss=loss, accuracy=accuracy, name=name)


def best_of(
    network: nn.Module,
    members: list[Candidate],
    material: Material,
    validation: Material,
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
    measure_batch_norm(network, material, device)
    mean = validate(network, validation, device, f"mean of {len(members)} members")
    return mean if mean.beats(best, config.select) else best


def measure_batch_norm(network: nn.Module, material: Material, device: torch.device, batch: int = 32) -> None:
    """Measure batch norm's statistics again, on films as they are drawn: the mean of several networks' statistics is
    not that of their mean."""
    order = material.order(torch.Generator().manual_seed(0))[:SETTLING]
    images = (torch.from_numpy(material.take(order[at : at + batch])) for at in range(0, len(order), batch))
    torch.optim.swa_utils.update_bn(images, network, device=device)


def added(total: dict[str, Tensor] | None, state: dict[str, Tensor]) -> dict[str, Tensor]:
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return floats if total is None else {name: total[name] + tensor for name, tensor in floats.items()}
