"""A trunk file: a ResNet50 up to its pooling on one grey channel, and how its inputs are scaled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.errors import DatasetError, first_line
from model.training.loop import UNREADABLE
from model.training.resnet import GREY_MEAN, GREY_STD, trunk

COLOURS = 3


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Weights to start from. An input is (grey / 255 - mean) / std."""

    state: dict[str, Tensor]
    """State dict of `resnet.trunk()`."""
    mean: float = GREY_MEAN
    std: float = GREY_STD


def begin(initial: Path | str | None) -> Trunk:
    """What a network begins with.

    Args:
        initial: None for random weights, which have no state here; "imagenet" for torchvision's; or a file.

    Raises:
        DatasetError: the weights cannot be had, or do not fit.
    """
    if initial is None:
        return Trunk(state={})
    return imagenet() if initial == "imagenet" else read_trunk(Path(initial))


def read_trunk(path: Path) -> Trunk:
    """A file of `xrayq trunk convert` or `xrayq pretrain`; or a state dict of torchvision's ResNet50, which takes
    ImageNet's mean and standard deviation.

    Raises:
        DatasetError: it is none of these.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if "trunk" in found:
            made = Trunk(state=dict(found["trunk"]), mean=float(found["mean"]), std=float(found["std"]))
        else:
            made = Trunk(state=grey({name: value for name, value in found.items() if not name.startswith("fc.")}))
        check(made.state)
    except (*UNREADABLE, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} does not hold a ResNet50 trunk: {first_line(error)}") from error
    return made


def write_trunk(path: Path, made: Trunk) -> None:
    """Whole or not at all."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in made.state.items()}
    draft = path.with_name(path.name + ".part")
    torch.save({"trunk": state, "mean": made.mean, "std": made.std}, draft)
    draft.replace(path)


def imagenet() -> Trunk:
    """torchvision's weights, downloaded by torchvision. Raises DatasetError where that is not possible."""
    from torchvision.models import ResNet50_Weights

    try:
        state: dict[str, Tensor] = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False)
    except OSError as error:
        raise DatasetError(
            f"cannot download torchvision's ImageNet weights ({first_line(error)}): fetch "
            f"{ResNet50_Weights.IMAGENET1K_V2.url} elsewhere and give it as --init FILE"
        ) from error
    return Trunk(state=grey({name: value for name, value in state.items() if not name.startswith("fc.")}))


def grey(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state with a first convolution for one channel. On three equal channels the old one gave the same."""
    first = state["conv1.weight"]
    return dict(state) | ({"conv1.weight": first.sum(dim=1, keepdim=True)} if first.shape[1] == COLOURS else {})


def check(state: Mapping[str, Any]) -> None:
    """Raises RuntimeError where this is no trunk's state."""
    with torch.device("meta"):
        empty = trunk()
    empty.load_state_dict(state, assign=True)
