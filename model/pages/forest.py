"""A forest plot: values with their intervals, one row for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from model.pages.svg import ACCENT, INK, PALE, QUIET, Chart, canvas, chart
from model.pages.texts import estimate_text
from model.stats.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of a forest plot."""

    name: str
    estimates: tuple[Estimate | None, ...]
    """For each panel; None draws nothing."""
    strong: bool = False
    hollow: bool = False
    """Measured on other films."""
    head: bool = False
    """A heading without estimates."""


def forest(panels: Sequence[str], lines: Sequence[Line], *, reference: Sequence[float | None], what: str) -> Chart:
    """Values with intervals, one row for each line and one panel for each measure.

    Args:
        reference: a dotted line for each panel, such as chance; None draws none.
        what: begins the alternative text.
    """
    with canvas(0.55 + 0.245 * len(lines)) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for column, (axis, name) in enumerate(zip(axes, panels, strict=True)):
            for row, line in enumerate(lines):
                _estimate(axis, row, line, line.estimates[column] if line.estimates else None)
            level = reference[column]
            if level is not None:
                axis.axvline(level, color=QUIET, linewidth=0.8, linestyle=":", zorder=0)
            axis.set(title=name, xlim=(-0.01, 1.01), ylim=(len(lines) - 0.4, -0.6))
            axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
            axis.grid(axis="x", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
        axes[0].set_yticks(range(len(lines)), [line.name for line in lines])
        for label, line in zip(axes[0].get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if line.strong or line.head else "normal")
        words = []
        for line in lines:
            if not line.head:
                values = zip(panels, line.estimates)  # noqa: B905 - a line may have fewer
                words.append(f"{line.name}: " + ", ".join(f"{panel} {estimate_text(value)}" for panel, value in values))
        return chart(figure, f"{what}. {'; '.join(words)}.")


def _estimate(axis: Axes, row: int, line: Line, estimate: Estimate | None) -> None:
    if estimate is None or estimate.value is None:
        return
    colour = ACCENT if line.strong else INK
    bounds = estimate.interval95
    if bounds:
        axis.plot(bounds, [row, row], color=colour, linewidth=2.4 if line.strong else 1.2, solid_capstyle="butt")
    face = "white" if line.hollow else colour
    axis.plot(estimate.value, row, marker="o", markersize=5.5, color=colour, markerfacecolor=face, clip_on=False)
