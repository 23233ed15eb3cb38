"""The nightly report's figures; see `model.pages.svg`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from model.findings import SPOKEN
from model.pages.svg import ACCENT, CLASS_STYLE, INK, PALE, QUIET, Chart, canvas, chart
from model.stats.sequential import RateWatch
from worker.audit.reconciliation import Sender
from worker.monitoring.live_rates import FindingRates
from worker.nightly.films import Distribution, Hour
from worker.nightly.words import in_films

PENDING, REFUSED, FAILED, HELD = "#D98200", "#9aa5b1", "#882255", "#5b8c85"


def hours(of_day: Sequence[Hour]) -> Chart:
    """Films of each hour, and how long they took from received to scored."""
    with canvas(3.4) as figure:
        films, took = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1.3))
        spots = np.arange(len(of_day))
        received = [hour.received for hour in of_day]
        films.bar(spots, received, color=PALE, width=0.82, label="received")
        films.bar(spots, [hour.scored for hour in of_day], color=ACCENT, width=0.5, label="scored")
        films.legend(loc="upper left", ncols=2)
        films.yaxis.set_major_locator(MaxNLocator(integer=True))
        films.set(title="Films", ylim=(0, max([*received, 1]) * 1.18))
        timed = [(spot, hour, hour.seconds) for spot, hour in enumerate(of_day) if hour.seconds]
        lines = {
            "p50": ([seconds.p50 for *_, seconds in timed], "-"),
            "p95": ([seconds.p95 for *_, seconds in timed], "--"),
        }
        for share, (values, style) in lines.items():
            took.plot([spot for spot, *_ in timed], values, style, color=INK, marker="o", markersize=3, label=share)
        took.set(title="Seconds from received to scored, of those scored, by hour of receipt")
        took.set_ylim(0, max([seconds.p95 for *_, seconds in timed], default=1.0) * 1.5)
        if timed:
            took.legend(loc="upper left", ncols=2)
        took.set_xlim(-0.7, len(of_day) - 0.3)
        took.set_xticks(spots, [hour.hour[:2] for hour in of_day])
        for axis in (films, took):
            axis.grid(axis="y", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
        busiest = max(of_day, key=lambda hour: hour.received)
        words = f"Films by hour: {sum(received)} received, most at {busiest.hour} ({busiest.received})."
        if timed:
            _, hour, seconds = max(timed, key=lambda slow: slow[2].p95)
            words += f" Slowest hour {hour.hour}: median {seconds.p50:g} s, 95 % {seconds.p95:g} s."
        return chart(figure, words)


def ends(senders: Sequence[Sender]) -> Chart:
    """What became of each sender's films, as stacked bars."""
    kinds = (
        ("scored", [sender.scored for sender in senders], ACCENT),
        ("not eligible", [sum(sender.ineligible_films.values()) for sender in senders], REFUSED),
        ("failed", [sum(sender.failed.values()) for sender in senders], FAILED),
        ("waiting", [sender.pending for sender in senders], PENDING),
        *([("quarantined", held, HELD)] if any(held := [sender.quarantined for sender in senders]) else []),
    )
    with canvas(0.7 + 0.32 * max(len(senders), 1)) as figure:
        axis = figure.subplots()
        rows = np.arange(len(senders))
        left = np.zeros(len(senders))
        for spoken, counts, colour in kinds:
            widths = np.array(counts, float)
            axis.barh(rows, widths, left=left, color=colour, height=0.6, label=spoken)
            left += widths
        axis.set_yticks(rows, [sender.calling_ae for sender in senders])
        axis.invert_yaxis()
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="films")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x", color=PALE, linewidth=0.6)
        axis.set_axisbelow(True)
        if senders:
            axis.legend(ncols=len(kinds), loc="lower left", bbox_to_anchor=(0, 1.0), labelcolor=QUIET)
        words = [
            f"{sender.calling_ae}: " + ", ".join(f"{spoken} {counts[row]}" for spoken, counts, _ in kinds)
            for row, sender in enumerate(senders)
        ]
        return chart(figure, f"What became of each sender's films. {'; '.join(words)}.")


