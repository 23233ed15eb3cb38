"""What the gate's network learns from: chest films by view, and pictures that are none, all made here.

No lateral film is among them: the third view stands for whatever is not a frontal chest film, and what can be made
honestly is limbs, pages, parts and tiles of chest films, shapes, gradients and noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.data.ages import is_adult, years_of
from model.data.dataset import Films
from model.data.raw_films import METADATA, image_to_input, read_table
from model.data.shards import read_shards
from model.gate.network import VIEWS
from model.preprocess import PreprocessSpec, stretch

COLUMNS = {"image_id", "shard", "file", "source", "view", "patient_id", "age"}
MOST_WEIGHT = 5.0
"""A film of a source of few films weighs at most so many of a large one."""
Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class GateFilms:
    """Chest films, upright and of normal polarity. Row i of everything is the same film."""

    images: NDArray[np.uint8]
    """[N, 1, size, size]"""
    views: NDArray[np.int64]
    """[N] index into VIEWS, -1 where it is not known."""
    sources: tuple[str, ...]
    """[N]"""


def of_prepared(films: Films) -> GateFilms:
    return GateFilms(
        images=films.images,
        views=np.array([view_index(film.view) for film in films.records], np.int64),
        sources=tuple(film.source for film in films.records),
    )


def together(parts: Sequence[GateFilms]) -> GateFilms:
    return GateFilms(
        images=np.concatenate([part.images for part in parts]),
        views=np.concatenate([part.views for part in parts]),
        sources=tuple(source for part in parts for source in part.sources),
    )


def view_index(view: str) -> int:
    return VIEWS.index(view) if view in ("PA", "AP") else -1


def view_weights(films: GateFilms) -> NDArray[np.float64]:
    """[N] weight of each film's view in training, 0 where it teaches none.

    Within a source both views weigh the same, and a source of only one view teaches none: else the network would learn
    the source instead of the view. A small source weighs more than its films, by the root of their number, at most
    MOST_WEIGHT.
    """
    sources, weights = np.array(films.sources), np.zeros(len(films.views))
    tallies = {
        source: np.bincount(films.views[(sources == source) & (films.views >= 0)], minlength=2)
        for source in sorted(set(films.sources))
    }
    if not any(tally.min() for tally in tallies.values()):  # no source has both: all of them are one
        sources, tallies = np.full(len(sources), ""), {"": sum(tallies.values(), np.zeros(2, np.int64))}
    most = max(tally.min() for tally in tallies.values())
    for source, tally in tallies.items():
        for view, count in enumerate(tally) if tally.min() else ():
            raised = min(float(np.sqrt(most / tally.min())), MOST_WEIGHT)
            weights[(sources == source) & (films.views == view)] = raised * tally.min() / count
    return weights


def load_auxiliary_views(
    folder: Path, *, spec: PreprocessSpec, min_age: float, without_patients: frozenset[str]
) -> GateFilms:
    """Adult films of other sources; an age that is not known counts as an adult's.

    Args:
        without_patients: patients of validation and test films, who must not teach.

    Raises:
        DatasetError: the table, a column, a shard or a film is missing.
    """
    rows = read_table(folder / METADATA, COLUMNS, "an auxiliary set is a folder with metadata.csv and its tar shards")
    rows = [
        row for row in rows if row["patient_id"] not in without_patients and is_adult(years_of(row["age"]), min_age)
    ]
    images = np.empty((len(rows), 1, spec.size, spec.size), np.uint8)
    for number, content in read_shards(folder, rows):
        images[number, 0] = image_to_input(content, rows[number]["image_id"], spec)
    return GateFilms(
        images=images,
        views=np.array([view_index(row["view"]) for row in rows], np.int64),
        sources=tuple(row["source"] for row in rows),
    )


def others(chest: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.uint8]:
    """Pictures that are no frontal chest film, each kind in turn: uint8 [count, 1, size, size].

    Args:
        chest: films [N, 1, size, size] to take parts from.
    """
    random = np.random.default_rng(seed)
    size = chest.shape[-1]
    kinds = tuple(KINDS.values())
    made = [kinds[number % len(kinds)](random, chest[random.integers(len(chest)), 0], size) for number in range(count)]
    return np.stack([stretch(picture.astype(np.float32), 1.0, 99.0) for picture in made])[:, None]


def _noise(random: np.random.Generator, _chest: Image, size: int) -> NDArray[np.float32]:
    """Gaussian noise with a spectrum of 1/f^a, a from 0 (white) to 3 (clouds)."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(random.normal(size=(size, size))) / frequency ** random.uniform(0, 3)
    return np.asarray(np.fft.irfft2(spectrum, s=(size, size)), np.float32)


