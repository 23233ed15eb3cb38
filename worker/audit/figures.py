"""The nightly report's figures; see `model.figures`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from model.figures import ACCENT, INK, PALE, QUIET, STYLE, WIDTH, Chart, chart_of

PENDING, REFUSED, FAILED = "#D98200", "#9aa5b1", "#882255"


def day(hours: Sequence[dict[str, Any]]) -> Chart:
    """Films of each hour, and how long they took from received to scored."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        films, took = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1.3))
        spots = np.arange(len(hours))
        received = [one["received"] for one in hours]
        films.bar(spots, received, color=PALE, width=0.82, label="received")
        films.bar(spots, [one["scored"] for one in hours], color=ACCENT, width=0.5, label="scored")
        films.legend(loc="upper left", ncols=2)
        films.set(title="Films", ylim=(0, max([*received, 1]) * 1.18))
        known = [(spot, one["seconds"]) for spot, one in zip(spots, hours, strict=True) if one["seconds"]]
        for share, style in (("p50", "-"), ("p95", "--")):
            values = [seconds[share] for _, seconds in known]
            took.plot([spot for spot, _ in known], values, style, color=INK, marker="o", markersize=3, label=share)
        took.set(title="Seconds from received to scored, by hour of receipt")
        took.set_ylim(0, max([seconds["p95"] for _, seconds in known], default=1.0) * 1.5)
        if known:
            took.legend(loc="upper left", ncols=2)
        took.set_xticks(spots, [one["hour"][:2] for one in hours])
        for axis in (films, took):
            axis.grid(axis="y", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
        busiest = max(hours, key=lambda one: int(one["received"]))
        said = f"Films by hour: {sum(received)} received, most at {busiest['hour']} ({busiest['received']})."
        slow = max(known, key=lambda pair: float(pair[1]["p95"]), default=None)
        if slow:
            spot, seconds = slow
            said += f" Slowest hour {hours[int(spot)]['hour']}: median {seconds['p50']:g} s, 95 % {seconds['p95']:g} s."
        return chart_of(figure, said)


def ends(senders: Sequence[dict[str, Any]]) -> Chart:
    """What became of each sender's films, as stacked bars."""
    kinds = (("scored", ACCENT), ("ineligible", REFUSED), ("failed", FAILED), ("pending", PENDING))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.32 * max(len(senders), 1)), layout="constrained")
        axis = figure.subplots()
        rows = np.arange(len(senders))
        left = np.zeros(len(senders))
        for name, colour in kinds:
            widths = np.array([total(sender[name]) for sender in senders], float)
            axis.barh(rows, widths, left=left, color=colour, height=0.6, label=name)
            left += widths
        axis.set_yticks(rows, [sender["calling_ae"] for sender in senders])
        axis.invert_yaxis()
        axis.set(xlabel="films")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x", color=PALE, linewidth=0.6)
        axis.set_axisbelow(True)
        if senders:
            axis.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), labelcolor=QUIET)
        said = [
            f"{sender['calling_ae']}: " + ", ".join(f"{name} {total(sender[name])}" for name, _ in kinds)
            for sender in senders
        ]
        return chart_of(figure, f"What became of each sender's films. {'; '.join(said)}.")


def total(count: "int | dict[str, int]") -> int:
    return sum(count.values()) if isinstance(count, dict) else count