def scores(distributions: Sequence[Distribution]) -> Chart:
    """How the day's probabilities are spread, one panel for each finding, with the operating point."""
    with canvas(2.5) as figure:
        figure.set_layout_engine(ConstrainedLayoutEngine(wspace=0.05))
        panels = figure.subplots(1, len(distributions), sharey=True, squeeze=False)[0]
        most = max(max(distribution.counts) for distribution in distributions)
        words = []
        for axis, distribution in zip(panels, distributions, strict=True):
            finding, counts = distribution.finding, distribution.counts
            name = SPOKEN.get(finding, finding)
            edges = np.linspace(0, 1, len(counts) + 1)
            colour = CLASS_STYLE.get(finding, {}).get("color", ACCENT)
            axis.bar(
                edges[:-1], counts, width=np.diff(edges), align="edge", color=colour, edgecolor="white", linewidth=0.6
            )
            for point in distribution.operating_points:
                axis.axvline(point, color=INK, linestyle="--", linewidth=1)
                beside = {"ha": "left", "x": point + 0.015} if point < 0.6 else {"ha": "right", "x": point - 0.015}
                axis.text(y=most * 1.6, s=f"flag from {point:.3f}", va="top", fontsize=7.5, **beside)
            axis.set(title=name, xlim=(0, 1), ylim=(0.7, most * 2), yscale="log", xlabel="probability")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda films, _: f"{films:,.0f}"))  # the usual one writes TeX
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(axis="y", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            words.append(f"{name}: {_spread(counts)}{_from(distribution.operating_points)}")
        panels[0].set_ylabel("films (logarithmic)")
        return chart(figure, f"Probabilities of the day's films. {' '.join(words)}")


def rates(findings: Sequence[FindingRates]) -> Chart:
    """Live rates with exact intervals over the random sample, a panel for each label, beside where each was
    calibrated."""
    with canvas(0.9 + 0.42 * len(findings)) as figure:
        figure.set_layout_engine(ConstrainedLayoutEngine(wspace=0.05))
        panels = figure.subplots(1, len(findings[0].by_label), sharey=True, squeeze=False)[0]
        rows, words = np.arange(len(findings)), []
        names = [SPOKEN.get(finding.finding, finding.finding) for finding in findings]
        for axis, label in zip(panels, [one.label for one in findings[0].by_label], strict=True):
            spoken = SPOKEN.get(label, label)
            for row, name, finding in zip(rows, names, findings, strict=True):
                (found,) = (one for one in finding.by_label if one.label == label)
                rate = found.rate
                value = rate.published_value
                if rate.calibrated:
                    low, high = rate.calibrated
                    axis.barh(row, high - low, left=low, height=0.5, color=PALE)
                if value is not None:
                    axis.plot(rate.interval95, [row, row], color=FAILED if rate.alarm else INK, linewidth=1.6)
                    mark, colour = ("X", FAILED) if rate.alarm else ("o", ACCENT)
                    axis.plot(value, row, mark, color=colour, markersize=6)
                words.append(f"{name} on films labelled {spoken}, {found.name}{_rate_in_words(rate)}.")
            axis.set(title=f"labelled {spoken}", xlim=(-0.02, 1.02), ylim=(len(findings) - 0.5, -0.5))
            axis.grid(axis="x", color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            axis.tick_params(axis="y", length=0)
        panels[0].set_yticks(rows, names)
        return chart(figure, f"How often live flags are right, random sample, 95 % intervals. {' '.join(words)}")


def _spread(counts: Sequence[int]) -> str:
    """Where most films lie, in words."""
    number, bins = sum(counts), len(counts)
    high = sum(counts[bins // 2 :])
    return f"{in_films(number)}, {high} of them from 0.5 up"


def _from(points: Sequence[float]) -> str:
    return "; flagged from " + ", ".join(f"{point:.3f}" for point in points) + "." if points else "."


def _rate_in_words(rate: RateWatch) -> str:
    if rate.published_value is None:
        return ": no film"
    low, high = rate.interval95
    calibrated = f"; calibrated {rate.calibrated[0]:.2f} to {rate.calibrated[1]:.2f}" if rate.calibrated else ""
    return f" {rate.published_value:.2f} [{low:.2f}, {high:.2f}]{calibrated}"
