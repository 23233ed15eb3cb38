"""Augmentation on a batch, as in the paper: rotation, shift, flip, crop (zoom) and shear."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    rotation: float = 10.0,
    shift: float = 0.08,
    zoom: float = 0.12,
    shear: float = 5.0,
    brightness: float = 0.15,
) -> Tensor:
    """Randomly move each film of float [N, 1, H, W] (0..255).

    Args:
        rotation: largest angle, degrees.
        shift: largest shift, share of the side.
        zoom: largest relative change of size.
        shear: largest shear, degrees.
        brightness: largest relative change of contrast and of brightness.
    """
    count = images.shape[0]

    def draw(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, slant = draw(math.radians(rotation)), draw(math.radians(shear))
    scale = 1.0 + draw(zoom)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack(
        [
            torch.stack([cos * flip, -sin + torch.tan(slant), draw(shift) * 2], dim=1),
            torch.stack([sin * flip, cos, draw(shift) * 2], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False, padding_mode="zeros")
    contrast = (1.0 + draw(brightness)).view(-1, 1, 1, 1)
    offset = (draw(brightness) * 128).view(-1, 1, 1, 1)
    return (moved * contrast + offset).clamp(0, 255)
