"""The pieces of a training's loss."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """0 where nothing weighs anything."""
    return (losses * weights).sum() / weights.sum().clamp(min=1e-9)


def known_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over films whose label is not negative; 0 where there is none."""
    known = (labels >= 0).float()
    losses = functional.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    return weighted_mean(losses, known if weights is None else known * weights)


class GroupWeights(nn.Module):
    """Group DRO (Sagawa et al. 2020): each group's weight grows with its loss, by exponentiated gradient, so that the
    group that does worst decides. A source's films of one finding are a group."""

    weights: Tensor

    def __init__(self, groups: int, step: float) -> None:
        super().__init__()
        self.step = step
        self.register_buffer("weights", torch.full((groups,), 1 / groups))

    def forward(self, losses: Tensor, weights: Tensor, groups: Tensor) -> Tensor:
        """The loss of a batch: films' losses, weights and groups [N], a group being -1 for films that have none."""
        present = functional.one_hot(groups.clamp(min=0), len(self.weights)) * ((groups >= 0) & (weights > 0))[:, None]
        shares = present * weights[:, None]
        means = (shares * losses[:, None]).sum(dim=0) / shares.sum(dim=0).clamp(min=1e-9)
        with torch.no_grad():
            grown = self.weights * torch.exp(self.step * means)
            self.weights.copy_(grown / grown.sum())
        # Groups that the batch lacks have no loss: without them the step would be small.
        here = self.weights * present.any(dim=0)
        return (here * means).sum() / here.sum().clamp(min=1e-9)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, strength: float) -> Tensor:
        cast(Any, ctx).strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return -cast(Any, ctx).strength * gradients[0], None


def reversed_gradient(values: Tensor, strength: float) -> Tensor:
    """The values as they are; what learns from them pushes what made them the other way (Ganin et al. 2016)."""
    return cast(Tensor, _Reversal.apply(values, strength))
