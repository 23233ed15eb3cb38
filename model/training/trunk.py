"""A trunk file: a ResNet50 up to its pooling on one grey channel, and how its inputs are scaled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import DatasetError, first_line
from model.training.loop import UNREADABLE, read_saved
from model.training.resnet import GREY_MEAN, GREY_STD, trunk

COLOURS, FLAT = 3, 4
"""Channels of a first convolution; dimensions of a kernel that is not inflated."""


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
        found = read_saved(path)
        if "trunk" in found:
            made = Trunk(state=dict(found["trunk"]), mean=float(found["mean"]), std=float(found["std"]))
        else:
            made = Trunk(state=grey({name: value for name, value in found.items() if not name.startswith("fc.")}))
        check(made.state)
    except (*UNREADABLE, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} does not hold a ResNet50 trunk: {first_line(error)}") from error
    try:
        check_numbers(made)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    return made


def write_trunk(path: Path, made: Trunk) -> None:
    """Whole or not at all."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in made.state.items()}
    draft = draft_path(path)
    torch.save({"trunk": state, "mean": made.mean, "std": made.std}, draft)
    draft.replace(path)


def draft_path(path: Path) -> Path:
    """Where a trunk file is written before it gets its name."""
    return path.with_name(path.name + ".part")


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
    coloured = first.ndim == FLAT and first.shape[1] == COLOURS
    return dict(state) | ({"conv1.weight": first.sum(dim=1, keepdim=True)} if coloured else {})


def check(state: Mapping[str, Any]) -> None:
    """Raises RuntimeError where this is no trunk's state."""
    with torch.device("meta"):
        empty = trunk()
    empty.load_state_dict(state, assign=True)


def is_plain(value: Tensor) -> bool:
    """Whether it is a dense tensor of real numbers that are there."""
    return value.layout == torch.strided and not (value.is_quantized or value.is_meta or value.is_complex())


def check_numbers(made: Trunk) -> None:
    """Raises DatasetError where one of its numbers gives no output: not finite, a variance below 0, no real number."""
    mean, std = np.float32(made.mean), np.float32(made.std)
    if not np.isfinite(mean):
        raise DatasetError(f"mean {made.mean:g} of the inputs is not finite")
    if not (np.isfinite(std) and std > 0):
        raise DatasetError(f"std {made.std:g} of the inputs: a standard deviation is finite and above 0")
    for name, value in made.state.items():
        if not is_plain(value):
            raise DatasetError(f"{name} is no plain tensor of real numbers")
        if not torch.isfinite(value).all():
            raise DatasetError(f"{name} has numbers that are not finite")
        if name.endswith("running_var") and (value < 0).any():
            raise DatasetError(f"{name} has a variance below 0")
