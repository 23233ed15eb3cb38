from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.preprocess import PreprocessSpec, centre_square, shrink, stretch, to_input
from tests.phantoms import chest_pixels

WHITE = 4095.0
GOLDEN_SUM = 5_425_591


def film(rows: int = 512, columns: int = 448) -> NDArray[Any]:
    return chest_pixels(rows, columns)


def difference(one: NDArray[Any], other: NDArray[Any]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_input_of_the_phantom_is_what_it_always_was() -> None:
    image = to_input(film(), low=0, high=WHITE)
    assert (image.dtype, image.shape) == (np.uint8, (224, 224))
    assert (image.min(), image.max()) == (0, 255)
    assert abs(int(image.sum()) - GOLDEN_SUM) < 2000
    assert np.array_equal(image, to_input(film(), low=0, high=WHITE))


@pytest.mark.parametrize(
    ("rows", "columns", "first", "last"),
    [
        (6, 4, (1, 0), (4, 3)),
        (4, 6, (0, 1), (3, 4)),
        (5, 5, (0, 0), (4, 4)),
        (7, 4, (1, 0), (4, 3)),
        (1, 9, (0, 4), (0, 4)),
    ],
)
def test_crop_is_the_largest_centred_square(
    rows: int, columns: int, first: tuple[int, int], last: tuple[int, int]
) -> None:
    pixels = np.arange(rows * columns).reshape(rows, columns)
    square = centre_square(pixels)
    assert square.shape == (min(rows, columns),) * 2
    assert (square[0, 0], square[-1, -1]) == (pixels[first], pixels[last])


def test_what_lies_outside_the_square_does_not_matter() -> None:
    pixels = film(600, 400)
    marked = pixels.copy()
    marked[:100], marked[-100:] = 4095, 0
    assert np.array_equal(to_input(pixels, low=0, high=WHITE), to_input(marked, low=0, high=WHITE))


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (300, 3600), (-1000, 5000)])
@pytest.mark.parametrize(("rows", "columns"), [(512, 448), (1000, 1200), (448, 448)])
def test_shrinking_before_the_window_equals_the_window_before_shrinking(
    low: int, high: int, rows: int, columns: int
) -> None:
    pixels = film(rows, columns)
    shown = np.clip((centre_square(pixels).astype(np.float32) - low) / (high - low), 0, 1)
    spec = PreprocessSpec()
    by_the_book = stretch(shrink(shown, spec.size), spec.stretch_low, spec.stretch_high)
    assert difference(to_input(pixels, low=low, high=high), by_the_book) <= 2


def test_inverted_film_is_the_negative_stored_upside_down() -> None:
    pixels = film()
    assert (
        difference(to_input(4095 - pixels, low=0, high=WHITE, inverted=True), to_input(pixels, low=0, high=WHITE)) <= 1
    )
    assert (
        difference(to_input(pixels, low=0, high=WHITE, inverted=True), 255 - to_input(pixels, low=0, high=WHITE)) <= 1
    )


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.5, 200.0), (0.25, 3000.0)])
def test_stretch_takes_out_brightness_and_contrast(gain: float, offset: float) -> None:
    plain = to_input(film(), low=0, high=WHITE)
    changed = (film() * gain + offset).astype(np.float32)
    assert difference(to_input(changed, low=0, high=WHITE), plain) <= 1


def test_stretch_clips_the_outer_percentiles() -> None:
    values = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    stretched = stretch(values, 10, 80)
    assert np.mean(stretched == 0) == pytest.approx(0.10, abs=0.005)
    assert np.mean(stretched == 255) == pytest.approx(0.20, abs=0.005)
    assert difference(stretch(values, 0, 100), np.rint(values * 255)) == 0


@pytest.mark.parametrize("shape", [(300, 300), (20, 30), (1, 1)])
@pytest.mark.parametrize("value", [0, 77, 4095, 65535])
def test_flat_film_becomes_zeros(shape: tuple[int, int], value: int) -> None:
    assert not to_input(np.full(shape, value, np.uint16), low=0, high=WHITE).any()


def test_film_outside_its_window_becomes_zeros() -> None:
    assert not to_input(film(), low=5000, high=6000).any()


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", ">u2", ">i2", "i4", "u4", "f8"])
def test_every_stored_type_gives_the_same_input(dtype: str) -> None:
    assert difference(to_input(film().astype(dtype), low=0, high=WHITE), to_input(film(), low=0, high=WHITE)) <= 1


@pytest.mark.parametrize(("dtype", "offset"), [("u1", 0), ("i1", -128)])
def test_eight_bits_are_nearly_as_good(dtype: str, offset: int) -> None:
    coarse = ((film() >> 4).astype(int) + offset).astype(dtype)
    assert difference(to_input(coarse, low=offset, high=255 + offset), to_input(film(), low=0, high=WHITE)) <= 3


def test_negative_stored_values() -> None:
    shifted = (film().astype(np.int16) - 1024).astype(np.int16)
    assert difference(to_input(shifted, low=-1024, high=WHITE - 1024), to_input(film(), low=0, high=WHITE)) <= 1


@pytest.mark.parametrize("order", ["strided", "fortran", "reversed", "readonly"])
def test_memory_layout_does_not_matter(order: str) -> None:
    pixels = film()
    laid_out = {
        "strided": lambda: np.repeat(pixels, 2, axis=1)[:, ::2],
        "fortran": lambda: np.asfortranarray(pixels),
        "reversed": lambda: np.ascontiguousarray(pixels[::-1])[::-1],
        "readonly": lambda: np.frombuffer(pixels.tobytes(), np.uint16).reshape(pixels.shape),
    }[order]()
    assert np.array_equal(to_input(laid_out, low=0, high=WHITE), to_input(pixels, low=0, high=WHITE))


@pytest.mark.parametrize("shape", [(100, 80), (223, 224), (2, 2)])
def test_small_film_is_enlarged_smoothly(shape: tuple[int, int]) -> None:
    pixels = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.uint16)
    image = to_input(pixels, low=0, high=float(pixels.max()))
    assert image.shape == (224, 224)
    assert (image.min(), image.max()) == (0, 255)
    assert (np.diff(image.astype(int), axis=0) >= 0).all()
    assert np.diff(image.astype(int), axis=1).max() <= 255 // min(shape) + 3


def test_input_is_the_callers_only_copy() -> None:
    pixels = film()
    before = pixels.copy()
    to_input(pixels, low=0, high=WHITE, inverted=True)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (5,), (), (2, 5, 5), (5, 5, 1)])
def test_bad_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected pixels"):
        to_input(np.zeros(shape, np.uint16), low=0, high=1)


@pytest.mark.parametrize(("low", "high"), [(5, 5), (6, 5), (float("nan"), 5), (5, float("nan"))])
def test_empty_window_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="window is empty"):
        to_input(film(), low=low, high=high)


@pytest.mark.parametrize("size", [32, 128, 224])
def test_size_comes_from_the_spec(size: int) -> None:
    assert to_input(film(), low=0, high=WHITE, spec=PreprocessSpec(size=size)).shape == (size, size)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8, np.float32])
def test_pixels_that_are_not_square_are_made_so(axis: int, dtype: type[np.generic]) -> None:
    """A film with every row or column twice, and pixels half as long, is the same film."""
    pixels = (film() >> 4).astype(dtype)
    twice = np.repeat(pixels, 2, axis=axis)
    plain = to_input(pixels, low=0, high=255)
    assert difference(to_input(twice, low=0, high=255, aspect=(0.5, 2.0)[axis]), plain) <= 1
    assert difference(to_input(twice, low=0, high=255), plain) > 20
