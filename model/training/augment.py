"""Augmentation on a batch, as in the paper: rotation, shift, flip, crop (zoom) and shear; and `disguise`, which hides
what tells one source's films from another's: grey curve, collimation, sharpness, noise and JPEG blocks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BORDER, LEAST_SCALE, NOISE = 0.12, 0.45, 10.0
BLOCK = 8
JPEG_STEP = 24.0
"""Largest rounding step of the highest frequencies; libjpeg's at quality 75 are about 50, at 90 about 20."""


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
    gamma: float = 0.0
    """Share of films whose grey curve is bent, by a power of up to e^(1/2)."""
    collimation: float = 0.0
    """Share of films with black borders on some sides, each up to BORDER of the side."""
    blur: float = 0.0
    """Share of films made coarser, down to LEAST_SCALE of their side and up again."""
    noise: float = 0.0
    """Share of films with noise, its standard deviation up to NOISE grey values."""
    jpeg: float = 0.0
    """Share of films rounded in blocks of 8 x 8 as JPEG does."""


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
    moved = _erase(moved, generator, strength.erase) if strength.erase else moved
    return disguise(moved, generator, strength)


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


def disguise(images: Tensor, generator: torch.Generator, strength: Augmentation) -> Tensor:
    """Hide the source of float [N, 1, H, W] (0..255). Random numbers as in `augment`; none for what is off."""
    steps = (
        (strength.gamma, _bend),
        (strength.collimation, _collimate),
        (strength.blur, _coarsen),
        (strength.noise, _noise),
        (strength.jpeg, _jpeg),
    )
    for share, step in steps:
        if share:
            chosen = torch.nonzero(torch.rand(len(images), generator=generator) < share).flatten()
            if len(chosen):
                changed = step(images[chosen.to(images.device)], generator)
                images = images.index_copy(0, chosen.to(images.device), changed.clamp(0, 255))
    return images


def _bend(images: Tensor, generator: torch.Generator) -> Tensor:
    power = torch.exp(torch.rand(len(images), generator=generator) - 0.5).view(-1, 1, 1, 1).to(images.device)
    return (images / 255).clamp(min=1e-4).pow(power) * 255


def _collimate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each side in half of the films."""
    count, _, height, width = images.shape
    border = torch.rand(count, 4, generator=generator) * BORDER * (torch.rand(count, 4, generator=generator) < 0.5)
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    inside_rows = (rows > border[:, :1]) & (rows < 1 - border[:, 1:2])
    inside_columns = (columns > border[:, 2:3]) & (columns < 1 - border[:, 3:])
    inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return images * inside.to(images.device)


def _coarsen(images: Tensor, generator: torch.Generator) -> Tensor:
    height, width = images.shape[2:]
    made = []
    for film, drawn in zip(torch.split(images, 1), torch.rand(len(images), generator=generator).tolist(), strict=True):
        scale = LEAST_SCALE + (0.95 - LEAST_SCALE) * drawn
        small = functional.interpolate(film, size=(int(height * scale), int(width * scale)), mode="area")
        made.append(functional.interpolate(small, size=(height, width), mode="bilinear", align_corners=False))
    return torch.cat(made)


def _noise(images: Tensor, generator: torch.Generator) -> Tensor:
    spread = torch.rand(len(images), 1, 1, 1, generator=generator) * NOISE
    return images + (torch.randn(images.shape, generator=generator) * spread).to(images.device)


def _jpeg(images: Tensor, generator: torch.Generator) -> Tensor:
    """The cosine transform of each block, rounded to steps that grow with frequency."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    blocks = padded.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    at = torch.arange(BLOCK)
    cosines = torch.cos(torch.pi * (at + 0.5) * at[:, None] / BLOCK) * (2 / BLOCK) ** 0.5
    cosines[0] /= 2**0.5
    drawn = torch.rand(count, 1, 1, 1, 1, 1, generator=generator)
    step = (1 + drawn * JPEG_STEP * (at[:, None] + at) / (2 * BLOCK - 2)).to(images.device)
    cosines = cosines.to(images.device)
    rounded = torch.round(cosines @ blocks @ cosines.T / step) * step
    back: Tensor = (cosines.T @ rounded @ cosines).permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
    return back[:, :, :height, :width]
