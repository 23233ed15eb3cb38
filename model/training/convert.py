"""A trunk from a checkpoint of others: any ResNet of bottleneck blocks, flat or inflated to three dimensions, with 50
layers or more.

An inflated network (Carreira and Zisserman 2017) has kernels [out, in, depth, height, width]. On a volume whose slices
are all alike, and away from its first and last slices, it gives what the flat network gives whose kernels are the sums
over depth: that is the conversion. A deeper network is cut by taking some blocks of a stage; a residual block adds to
what passes through it, so the rest still works, less well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import DatasetError, first_line
from model.training.trunk import Trunk, check, check_numbers, grey, is_plain

BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
"""Of a ResNet50, by stage."""
FIRST = "layer1.0.conv1.weight"
VOLUME = 5
NAME = re.compile(r"(conv1|bn1|layer[1-4])\.")
BLOCK = re.compile(r"(conv1|bn1|layer[1-4]\.(0|[1-9][0-9]{0,3}))\.")
"""Of NAME, what a residual network has."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    trunk: Trunk
    blocks: dict[str, tuple[int, ...]]
    """Which blocks of the checkpoint became the ResNet50's, by stage."""
    of: dict[str, int]
    """How many the checkpoint has."""
    inflated: bool


def convert(
    checkpoint: object, *, blocks: Mapping[str, tuple[int, ...]] | None = None, mean: float = 0.0, std: float = 1.0
) -> Converted:
    """Make a ResNet50's trunk.

    Args:
        checkpoint: a state dict, or a dict that holds one (under state_dict, model or another name). Prefixes such as
            `module.` are taken off; what is not the trunk's is left out.
        blocks: by stage ("layer3"), the blocks to keep. Where nothing is said: evenly spaced, the first and the last
            among them; the first one changes resolution and width, nothing works without it.
        mean, std: of the inputs that the checkpoint was trained on, in 0..1.

    Raises:
        DatasetError: no such network, too shallow, blocks that it does not have, or numbers that give no output.
    """
    check_numbers(Trunk(state={}, mean=mean, std=std))
    state = _trunk_of(_tensors(checkpoint))
    of = {stage: _count(state, stage) for stage in BLOCKS}
    taken = {stage: _chosen(stage, of[stage], (blocks or {}).get(stage)) for stage in BLOCKS}
    if unknown := set(blocks or {}) - set(BLOCKS):
        raise DatasetError(f"--blocks names {', '.join(sorted(unknown))}: stages are {', '.join(BLOCKS)}")
    inflated = state["conv1.weight"].ndim == VOLUME
    made: dict[str, Tensor] = {}
    if odd := next((name for name, value in state.items() if not is_plain(value)), None):
        raise DatasetError(f"{odd} is no plain tensor of real numbers")
    for name, value in state.items():
        stage, _, rest = name.partition(".")
        if stage in BLOCKS:
            number, _, rest = rest.partition(".")
            if int(number) not in taken[stage]:
                continue
            name = f"{stage}.{taken[stage].index(int(number))}.{rest}"
        made[name] = _flat(value)
    for name in [name for name in made if name.endswith("running_var")]:  # older files have no count of batches
        made.setdefault(name.replace("running_var", "num_batches_tracked"), torch.zeros((), dtype=torch.int64))
    made = grey(made)
    try:
        check(made)
    except RuntimeError as error:
        raise DatasetError(f"the checkpoint is no ResNet of bottleneck blocks: {first_line(error)}") from error
    converted = Trunk(state=made, mean=mean, std=std)
    check_numbers(converted)
    return Converted(trunk=converted, blocks=taken, of=of, inflated=inflated)


def _tensors(checkpoint: object) -> dict[str, Tensor]:
    """The first state dict in here that has a residual network's weights. Raises DatasetError."""
    waiting, seen = [checkpoint], set[int]()
    while waiting:
        held = waiting.pop()
        if not isinstance(held, Mapping) or id(held) in seen:  # a dict may hold itself
            continue
        seen.add(id(held))
        if any(str(name).endswith(FIRST) and torch.is_tensor(value) for name, value in held.items()):
            return {str(name): value for name, value in held.items() if torch.is_tensor(value)}
        waiting.extend(reversed(list(held.values())))
    raise DatasetError(f"no state dict in it has a {FIRST}")


def _trunk_of(tensors: dict[str, Any]) -> dict[str, Tensor]:
    prefixes = sorted(name.removesuffix(FIRST) for name in tensors if name.endswith(FIRST))
    if len(prefixes) > 1:
        raise DatasetError(f"it holds several networks ({', '.join(prefixes)}): save the one to convert alone")
    own = {name.removeprefix(prefixes[0]): value for name, value in tensors.items() if name.startswith(prefixes[0])}
    own = {name: value for name, value in own.items() if NAME.match(name)}
    if odd := next((name for name in own if not BLOCK.match(name)), None):
        raise DatasetError(f"the checkpoint is no ResNet of bottleneck blocks: it has {odd[:80]!r}")
    if "conv1.weight" not in own:
        raise DatasetError(f"no {prefixes[0]}conv1.weight in it")
    return own


def _count(state: dict[str, Tensor], stage: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{stage}.")})


def _chosen(stage: str, count: int, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    need = BLOCKS[stage]
    if count < need:
        raise DatasetError(f"{stage} has {count} blocks, a ResNet50 has {need}: the network is too shallow")
    if wanted is None:
        return tuple(int(at) for at in np.linspace(0, count - 1, need).round())
    if len(wanted) != need or wanted[0] != 0 or sorted(set(wanted)) != list(wanted) or wanted[-1] >= count:
        raise DatasetError(
            f"--blocks {stage}={','.join(map(str, wanted))}: {need} rising numbers of 0 to {count - 1}, the first 0"
        )
    return wanted


def _flat(value: Tensor) -> Tensor:
    """In fp32, kernels summed over depth."""
    value = value.float() if value.is_floating_point() else value
    return value.sum(dim=2) if value.ndim == VOLUME else value
