"""A map of evidence on its film: where its places lie, and the picture with colours over it. Arrays in, arrays out."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from model.activation_map import Lattice

Picture = NDArray[np.uint8]
Heat = NDArray[np.float32]
COLOURS: Picture = np.ascontiguousarray(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
)
"""uint8 [256, 3], RGB, from nothing to the map's largest value."""
SHARE = 0.65
"""Of the colour where the map is strongest; the film shows through."""
END = 128
"""Grey of the line where the map ends."""
FAINT = 0.15
"""Of the largest value: below it the film is left as it is."""


def placed(evidence: Heat, lattice: Lattice, rows: int, columns: int) -> Heat:
    """A map over a whole film, as the network saw it: its centred square (`model.preprocess.to_input`).

    Args:
        evidence: float32 [rows, columns] of places, from `FilmMaps.evidence`.
        rows, columns: of the film as displayed, with square pixels, in any size.

    Returns:
        float32 [rows, columns], bilinear between the centres of places; NaN where there is none: beside the square, and
        further than half a step from the last one. In bundle `reference` places lie 32 pixels of 224 apart, the first
        on pixel 0, and the head leaves out the last row and column: the lower and right 48 pixels have no map.
    """
    side = min(rows, columns)
    down, across = (
        _weights(length, side, count, lattice) for length, count in zip((rows, columns), evidence.shape, strict=True)
    )
    return np.asarray(down @ evidence @ across.T, np.float32)


def _weights(length: int, side: int, places: int, lattice: Lattice) -> Heat:
    """float32 [length, places]: how much of each place a pixel takes; NaN for pixels that have none."""
    pixels = (np.arange(length) - (length - side) // 2 + 0.5) / side  # of the square, 0..1
    at = (pixels * lattice.size - 0.5 - lattice.first) / lattice.step
    near = np.clip(at, 0, places - 1)[:, None] - np.arange(places)
    weights = np.asarray(np.maximum(1 - np.abs(near), 0), np.float32)
    weights[(pixels < 0) | (pixels > 1) | (at < -0.5) | (at > places - 0.5)] = np.nan
    return weights


def overlay(picture: Picture, heat: Heat) -> Picture:
    """A map over its film, scaled to its own maximum: darker to brighter colours, a white line at half.

    A grey line shows where the map ends within the film.

    Args:
        picture: uint8 [rows, columns].
        heat: float32 [rows, columns], at least 0; NaN where there is no map.

    Returns:
        uint8 [rows, columns, 3], RGB. The film in grey where there is no map and where nothing spoke for the finding.
    """
    grey = np.repeat(picture[:, :, None], 3, axis=2)
    found = _strength(heat)
    if found is None:
        return grey
    share = _share(found)[:, :, None]
    blended = np.ascontiguousarray(np.rint(grey * (1 - share) + _colours(found) * share), np.uint8)
    thick = _thick(heat)
    blended[_ends(heat, thick)] = END
    cv2.drawContours(blended, _half(found), -1, (255, 255, 255), thick, cv2.LINE_AA)
    return blended


def layer(heat: Heat) -> Picture:
    """The same colours and lines by themselves: laid over the film they give `overlay`, to 2 grey levels of
    255, and to 5 on the smoothed edge of a line.

    Returns:
        uint8 [rows, columns, 4], RGBA, alpha not multiplied in.
    """
    found = _strength(heat)
    if found is None:
        return np.zeros((*heat.shape, 4), np.uint8)
    steps = np.arange(256, dtype=np.float32) / np.float32(255)
    table = np.concatenate([COLOURS, np.rint(255 * _share(steps))[:, None].astype(np.uint8)], axis=1)
    drawn = table.take(np.rint(found * 255).astype(np.uint8), axis=0)  # 12 times as quick as table[...]
    thick = _thick(heat)
    drawn[_ends(heat, thick)] = (END, END, END, 255)
    line = cv2.drawContours(np.zeros(heat.shape, np.uint8), _half(found), -1, 255, thick, cv2.LINE_AA)
    at = line > 0
    drawn[at] = _white_over(drawn[at], line[at])
    return drawn


def _white_over(under: Picture, alpha: Picture) -> Picture:
    """RGBA [N, 4] behind white of alpha [N]."""
    behind = under[:, 3:] / np.float32(255) * (1 - alpha[:, None] / np.float32(255))
    whole = behind + alpha[:, None] / np.float32(255)
    colours = 255 + (under[:, :3] - np.float32(255)) * behind / whole
    return np.asarray(np.rint(np.concatenate([colours, 255 * whole], axis=1)), np.uint8)


def _strength(heat: Heat) -> Heat | None:
    """0 to 1, of the map's maximum; None where nothing spoke for the finding."""
    known = np.nan_to_num(heat)
    return np.asarray(known / known.max(), np.float32) if known.max() > 0 else None


def _share(strength: Heat) -> Heat:
    return np.asarray(SHARE * np.clip((strength - FAINT) / (1 - FAINT), 0, 1), np.float32)


def _colours(strength: Heat) -> Picture:
    return COLOURS[np.rint(strength * 255).astype(np.uint8)]


def _half(strength: Heat) -> Sequence[NDArray[np.int32]]:
    """Lines around what is at least half of the maximum."""
    lines, _ = cv2.findContours((strength >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return lines


def _thick(heat: Heat) -> int:
    rows, columns = heat.shape
    return int(max(1, max(rows, columns) // 500))


def _ends(heat: Heat, thick: int) -> NDArray[np.bool_]:
    """Where the map ends within the film, bool [rows, columns]: `thick` pixels beside it."""
    known = np.isfinite(heat)
    around = cv2.dilate(known.astype(np.uint8), np.ones((2 * thick + 1, 2 * thick + 1), np.uint8))
    return np.asarray((around > 0) & ~known)
