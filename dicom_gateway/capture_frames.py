"""The frames of a result's picture: the film with a banner, and the film with the map of a finding.

Nothing is written over the film: the banner stands above, legend and origin below it.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.capture_words import Line, Tone, capitals, made_by, outcome
from dicom_gateway.lettering import lettered, width_of
from dicom_gateway.picture import Picture
from dicom_gateway.result import FilmResult

Colours = NDArray[np.uint8]
LETTERS = 0.022
"""Height of the letters, of the film's longer side: 20 pixels where a viewer gives a film 900."""
LEAST_LETTERS = 15
"""Pixels: below that DejaVu Sans is hard to read."""
LEAST_WIDTH = 42
"""Of a frame, in letters' heights: about 70 characters a line, also where the film is narrow."""
RULE = (90, 90, 90)
"""Grey of the line between film and words."""


@dataclass(frozen=True, kw_only=True)
class DrawnMap:
    """The film with the map of a finding drawn over it."""

    finding: str
    """Its name, as in a result."""
    pixels: Colours
    """uint8 [rows, columns, 3], RGB, as large as the film's picture."""
    colours: Colours
    """uint8 [256, 3], RGB, from nothing to `most`."""
    most: float
    """The map's largest value: what a place adds to the finding's logit. 0 where nothing spoke for it. It is not
    written: it has no unit that a reader knows, and says nothing beside another film's."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    pixels: Colours
    """uint8 [frames, rows, columns, 3], RGB."""
    film: tuple[slice, slice]
    """Rows and columns of each frame that are the film."""


def frames_of(result: FilmResult, picture: Picture, drawn: DrawnMap | None, at: datetime) -> Frames:
    """One frame, or two where there is a map.

    Args:
        picture: uint8 [rows, columns], the film as displayed.
        at: the time to write.
    """
    rows, columns = picture.shape
    size = max(LEAST_LETTERS, round(LETTERS * max(rows, columns)))
    width = max(columns, LEAST_WIDTH * size)
    rule = np.full((1, width, 3), RULE, np.uint8)
    above = np.concatenate([lettered(outcome(result), width, size), rule])
    films = [np.repeat(picture[:, :, None], 3, axis=2)] + ([drawn.pixels] if drawn else [])
    legends = [_film_legend(drawn, width, size)] + ([_map_legend(drawn, width, size)] if drawn else [])
    origin = lettered([made_by(result, at)], width, size)
    below = [np.concatenate([rule, legend, origin]) for legend in legends]
    height = max(map(len, below))
    left = (width - columns) // 2
    frames = np.zeros((len(films), len(above) + rows + height, width, 3), np.uint8)
    film = slice(len(above), len(above) + rows), slice(left, left + columns)
    for frame, shown, words in zip(frames, films, below, strict=True):
        frame[: len(above)] = above
        frame[film] = shown
        frame[film[0].stop : film[0].stop + len(words)] = words
    return Frames(pixels=frames, film=film)


def _film_legend(drawn: DrawnMap | None, width: int, size: int) -> Colours:
    title = Line(text="The film as displayed. NOT FOR DIAGNOSIS.", tone=Tone.WARNING, bold=True)
    following = [Line(text=f"Next frame: what spoke for {capitals(drawn.finding)} in the network.")] if drawn else []
    return lettered([title, *following], width, size)


def _map_legend(drawn: DrawnMap, width: int, size: int) -> Colours:
    """Finding, colour scale, and what it is not."""
    name = capitals(drawn.finding)
    title = Line(text=f"What spoke for {name} in the network. NOT FOR DIAGNOSIS.", tone=Tone.WARNING, bold=True)
    if not drawn.most > 0:
        return lettered([title, Line(text="Nothing did.")], width, size)
    meaning = (
        "Inside the white line: at least half as strong as at the strongest place. Outside the grey line the network "
        "shows no place. The map shows where, not why, and not how sure."
    )
    parts = lettered([title], width, size), _scale(drawn, width, size), lettered([Line(text=meaning)], width, size)
    return np.concatenate(parts)


def _scale(drawn: DrawnMap, width: int, size: int) -> Colours:
    """Colours from nothing to the film's own most, with words beside them: uint8 [rows, width, 3]."""
    ends = ["nothing", "strongest place of this film"]
    first, last = (lettered([Line(text=end)], width_of(end, size) + 2 * size, size) for end in ends)
    bar = np.repeat(drawn.colours[None], size, axis=0)[:, np.linspace(0, 255, width // 3).round().astype(int)]
    strip = np.zeros((len(first), width, 3), np.uint8)
    top, at = (len(first) - size) // 2, first.shape[1]
    strip[:, :at] = first
    strip[top : top + size, at : at + bar.shape[1]] = bar
    strip[:, at + bar.shape[1] : at + bar.shape[1] + last.shape[1]] = last
    return strip
