"""Image quality of phantoms whose answer is known."""

import numpy as np
import pytest

from model.gate.quality import LEAST_CONTRAST, LEAST_ENTROPY, MOST_CLIPPED, Quality, measure
from tests.phantoms import chest_pixels


def of(pixels: np.ndarray, low: float = 0, high: float = 4095) -> Quality:
    return measure(pixels, low=low, high=high, inverted=False, rows=pixels.shape[0], columns=pixels.shape[1])


def test_a_film_of_four_equal_levels() -> None:
    """Two bits in the middle; the 1st and 99th percentiles are the outer levels; the middle is none of the ends."""
    levels = np.repeat(np.array([600, 1365, 2730, 3495], np.uint16), 46)
    film = np.concatenate([np.zeros(108), levels, np.full(108, 4095)])[None].repeat(400, axis=0).astype(np.uint16)
    found = of(film)
    assert found.brightness == pytest.approx(0.5, abs=1e-6)
    assert found == Quality(rows=400, columns=400, contrast=1.0, entropy=2.0, clipped=0.0, brightness=found.brightness)


@pytest.mark.parametrize("value", [0, 2000, 4095])
def test_one_grey_level_is_blank(value: int) -> None:
    found = of(np.full((500, 300), value, np.uint16))
    assert (found.contrast, found.entropy) == (0.0, 0.0)


def test_a_blank_film_with_a_marker_is_blank() -> None:
    film = np.full((500, 500), 300, np.uint16)
    film[10:40, 10:40] = 4095
    assert of(film).contrast < LEAST_CONTRAST
    assert of(film).entropy < LEAST_ENTROPY


def test_black_borders_and_markers_are_not_clipping() -> None:
    film = chest_pixels(600, 600)
    film[:150], film[-150:], film[:, :150], film[:, -150:] = 0, 0, 4095, 0
    assert of(film).clipped == 0.0


@pytest.mark.parametrize("rim", [0, 120, 4095], ids=["black", "nearly black", "white"])
def test_a_film_in_rims_of_collimation_is_neither_blank_nor_clipped(rim: int) -> None:
    """60 of 224 pixels on each side: the field is a fifth of the film."""
    film = np.full((896, 896), rim, np.uint16)
    film[240:-240, 240:-240] = chest_pixels(416, 416)
    assert of(film).entropy > LEAST_ENTROPY + 1
    assert of(film).clipped < 0.01
    flat = np.full((896, 896), rim, np.uint16)
    flat[240:-240, 240:-240] = 2000
    assert of(flat).entropy < LEAST_ENTROPY


@pytest.mark.parametrize("window", [(0, 900), (2400, 4095)], ids=["burnt white", "drowned black"])
def test_a_window_that_shows_a_part_of_the_range_clips(window: tuple[int, int]) -> None:
    assert of(chest_pixels()).clipped < 0.01
    assert of(chest_pixels(), *window).clipped >= MOST_CLIPPED


def test_the_size_is_the_headers_and_the_sense_does_not_matter() -> None:
    film = chest_pixels(600, 600)
    found = measure(film, low=0, high=4095, inverted=False, rows=2400, columns=2400)
    assert (found.rows, found.columns) == (2400, 2400)
    turned = measure(4095 - film, low=0, high=4095, inverted=True, rows=2400, columns=2400)
    assert turned.contrast == pytest.approx(found.contrast, abs=1e-6)
    assert turned.entropy == pytest.approx(found.entropy, abs=0.02)
    assert turned.brightness == pytest.approx(found.brightness, abs=1e-6)


def test_brightness_is_the_middles_as_displayed() -> None:
    film = np.full((400, 400), 1024, np.uint16)
    film[:80], film[:, -80:] = 4095, 0
    assert of(film).brightness == pytest.approx(1024 / 4095, abs=1e-6)
    assert of(film, 0, 2048).brightness == pytest.approx(0.5, abs=1e-6)


def test_large_films_are_sampled_alike() -> None:
    film = chest_pixels(512, 512)
    large = np.kron(film, np.ones((4, 4), np.uint16))
    assert of(large).contrast == pytest.approx(of(film).contrast, abs=0.01)
    assert of(large).entropy == pytest.approx(of(film).entropy, abs=0.05)
