"""A map lies where its places are, and colours the film nowhere else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.activation_map import Lattice
from model.heat import COLOURS, END, layer, overlay, placed

LATTICE = Lattice(step=32.0, first=0.0, size=224)
"""Of the shipped network; its head reads 6 x 6 places."""
GREY = np.full((224, 224), 100, np.uint8)


def one_place(row: int, column: int) -> NDArray[np.float32]:
    evidence = np.zeros((6, 6), np.float32)
    evidence[row, column] = 3.0
    return evidence


@pytest.mark.parametrize(("rows", "columns", "scale", "top", "left"), [
    (224, 224, 1, 0, 0), (448, 448, 2, 0, 0), (300, 224, 1, 38, 0), (224, 400, 1, 0, 88), (112, 112, 0.5, 0, 0),
])  # fmt: skip
def test_a_place_lies_on_its_pixel(rows: int, columns: int, scale: float, top: int, left: int) -> None:
    heat = placed(one_place(2, 4), LATTICE, rows, columns)
    assert heat.shape == (rows, columns)
    at = np.unravel_index(np.nanargmax(heat), heat.shape)
    assert np.abs(np.array(at) - (top + 64 * scale, left + 128 * scale)).max() <= max(scale, 1) / 2 + 0.5
    assert np.nanmax(heat) == pytest.approx(3.0, rel=0.04)


def test_there_is_no_map_where_the_head_reads_none() -> None:
    """Beside the centred square, and from half a step behind the last place on."""
    known = np.isfinite(placed(np.ones((6, 6), np.float32), LATTICE, 224, 400))
    assert known[:177, 88 : 88 + 177].all()
    assert known.sum() == 177 * 177


def test_between_places_it_is_linear() -> None:
    heat = placed(one_place(2, 4), LATTICE, 224, 224)
    assert heat[64, 144] == pytest.approx(1.5)
    assert heat[48, 112] == pytest.approx(0.75)
    assert heat[64, 160] == 0


def test_overlay_colours_where_the_map_is() -> None:
    shown = overlay(GREY, placed(one_place(1, 4), LATTICE, 224, 224))
    changed = (shown != 100).any(axis=2)
    assert shown.shape == (224, 224, 3)
    assert changed[20:44, 116:140].all()
    assert not changed[66:176, :176].any()
    assert not changed[:176, :94].any()
    strongest = 0.35 * 100 + 0.65 * COLOURS[255].astype(float)
    assert np.abs(shown[32, 128] - strongest).max() <= 1


def test_a_grey_line_ends_the_map() -> None:
    shown = overlay(GREY, placed(one_place(1, 1), LATTICE, 224, 224))
    line = (shown == END).all(axis=2)
    assert line[177, :178].all()
    assert line[:178, 177].all()
    assert line.sum() == 178 + 177, "and none at the edges of the film"


def test_half_of_the_most_has_a_white_line() -> None:
    white = (overlay(GREY, placed(one_place(1, 4), LATTICE, 224, 224)) > 240).all(axis=2)
    assert white[32].nonzero()[0].tolist() == pytest.approx([112, 144], abs=1)


def test_overlay_of_nothing_is_the_film() -> None:
    for nothing in (np.zeros((224, 224), np.float32), np.full((224, 224), np.nan, np.float32)):
        assert np.array_equal(overlay(GREY, nothing), np.repeat(GREY[..., None], 3, 2))


@pytest.mark.parametrize("size", [(224, 224), (700, 560)])
def test_the_layer_over_the_film_is_the_overlay(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    film = random.integers(0, 256, size, np.uint8)
    heat = placed(random.random((6, 6), np.float32) ** 3, LATTICE, *size)
    drawn = layer(heat).astype(np.float64)
    share = drawn[:, :, 3:] / 255
    apart = np.abs(drawn[:, :, :3] * share + film[:, :, None] * (1 - share) - overlay(film, heat)).max(axis=2)
    assert apart.max() <= 5
    edges = (apart > 2).mean()
    assert edges < 0.01, "the smoothed edge of a line alone may differ by more"
    assert not layer(np.zeros((9, 9), np.float32)).any()
