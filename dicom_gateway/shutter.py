"""The Display Shutter (PS3.3 C.7.6.11): what lies outside its shapes is not shown.

Rows and columns count from 1, and the edges are part of what is seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.values import number, numbers, texts

Mask = NDArray[np.bool_]
WHITE = 0xFFFF
MOST_VERTICES = 1024
EDGE = 1e-2
"""So near to the edge of a polygon, in columns, counts as on it."""
EDGES = (
    "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge",
    "ShutterLeftVerticalEdge",
    "ShutterRightVerticalEdge",
)
SHUTTER_TAGS = (
    "ShutterShape",
    *EDGES,
    "CenterOfCircularShutter",
    "RadiusOfCircularShutter",
    "VerticesOfThePolygonalShutter",
    "ShutterPresentationValue",
    "ShutterPresentationColorCIELabValue",
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows and columns of a film, counted from 1."""

    y: NDArray[np.float32]
    x: NDArray[np.float32]
    aspect: float
    """Height of a pixel by its width."""

    @classmethod
    def of(cls, shape: tuple[int, ...], aspect: float) -> "Grid":
        y, x = (np.arange(1, side + 1, dtype=np.float32) for side in shape)
        return cls(y=y, x=x, aspect=aspect)


def hidden_by(dataset: Dataset, grid: Grid) -> tuple[Mask | None, bool]:
    """The pixels that the shutter hides, bool [rows, columns], None where there is none; and whether all shapes were
    used. A shape that is malformed, or hides the whole film, is not."""
    names = [name.upper() for name in texts(dataset, "ShutterShape") if name]
    visible: Mask | None = None
    whole = True
    for name in dict.fromkeys(names):
        shape = SHAPES[name](dataset, grid) if name in SHAPES else None
        both = shape if visible is None or shape is None else visible & shape
        if both is None or not both.any():
            whole = False
        else:
            visible = both
    return None if visible is None or visible.all() else ~visible, whole


def grey_of(dataset: Dataset) -> float:
    """What hidden pixels are shown as, 0 black to 1 white: a P-Value, else the lightness of a color, else black."""
    for keyword in ("ShutterPresentationValue", "ShutterPresentationColorCIELabValue"):
        value = number(dataset, keyword)
        if value is not None:
            return min(max((value + 1 + WHITE if value < 0 else value) / WHITE, 0.0), 1.0)
    return 0.0


def _rectangular(dataset: Dataset, grid: Grid) -> Mask | None:
    edges = [number(dataset, keyword) for keyword in EDGES]
    upper, lower, left, right = (np.nan if edge is None else edge for edge in edges)
    if not (upper < lower and left < right):
        return None
    rows, columns = (grid.y >= upper) & (grid.y <= lower), (grid.x >= left) & (grid.x <= right)
    return np.asarray(rows[:, None] & columns[None, :])


def _circular(dataset: Dataset, grid: Grid) -> Mask | None:
    """The radius counts pixels along a row: with pixels that are not square, a circle is one on the screen."""
    center, radius = numbers(dataset, "CenterOfCircularShutter"), number(dataset, "RadiusOfCircularShutter")
    if len(center) != 2 or center[0] is None or center[1] is None or radius is None or radius <= 0:
        return None
    down, across = (grid.y - center[0]) * grid.aspect, grid.x - center[1]
    return np.asarray((down * down)[:, None] + (across * across)[None, :] <= radius * radius)


def _polygonal(dataset: Dataset, grid: Grid) -> Mask | None:
    """Even-odd rule, row by row: from each odd crossing of an edge to the next one."""
    values = numbers(dataset, "VerticesOfThePolygonalShutter")
    if not 6 <= len(values) <= 2 * MOST_VERTICES or len(values) % 2 or None in values:
        return None
    corners = np.array(values, np.float32).reshape(-1, 2)
    ends = np.roll(corners, -1, axis=0)
    y, (y1, x1), (y2, x2) = grid.y[:, None], corners.T, ends.T
    top, bottom = np.minimum(y1, y2), np.maximum(y1, y2)
    slope = np.divide(x2 - x1, y2 - y1, out=np.zeros_like(x1), where=y1 != y2)
    at = x1 + (y - y1) * slope
    visible = np.zeros((len(grid.y), len(grid.x)), bool)
    # Twice, so that a vertex counts for one of its edges and rows at the top and at the bottom are both seen.
    for crossed in ((top <= y) & (y < bottom), (top < y) & (y <= bottom)):
        crossings = np.sort(np.where(crossed, at, np.inf), axis=1)
        for pair in range(int(crossed.sum(axis=1).max()) // 2):
            left, right = crossings[:, 2 * pair, None] - EDGE, crossings[:, 2 * pair + 1, None] + EDGE
            visible |= (grid.x >= left) & (grid.x <= right)
    return visible


SHAPES: dict[str, Callable[[Dataset, Grid], Mask | None]] = {
    "RECTANGULAR": _rectangular,
    "CIRCULAR": _circular,
    "POLYGONAL": _polygonal,
}
"""BITMAP (C.7.6.15) points to an overlay of a presentation state; no image has one."""
