"""How every figure looks, and how matplotlib's becomes SVG with the text that stands for it where it cannot be seen.

No pyplot, so no global figure state; the same numbers draw the same bytes. Colours are told apart by the colour-blind
and in grey, and line style says the same.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, QUIET, PALE, ACCENT = "#1b1f24", "#6b7280", "#d9dde3", "#0b5cad"
CLASS_STYLE: Any = {
    "normal": {"color": "#0072B2", "linestyle": "-"},
    "pneumonia": {"color": "#D98200", "linestyle": (0, (5, 1.5))},
    "covid19": {"color": "#882255", "linestyle": (0, (3, 1.2, 1, 1.2))},
}
OTHER_STYLES: Any = (
    {"color": "#009E73", "linestyle": (0, (1, 1))},
    {"color": "#56B4E9", "linestyle": (0, (8, 2))},
    {"color": "#5F4690", "linestyle": (0, (6, 2, 1, 2))},
    {"color": "#1b1f24", "linestyle": (0, (2, 2))},
)
"""Of findings that are not the paper's, in their order and over again."""
STYLE: Any = {
    "svg.hashsalt": "xrayq",
    "svg.fonttype": "path",
    "text.parse_math": False,  # an AE title may be $$
    "font.size": 8.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "text.color": INK,
}
WIDTH = 11.1


@dataclass(frozen=True, kw_only=True)
class Chart:
    svg: bytes
    alt: str
    """What it shows, in words, with the numbers that matter."""


def styles(findings: Iterable[str]) -> dict[str, Any]:
    """Colour and line of each finding."""
    others = cycle(OTHER_STYLES)
    return {name: CLASS_STYLE[name] if name in CLASS_STYLE else next(others) for name in findings}


@contextmanager
def canvas(height: float, *, width: float = WIDTH) -> Iterator[Figure]:
    """A figure of this size in inches, to be drawn on in the style of all."""
    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def chart(figure: Figure, alt: str) -> Chart:
    FigureCanvasSVG(figure)
    out = io.BytesIO()
    with rc_context(STYLE):  # without its salt the identifiers differ each time
        figure.savefig(out, format="svg", metadata={"Date": None})
    return Chart(svg=out.getvalue(), alt=alt)
