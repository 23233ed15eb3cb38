"""The nightly report's figures; see `model.pages.figures`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter

from model.findings import SPOKEN
from model.pages.figures import ACCENT, CLASS_STYLE, INK, PALE, QUIET, STYLE, WIDTH, Chart, chart
from worker.audit.reconciliation import total
from worker.nightly.page.words import in_films

PENDING, REFUSED, FAILED = "#D98200", "#9aa5b1", "#882255"
SPOKEN_RATES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "positive predictive value",
}
RATES = tuple(SPOKEN_RATES)


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
        took.set(title="Seconds from received to scored, of those scored, by hour of receipt")
        took.set_ylim(0, max([seconds["p95"] for _, seconds in known], default=1.0) * 1.5)
        if known:
            took.legend(loc="upper left", ncols=2)
        took.set_xlim(-0.7, len(hours) - 0.3)
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
        return chart(figure, said)


def ends(senders: Sequence[dict[str, Any]]) -> Chart:
    """What became of each sender's films, as stacked bars; see `reconciliation.films_of`."""
    kinds = (
        ("scored", "scored", ACCENT),
        ("ineligible", "not eligible", REFUSED),
        ("failed", "failed", FAILED),
        ("pending", "waiting", PENDING),
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.7 + 0.32 * max(len(senders), 1)), layout="constrained")
        axis = figure.subplots()
        rows = np.arange(len(senders))
        left = np.zeros(len(senders))
        for name, spoken, colour in kinds:
            widths = np.array([total(sender[name]) for sender in senders], float)
            axis.barh(rows, widths, left=left, color=colour, height=0.6, label=spoken)
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
            f"{sender['calling_ae']}: " + ", ".join(f"{spoken} {total(sender[name])}" for name, spoken, _ in kinds)
            for sender in senders
        ]
        return chart(figure, f"What became of each sender's films. {'; '.join(said)}.")


def scores(distributions: Sequence[dict[str, Any]]) -> Chart:
    """How the day's probabilities are spread, one panel for each finding, with the operating point."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5), layout=ConstrainedLayoutEngine(wspace=0.05))
        panels = figure.subplots(1, len(distributions), sharey=True, squeeze=False)[0]
        most = max(max(one["counts"]) for one in distributions)
        said = []
        for axis, one in zip(panels, distributions, strict=True):
            counts, name = one["counts"], SPOKEN.get(one["finding"], one["finding"])
            edges = np.linspace(0, 1, len(counts) + 1)
            colour = CLASS_STYLE.get(one["finding"], {}).get("color", ACCENT)
            axis.bar(
                edges[:-1], counts, width=np.diff(edges), align="edge", color=colour, edgecolor="white", linewidth=0.6
            )
            for point in one["operating_points"]:
                axis.axvline(point, color=INK, linestyle="--", linewidth=1)
                beside = {"ha": "left", "x": point + 0.015} if point < 0.6 else {"ha": "right", "x": point - 0.015}
                axis.text(y=most * 1.6, s=f"flag from {point:.2f}", va="top", fontsize=7.5, **beside)
            axis.set(title=name, xlim=(0, 1), ylim=(0.7, most * 2), yscale="log", xlabel="probability")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda films, _: f"{films:,.0f}"))  # the usual one writes TeX
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(axis="y", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            said.append(f"{name}: {_spread(counts)}{_from(one['operating_points'])}")
        panels[0].set_ylabel("films (logarithmic)")
        return chart(figure, f"Probabilities of the day's films. {' '.join(said)}")


def rates(findings: Sequence[dict[str, Any]]) -> Chart:
    """Live rates with exact intervals over the labelled films, beside the interval each was calibrated in."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(findings)), layout=ConstrainedLayoutEngine(wspace=0.05))
        panels = figure.subplots(1, len(RATES), sharey=True)
        rows, said = np.arange(len(findings)), []
        for axis, name in zip(panels, RATES, strict=True):
            for row, one in zip(rows, findings, strict=True):
                rate = one[name]
                if rate["calibrated"]:
                    low, high = rate["calibrated"]
                    axis.barh(row, high - low, left=low, height=0.5, color=PALE)
                if rate["value"] is not None:
                    left = rate.get("alarm")
                    axis.plot(rate["interval95"], [row, row], color=FAILED if left else INK, linewidth=1.6)
                    axis.plot(rate["value"], row, "X" if left else "o", color=FAILED if left else ACCENT, markersize=6)
                said.append(_said_rate(SPOKEN.get(one["finding"], one["finding"]), name, rate))
            axis.set(title=SPOKEN_RATES[name], xlim=(-0.02, 1.02), ylim=(len(findings) - 0.5, -0.5))
            axis.grid(axis="x", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            axis.tick_params(axis="y", length=0)
        panels[0].set_yticks(rows, [SPOKEN.get(one["finding"], one["finding"]) for one in findings])
        return chart(figure, f"Live rates on labelled films, with 95 % intervals. {' '.join(said)}")


def _spread(counts: Sequence[int]) -> str:
    """Where most films lie, in words."""
    number, bins = sum(counts), len(counts)
    high = sum(counts[bins // 2 :])
    return f"{in_films(number)}, {high} of them from 0.5 up"


def _from(points: Sequence[float]) -> str:
    return "; flagged from " + ", ".join(f"{point:.2f}" for point in points) + "." if points else "."


def _said_rate(finding: str, name: str, rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return f"{finding} {SPOKEN_RATES[name]}: no film."
    low, high = rate["interval95"]
    calibrated = (
        f"; calibrated {rate['calibrated'][0]:.2f} to {rate['calibrated'][1]:.2f}" if rate["calibrated"] else ""
    )
    return f"{finding} {SPOKEN_RATES[name]} {rate['value']:.2f} [{low:.2f}, {high:.2f}]{calibrated}."
