"""Frames of a result's picture: the film untouched, words beside it that can be read at any size."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_gateway.capture_frames import LEAST_LETTERS, RULE, Frames, frames_of
from dicom_gateway.capture_words import Line, Tone
from dicom_gateway.lettering import lettered
from tests.unit.gateway.captures import AT, NOT_NORMAL, drawn, picture, result_of, unflagged

SHAPES = {"tiny": (200, 200), "usual": (1024, 840), "tall": (1024, 60), "wide": (90, 1024), "one pixel": (1, 1)}


def made(rows: int, columns: int, **options: Any) -> Frames:
    film = picture(rows, columns)
    return frames_of(result_of(**options), film, drawn(film), AT)


def text_rows(block: NDArray[np.uint8]) -> list[int]:
    """Heights of the lines of letters in a block [rows, columns, 3]."""
    lit = np.concatenate([[False], (block > 60).any(axis=(1, 2)), [False]])
    starts, ends = np.flatnonzero(~lit[:-1] & lit[1:]), np.flatnonzero(lit[:-1] & ~lit[1:])
    return (ends - starts).tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_the_film_is_untouched(name: str) -> None:
    film = picture(*SHAPES[name])
    over = drawn(film)
    frames = frames_of(result_of(), film, over, AT)
    assert (frames.pixels[0][frames.film] == film[:, :, None]).all()
    assert (frames.pixels[1][frames.film] == over.pixels).all()
    rows, columns = frames.film
    outside = frames.pixels[:, rows].copy()
    outside[:, :, columns] = 0
    assert not outside.any(), "nothing stands beside the film"


@pytest.mark.parametrize("name", SHAPES)
def test_letters_are_large_enough_for_the_film(name: str) -> None:
    """Capitals are .73 of the letters' height in DejaVu Sans: 15 pixels at least, 23 beside a film of 1,024."""
    rows, columns = SHAPES[name]
    frames = made(rows, columns)
    size = max(LEAST_LETTERS, 0.022 * max(rows, columns))
    lines = text_rows(frames.pixels[0][: frames.film[0].start - 1])
    assert len(lines) >= 4
    assert all(0.65 * size < height < 1.35 * size for height in lines)
    assert frames.pixels.shape[2] >= 42 * LEAST_LETTERS


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_cut_at_the_right(name: str) -> None:
    frames = made(*SHAPES[name], notes=())
    rows, _ = frames.film
    words = np.concatenate([frames.pixels[:, : rows.start], frames.pixels[:, rows.stop :]], axis=1)
    rule = (words == RULE).all(axis=(0, 2, 3))
    assert not words[:, ~rule, -5:].any()


def test_both_frames_say_the_outcome_and_the_origin() -> None:
    frames = made(300, 256).pixels
    above = frames[:, : made(300, 256).film[0].start]
    assert (above[0] == above[1]).all()
    assert (frames[0] != frames[1]).any()


def test_the_second_frame_has_the_colour_scale_with_its_ends() -> None:
    film = picture(900, 800)
    frames = frames_of(result_of(), film, replace(drawn(film), colours=np.full((256, 3), (10, 200, 30), np.uint8)), AT)
    scale = (frames.pixels == (10, 200, 30)).all(axis=3)
    assert not scale[0].any()
    rows, columns = np.nonzero(scale[1])
    assert np.ptp(rows) + 1 == 20
    assert np.ptp(columns) + 1 == frames.pixels.shape[2] // 3
    assert scale[1].sum() == 20 * (frames.pixels.shape[2] // 3)
    beside = frames.pixels[1, rows.min() : rows.max()]
    assert beside[:, : columns.min()].any()
    assert beside[:, columns.max() + 1 :].any()


def test_a_map_of_nothing_has_no_scale() -> None:
    film = picture()
    nothing = frames_of(result_of(), film, drawn(film, most=0.0), AT).pixels
    assert nothing.shape[1] < frames_of(result_of(), film, drawn(film), AT).pixels.shape[1]


def test_without_a_map_there_is_one_frame() -> None:
    assert len(frames_of(unflagged(), picture(), None, AT).pixels) == 1


def test_other_words_other_pixels() -> None:
    film = picture()
    frames = [
        frames_of(result_of(findings=(found,)), film, None, AT).pixels
        for found in (NOT_NORMAL, replace(NOT_NORMAL, probability=0.84))
    ]
    assert frames[0].shape == frames[1].shape
    assert (frames[0] != frames[1]).any()


@pytest.mark.parametrize("text", ["word " * 40, "W" * 200, "pneumonia" + "x" * 100 + " end", "é ü Ω ж"])
def test_long_lines_are_broken(text: str) -> None:
    whole, block = (lettered([Line(text=text)], width, 15) for width in (100_000, 200))
    lit = [int((pixels > 128).any(axis=2).sum()) for pixels in (whole, block)]
    assert lit[1] == pytest.approx(lit[0], rel=0.1), "every letter is there"
    assert not block[:, -5:].any()


def test_tones_are_told_apart_and_bright() -> None:
    for tone in Tone:
        block = lettered([Line(text="flag", tone=tone)], 200, 15)
        assert tuple(block.reshape(-1, 3).max(axis=0)) == tone.value
        assert np.dot(tone.value, (0.299, 0.587, 0.114)) > 150


def test_no_lines_take_no_room() -> None:
    assert lettered([], 200, 15).shape == (0, 200, 3)
