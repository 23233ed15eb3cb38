"""Lines of text as pixels, in DejaVu Sans, which comes with matplotlib."""

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicom_gateway.capture_words import Line

Colours = NDArray[np.uint8]
STEP = 1.35
"""From line to line, of the letters' height; the next two likewise."""
SIDES, ABOVE = 0.5, 0.2
"""Beside a block of lines; above and below it."""


def lettered(lines: Sequence[Line], width: int, size: int) -> Colours:
    """Lines under each other, broken between words where they are too long.

    Args:
        width: of the block, pixels.
        size: of the letters, pixels.

    Returns:
        uint8 [rows, width, 3], RGB on black; as many rows as the lines need, 0 for none.
    """
    step, left, top = round(STEP * size), round(SIDES * size), round(ABOVE * size)
    broken = [(text, line) for line in lines for text in _broken(line.text, _font(size, line.bold), width - 2 * left)]
    image = Image.new("RGB", (width, len(broken) * step + 2 * top if broken else 0))
    if broken:
        drawing = ImageDraw.Draw(image)
        for number, (text, line) in enumerate(broken):
            drawing.text((left, top + number * step), text, fill=line.tone.value, font=_font(size, line.bold))
    return np.asarray(image, np.uint8).reshape(image.height, width, 3)


def width_of(text: str, size: int) -> int:
    return int(np.ceil(_font(size, False).getlength(text)))


def _broken(text: str, font: ImageFont.FreeTypeFont, width: int) -> Iterable[str]:
    """Pieces that fit; a word that is too long alone is cut."""
    piece = ""
    for word in text.split():
        while font.getlength(word) > width and len(word) > 1:
            if piece:
                yield piece
                piece = ""
            fits = next(
                count for count in range(len(word) - 1, 0, -1) if count == 1 or font.getlength(word[:count]) <= width
            )
            yield word[:fits]
            word = word[fits:]
        longer = f"{piece} {word}" if piece else word
        if piece and font.getlength(longer) > width:
            yield piece
            longer = word
        piece = longer
    if piece:
        yield piece


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """Laid out without the library raqm, which not every machine has: the same letters everywhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(_folder() / name), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _folder() -> Path:
    """Found without importing matplotlib, which workers do without."""
    package = find_spec("matplotlib")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
