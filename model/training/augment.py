"""Augmentation on a batch, as in the paper: rotation, shift, flip, crop (zoom) and shear."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Largest changes; each film draws its own."""

    rotation: float = 10.0
    """Degrees."""
    shift: float = 0.08
    """Share of the side."""
    zoom: float = 0.12
    """Relative change of size; larger films are cropped, smaller ones framed in black."""
    shear: float = 5.0
    """Degrees."""
    stretch: float = 0.0
    """Relative change of width against height."""
    brightness: float = 0.15
    """Relative change of contrast, and of brightness in half ranges."""
    flip: float = 0.5
    """Share of films mirrored left to right."""
    erase: float = 0.0
    """Share of films of which one rectangle, up to two fifths of each side, becomes grey."""


def augment(images: Tensor, generator: torch.Generator, strength: Augmentation) -> Tensor:
    """Randomly move each film of float [N, 1, H, W] (0..255), on the device it is on.

    Random numbers are drawn on the CPU: the same seed moves films alike on every device.
    """
    count = images.shape[0]

    def draw(limit: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, slant = draw(math.radians(strength.rotation)), draw(math.radians(strength.shear))
    scale, wide = 1.0 + draw(strength.zoom), 1.0 + draw(strength.stretch)
    flip = torch.where(torch.rand(count, generator=generator) < strength.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack(
        [
            torch.stack([cos * flip * wide, -sin + torch.tan(slant), draw(strength.shift) * 2], dim=1),
            torch.stack([sin * flip * wide, cos, draw(strength.shift) * 2], dim=1),
        ],
        dim=1,
    ).to(images.device)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False, padding_mode="zeros")
    contrast = (1.0 + draw(strength.brightness)).view(-1, 1, 1, 1).to(images.device)
    offset = (draw(strength.brightness) * 128).view(-1, 1, 1, 1).to(images.device)
    moved = (moved * contrast + offset).clamp(0, 255)
    return _erase(moved, generator, strength.erase) if strength.erase else moved


def _erase(images: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """One grey rectangle on this share of the films."""
    count, _, height, width = images.shape
    chosen = torch.rand(count, generator=generator) < share
    centre, half = torch.rand(count, 2, generator=generator), 0.05 + 0.15 * torch.rand(count, 2, generator=generator)
    rows, columns = torch.arange(height) / height, torch.arange(width) / width
    inside_rows = (rows - centre[:, :1]).abs() < half[:, :1]
    inside_columns = (columns - centre[:, 1:]).abs() < half[:, 1:]
    covered = inside_rows[:, :, None] & inside_columns[:, None, :] & chosen[:, None, None]
    return images.masked_fill(covered[:, None].to(images.device), 127.0)
