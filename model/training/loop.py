"""What every training shares: the device, one pass over the films, and checkpoints that continue where they stopped."""

import os
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model.data.bundle_films import Advance
from model.errors import DatasetError, first_line
from model.training.augment import Augmentation, augment

Rows = NDArray[np.int64]
STAGE, LAST_STAGE = re.compile(r"\btrunk\.(?:conv1|bn1|layer(\d))\."), 4
UNREADABLE = (OSError, RuntimeError, EOFError, UnpicklingError, ValueError, LookupError, AssertionError, struct.error)
"""What torch.load raises on a file that is damaged or none of its own."""


def read_saved(path: Path) -> Any:
    """What torch.save wrote, tensors and plain values alone.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file. The message is in our words: torch's own advise to run the code in the file.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    try:
        with warnings.catch_warnings(action="ignore"):  # of the protocol that a pickle has
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except (*UNREADABLE, TypeError, AttributeError, ArithmeticError) as error:
        if isinstance(error, UnpicklingError) and (other := re.search(r"GLOBAL (\S{1,80})", str(error))):
            raise ValueError(
                f"it holds more than weights ({other[1]}), which is not opened: have its state_dict alone saved"
            ) from None
        raise ValueError("it is damaged, or nothing that torch.save wrote") from None


def nothing(done: int, total: int) -> None:
    """The `Advance` of a caller that shows no progress."""


def pick_device(name: str = "auto") -> torch.device:
    """auto: CUDA where there is a GPU, else the CPU. Raises DatasetError for others, or if CUDA is missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise DatasetError(f"no device {name!r}: use auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DatasetError("no CUDA device here: use --device cpu")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


@dataclass(kw_only=True)
class Pass:
    """A network and everything that changes while it trains."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    device: torch.device
    batch: int
    augmentation: Augmentation
    clip: float = 0.0
    """Largest norm of a step's gradient; 0 for none."""

    def run(
        self,
        order: Rows,
        images_of: Callable[[Rows], NDArray[np.uint8]],
        loss_of: Callable[[Tensor, Rows], tuple[Tensor, float]],
        advance: Advance = nothing,
        side: int | None = None,
    ) -> float:
        """One pass in this order, in bfloat16 where that is safe. Returns the mean loss.

        Args:
            order: film numbers.
            images_of: film numbers -> uint8 [n, 1, S, S].
            loss_of: logits float32 [n, labels] and film numbers -> (mean loss, its weight in the pass's mean).
            side: shrink the films to it first; None leaves them as they are.
        """
        self.network.train()
        total, weights = torch.zeros((), device=self.device), 0.0
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            images = torch.from_numpy(images_of(rows)).to(self.device, non_blocking=True).float()
            images = shrunk(images, side) if side else images
            images = augment(images, self.generator, self.augmentation)
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                logits = self.network(images.contiguous(memory_format=torch.channels_last))
            loss, weight = loss_of(logits.float(), rows)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
            self.optimiser.step()
            self.schedule.step()
            total += loss.detach() * weight
            weights += weight
            advance(min(start + self.batch, len(order)), len(order))
        return float(total) / max(weights, 1e-9)

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda"])


def shrunk(images: Tensor, side: int) -> Tensor:
    """Float [N, 1, S, S] by area averaging to [N, 1, side, side]."""
    return images if images.shape[-1] == side else functional.interpolate(images, size=(side, side), mode="area")


def parameter_groups(
    network: nn.Module, *, rate: float, head_rate: float = 1.0, trunk_decay: float = 1.0
) -> list[dict[str, Any]]:
    """An optimiser's groups, each with `lr`: of the trunk's last stage `rate`, of each stage before it `trunk_decay`
    times that of the next, of everything after the trunk `head_rate` times `rate`."""
    stages: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        stage = STAGE.search(name)
        factor = trunk_decay ** (LAST_STAGE - int(stage[1] or 0)) if stage else head_rate
        stages.setdefault(factor, []).append(parameter)
    return [{"params": own, "lr": rate * factor} for factor, own in stages.items()]


def shuffled(count: int, generator: torch.Generator) -> Rows:
    return torch.randperm(count, generator=generator).numpy()


def predict(
    network: nn.Module,
    images_of: Callable[[Rows], NDArray[np.uint8]],
    count: int,
    *,
    device: torch.device | None = None,
    batch: int = 32,
) -> NDArray[np.float32]:
    """Logits float32 [count, labels] of films 0..count, in fp32."""
    network.eval()
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(images_of(np.arange(at, min(at + batch, count)))).to(device or "cpu")).cpu()
            for at in range(0, count, batch)
        ]
    return torch.cat(parts).numpy().astype(np.float32)


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """The network's state on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}


class Checkpoint:
    """A file beside what is being trained: written after each epoch, gone when the training is done."""

    def __init__(self, path: Path | None, belongs_to: dict[str, Any]) -> None:
        """`belongs_to`: recipe, data and start, as plain values; only the same training may continue."""
        self.path = path
        self.belongs_to = belongs_to

    def load(self) -> dict[str, Any] | None:
        """What was saved, None if nothing was. Raises DatasetError if it is of another training or damaged."""
        if self.path is None or not self.path.exists():
            return None
        try:
            saved = read_saved(self.path)
            belongs_to, state = dict(saved["belongs_to"]), dict(saved["state"])
        except (*UNREADABLE, TypeError) as error:
            raise DatasetError(f"{self.path} cannot be read ({first_line(error)}): delete it to start again") from error
        other = [name for name, value in self.belongs_to.items() if belongs_to.get(name) != value]
        if other:
            raise DatasetError(
                f"{self.path} is of a training with another {', '.join(other)}: delete it to start again"
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        if self.path is not None:
            draft = self.path.with_name(self.path.name + ".part")
            torch.save({"belongs_to": self.belongs_to, "state": state}, draft)
            os.replace(draft, self.path)  # noqa: PTH105 - the one atomic step

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)
