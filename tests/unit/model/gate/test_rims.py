"""Rims of collimation, where the picture they are drawn on is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.gate.rims import NARROW, NEARLY, NOISE, RIMS, WIDE, RimKind, rimmed

SIZE = 224
GREY = 128
NEAR = NEARLY + 5 * NOISE
"""No value of a rim is further from its black or white."""


def edges(film: NDArray[np.uint8]) -> list[int]:
    """Width of the rim at each side of a grey film: rows and columns without a grey pixel."""
    grey = np.abs(film.astype(int) - GREY) < 2
    return [
        int(np.argmax(line))
        for line in (grey.any(axis=1), grey.any(axis=1)[::-1], grey.any(axis=0), grey.any(axis=0)[::-1])
    ]


@pytest.mark.parametrize("kind", RIMS.values(), ids=RIMS)
def test_as_many_rims_as_said_of_20_to_60_pixels(kind: RimKind) -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        made = rimmed(np.full((SIZE, SIZE), GREY, np.uint8), kind, random)
        widths = [width for width in edges(made) if width]
        assert (made.shape, made.dtype, len(widths)) == ((SIZE, SIZE), np.uint8, kind.sides)
        assert all(round(NARROW * SIZE) <= width <= round(WIDE * SIZE) for width in widths)
        rim = made[np.abs(made.astype(int) - GREY) >= 2]
        assert (rim > 255 - NEAR).all() if kind.white else (rim < NEAR).all()


def test_the_film_is_whole_or_hidden_at_its_edges() -> None:
    """A film that grows brighter to the right: its last column shows only where it is shrunk into the field."""
    film = np.tile(np.linspace(100, 200, SIZE).astype(np.uint8), (SIZE, 1))
    whole = rimmed(film, RIMS["all sides"], np.random.default_rng(2))
    hidden = rimmed(film, RIMS["all sides hidden"], np.random.default_rng(2))
    field = (hidden >= 100).any(axis=0).nonzero()[0]
    assert np.array_equal(hidden[SIZE // 2, field], film[0, field])
    lit = whole[SIZE // 2][whole[SIZE // 2] >= 100]
    assert int(lit[-1]) - int(lit[0]) > int(film[0, field[-1]]) - int(film[0, field[0]]) + 20


def test_some_rims_are_plain_and_some_are_noisy() -> None:
    random = np.random.default_rng(3)
    levels = [len(np.unique(rimmed(np.full((64, 64), GREY, np.uint8), RIMS["all sides"], random))) for _ in range(20)]
    assert 2 in levels
    assert max(levels) > 5


def test_the_same_seed_draws_the_same_rims() -> None:
    film = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    for kind in RIMS.values():
        first, again = (rimmed(film, kind, np.random.default_rng(4)) for _ in range(2))
        assert np.array_equal(first, again)
