"""Image quality of a whole film as displayed: what can be said without a network.

The limits lie far outside the 285 PA and AP validation films of bundle 0.3.0, so that no film is refused that a
reader would accept. Of these films, shrunk to a shorter side of 320 pixels, the lowest contrast is 0.2667, the lowest
entropy 2.9689 bits, and the largest clipped share of the middle 0.0073. The smallest side of any of them is 224 pixels.
The same films shrunk into the middle of a black square of 224 pixels, 60 of them black at each side, reach 3.7292 bits
and a clipped share of 0.2069: collimation refuses none of them.
"""

from dataclasses import asdict, dataclass

import numpy as np

from model.preprocess import Pixels

SAMPLES = 256
"""Grey values are taken on at most about twice so many rows and columns."""
LEVELS = 64
EDGE = 0.27
"""Share of rows and columns at each side that is not the middle: as much as a wide rim of collimation, `rims.WIDE`."""
LEAST_SIDE = 224
"""Rows and columns. A smaller film would have to be enlarged for the network."""
LEAST_CONTRAST = 0.1
"""Between the 1st and the 99th percentile, of the display range."""
LEAST_ENTROPY = 2.0
"""Bits, of 64 grey levels, of the middle."""
MOST_CLIPPED = 0.25
"""Share of the middle. Collimation and markers lie outside it, so black borders and white letters do not count."""
END = 0.004
"""So near to black or white counts as clipped: one of 256 grey levels."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What was measured of one film."""

    rows: int
    columns: int
    """As the header says, before any reduction."""
    contrast: float
    """99th less 1st percentile of the displayed values, 0..1."""
    entropy: float
    """Entropy of the histogram of the middle's displayed values in 64 bins, bits."""
    clipped: float
    """Share of pixels at one end of the display range, whichever is more, in the middle of rows and columns."""
    brightness: float
    """Mean of the middle of rows and columns as displayed, 0 black, 1 white. No rule looks at it: drift does."""

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def measure(pixels: Pixels, *, low: float, high: float, inverted: bool, rows: int, columns: int) -> Quality:
    """Quality of stored values [H, W] shown between `low` and `high`.

    Args:
        inverted: low values are white; only `brightness` depends on it.
        rows, columns: of the film as stored; `pixels` may have fewer.
    """
    height, width = pixels.shape
    step = max(1, min(height, width) // SAMPLES)
    shown = np.clip((pixels[::step, ::step].astype(np.float32) - low) / (high - low), 0.0, 1.0)
    dark, bright = np.percentile(shown, (1, 99))
    top, left = (int(side * EDGE) for side in shown.shape)
    middle = shown[top : shown.shape[0] - top, left : shown.shape[1] - left]
    counts = np.bincount(np.minimum((middle * LEVELS).astype(np.int64), LEVELS - 1).ravel(), minlength=LEVELS)
    shares = counts[counts > 0] / middle.size
    return Quality(
        rows=rows,
        columns=columns,
        contrast=float(bright - dark),
        entropy=float(-(shares * np.log2(shares)).sum()) + 0.0,
        brightness=float(1.0 - middle.mean() if inverted else middle.mean()),
        clipped=max(float((middle <= END).mean()), float((middle >= 1 - END).mean())),
    )