def _gradient(random: np.random.Generator, _chest: Image, size: int) -> NDArray[np.float32]:
    """A linear or radial slope with some noise: a phantom, a flat field."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle, centre = random.uniform(0, 2 * np.pi), random.uniform(-0.7, 0.7, 2)
    slope = np.cos(angle) * x + np.sin(angle) * y
    if random.random() < 0.5:
        slope = np.hypot(x - centre[0], y - centre[1]) ** random.uniform(0.5, 3)
    return np.asarray(slope + random.normal(0, random.uniform(0, 0.3), slope.shape), np.float32)


def _shapes(random: np.random.Generator, _chest: Image, size: int) -> NDArray[np.float32]:
    """Overlapping ellipses, boxes and polygons of all sizes, which have the statistics of photographs (dead leaves, Lee
    et al. 2001)."""
    picture = np.full((size, size), random.uniform(0, 255), np.float32)
    for _ in range(int(random.integers(3, 120))):
        colour, radius = random.uniform(0, 255), int(size * 0.5 * random.random() ** 3) + 2
        centre = random.integers(0, size, 2)
        if random.random() < 0.6:
            axes = (radius, max(2, int(radius * random.uniform(0.2, 1))))
            cv2.ellipse(picture, centre.tolist(), axes, random.uniform(0, 180), 0, 360, colour, -1)
        else:
            corners = centre + random.integers(-radius, radius + 1, (int(random.integers(3, 6)), 2))
            cv2.fillPoly(picture, [corners.astype(np.int32)], colour)
    smooth = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, 4))
    return np.asarray(smooth + random.normal(0, random.uniform(0, 12), picture.shape), np.float32)


def _limb(random: np.random.Generator, _chest: Image, size: int) -> NDArray[np.float32]:
    """One to five soft cylinders with a denser bone or two in each, on a dark ground."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = random.uniform(0, np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    picture = np.zeros((size, size))
    count = int(random.integers(1, 6))
    for position in np.linspace(-0.7, 0.7, count) if count > 1 else [random.uniform(-0.3, 0.3)]:
        bend = across - position - random.uniform(-0.2, 0.2) * along - random.uniform(-0.15, 0.15) * along**2
        width = random.uniform(0.5, 0.95) / count * (1 + random.uniform(-0.3, 0.3) * along)
        picture += 0.4 * np.sqrt(np.clip(1 - (bend / width) ** 2, 0, 1))
        for _ in range(int(random.integers(1, 3))):
            inside = (bend - random.uniform(-0.4, 0.4) * width) / (width * random.uniform(0.15, 0.5))
            bone = np.sqrt(np.clip(1 - inside**2, 0, 1)) - 0.6 * np.sqrt(np.clip(0.6 - inside**2, 0, 1))
            picture += random.uniform(0.3, 0.8) * bone * (np.abs(along) < random.uniform(0.4, 2))
    picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 2.5))
    return np.asarray(picture + random.normal(0, 0.02, picture.shape), np.float32)


def _page(random: np.random.Generator, _chest: Image, size: int) -> NDArray[np.float32]:
    """Lines of text: a scanned report or a screen."""
    dark = random.random() < 0.5
    picture = np.full((size, size), 10 if dark else 245, np.uint8)
    step = int(random.integers(8, 28))
    for row in range(step, size, step):
        words = "".join(random.choice(list("abcdefghij KLMNOP 0123456789 .,"), int(random.integers(3, 40))))
        start = (int(random.integers(0, size // 3)), row)
        cv2.putText(picture, words, start, cv2.FONT_HERSHEY_SIMPLEX, step / 40, 245 if dark else 10, 1)
    return picture.astype(np.float32)


def _part(random: np.random.Generator, chest: Image, size: int) -> NDArray[np.float32]:
    """A detail of a chest film, a seventh to two fifths of its side, turned any way."""
    side = int(size * random.uniform(0.15, 0.4))
    top, left = random.integers(0, size - side, 2)
    detail = np.rot90(chest[top : top + side, left : left + side], int(random.integers(4)))
    return np.asarray(cv2.resize(np.ascontiguousarray(detail), (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _tiles(random: np.random.Generator, chest: Image, size: int) -> NDArray[np.float32]:
    """A chest film cut into 2 x 2 to 4 x 4 tiles that changed places."""
    count = int(random.integers(2, 5))
    side = -(-size // count)
    padded = np.pad(chest, (0, side * count - size), mode="edge")
    tiles = [padded[r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(count) for c in range(count)]
    order = np.roll(random.permutation(len(tiles)), 1)
    rows = [np.hstack([tiles[i] for i in order[start : start + count]]) for start in range(0, len(tiles), count)]
    return np.vstack(rows)[:size, :size].astype(np.float32)


KINDS: dict[str, Callable[[np.random.Generator, Image, int], NDArray[np.float32]]] = {
    "noise": _noise,
    "gradient": _gradient,
    "shapes": _shapes,
    "limb": _limb,
    "page": _page,
    "part": _part,
    "tiles": _tiles,
}
