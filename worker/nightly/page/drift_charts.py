"""Figures of drift; see `model.pages.svg`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from model.findings import in_order
from model.pages.svg import ACCENT, INK, PALE, QUIET, WIDTH, Chart, canvas, chart
from worker.db.film_measures import DISTANCE, INPUTS, PROBABILITY, UNITS
from worker.monitoring.drift_result import DriftResult, DriftTest

MOST_ROWS, MOST_PANELS, PANELS_A_ROW = 30, 12, 4
STEPS = (1.0, 2.5, 5.0)
"""Times the least PSI that counts as drift: with .1, the customary .1 and .25, and .5."""
SHADES = ("#f6f8fa", "#cfe0f1", "#7fb0dd", ACCENT)
UNTESTED = "#e7e9ec"


def heat_map(result: DriftResult) -> Chart:
    """PSI beyond chance of each AE and measure. AEs that drifted come first; `MOST_ROWS` of them are drawn."""
    worst: dict[tuple[str, str], DriftTest] = {}
    for test in sorted(result.tests, key=lambda test: (test.alarm, test.excess)):
        worst[test.calling_ae, test.measure] = test
    alarms = {test.calling_ae for test in result.alarms}
    looked_at = {(test.calling_ae, test.measure) for test in result.tests}
    looked_at |= {(left.calling_ae, left.measure) for left in result.untested}
    names = {calling_ae for calling_ae, _ in looked_at}
    senders = sorted(names, key=lambda name: (name not in alarms, name))[:MOST_ROWS]
    measures = in_display_order({measure for _, measure in looked_at})
    steps = [step * (result.options.psi or 0.1) for step in STEPS]
    with canvas(1.0 + 0.32 * len(senders)) as figure:
        axis = figure.subplots()
        for row, sender in enumerate(senders):
            for column, measure in enumerate(measures):
                _cell(axis, row, column, worst.get((sender, measure)), steps)
        axis.set(xlim=(-0.5, len(measures) - 0.5), ylim=(len(senders) - 0.5, -0.5))
        axis.set_xticks(range(len(measures)), [measure.replace(":", "\n") for measure in measures])
        axis.set_yticks(range(len(senders)), senders)
        axis.tick_params(length=0, labeltop=True, labelbottom=False)
        for spine in axis.spines.values():
            spine.set_visible(False)
        bounds = [f"below {steps[0]:g}, or by chance", *(f"from {step:g}" for step in steps)]
        shown = [Patch(color=shade, label=label) for shade, label in zip(SHADES, bounds, strict=True)]
        shown.append(Patch(facecolor="none", edgecolor=INK, linewidth=1.6, label="drift or outliers"))
        shown.append(Patch(facecolor=UNTESTED, edgecolor=QUIET, hatch="///", linewidth=0, label="not tested"))
        figure.legend(handles=shown, loc="outside lower left", ncols=len(shown), labelcolor=QUIET)
    words = "; ".join(
        f"{test.calling_ae} {test.measure} "
        + (f"{test.excess:.2f}" if test.moved else f"{test.outside:.0%} of films outside its usual range")
        for test in result.alarms
    )
    return chart(
        figure,
        f"PSI beyond chance of {len(names)} sending AEs in {len(measures)} measures, {len(result.tests)} tests. "
        + (f"Drift: {words}." if words else "No drift."),
    )


def quantiles(alarms: Sequence[DriftTest]) -> Chart:
    """Reference and films of what drifted: 5 to 95 %, the middle half, and the median."""
    drawn = sorted(alarms, key=lambda test: test.excess, reverse=True)[:MOST_PANELS]
    columns = min(PANELS_A_ROW, len(drawn))
    rows = -(-len(drawn) // columns)
    with canvas(1.4 * rows, width=WIDTH * max(columns, 2) / PANELS_A_ROW) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, test in zip(axes, drawn, strict=False):
            if test.quantiles:
                _strip(axis, 0, test.quantiles.reference, QUIET)
                _strip(axis, 1, test.quantiles.films, ACCENT)
            axis.set(title=f"{test.calling_ae} {test.measure}", ylim=(1.6, -0.6))
            axis.set_xlabel(UNITS.get(test.measure, ""), fontsize=7.5)
            axis.set_yticks([0, 1], ["reference", f"{test.films} films"])
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
            axis.grid(axis="x", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            axis.margins(x=0.08)
        for axis in axes[len(drawn) :]:
            axis.set_visible(False)
        words = "; ".join(
            f"{test.calling_ae} {test.measure} {test.reference_median:.3g} before, {test.median:.3g} now"
            for test in drawn
        )
        return chart(figure, f"What drifted, medians: {words}.")


def in_display_order(measures: set[str]) -> list[str]:
    """Inputs, distance, then findings in their order."""
    findings = in_order(sorted(name.removeprefix(PROBABILITY) for name in measures if name.startswith(PROBABILITY)))
    return [name for name in (*INPUTS, DISTANCE) if name in measures] + [PROBABILITY + name for name in findings]


def _cell(axis: Axes, row: int, column: int, test: DriftTest | None, steps: Sequence[float]) -> None:
    corner = (column - 0.47, row - 0.44)
    if test is None:
        axis.add_patch(Rectangle(corner, 0.94, 0.88, facecolor=UNTESTED, edgecolor="white", hatch="///", linewidth=0))
        return
    shade = int(np.searchsorted(steps, test.excess, side="right")) if test.note else 0
    line = {"edgecolor": INK, "linewidth": 1.8} if test.alarm else {"linewidth": 0}
    axis.add_patch(Rectangle(corner, 0.94, 0.88, facecolor=SHADES[shade], zorder=2 if test.alarm else 1, **line))
    axis.text(
        column,
        row,
        f"{max(test.excess, 0):.2f}",
        ha="center",
        va="center",
        zorder=3,
        color="white" if shade == len(SHADES) - 1 else INK if test.note else QUIET,
        fontweight="bold" if test.alarm else "normal",
    )


def _strip(axis: Axes, row: int, values: Sequence[float], colour: str) -> None:
    low, quarter, middle, three, high = values
    axis.plot([low, high], [row, row], color=colour, linewidth=1.2)
    axis.barh(row, three - quarter, left=quarter, height=0.5, color=colour, alpha=0.45)
    axis.plot([middle, middle], [row - 0.32, row + 0.32], color=colour, linewidth=2.2)
