"""Figures of the report: films, confusion matrices, curves, reliability, learning."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from model.findings import SPOKEN
from model.pages.svg import ACCENT, INK, PALE, QUIET, WIDTH, Chart, canvas, chart, styles
from model.pages.texts import estimate_text, number_text
from model.stats.binomial import interval

if TYPE_CHECKING:  # the gateway's image, where the relay draws the nightly report, has neither SciPy nor OpenCV
    from model.evaluation.evaluate import LearningEpoch
    from model.stats.curves import Curves
    from model.stats.reliability import Reliability

SPLITS = {"train": "train", "val": "validation", "test": "test", "more": "more"}


def distribution(films: dict[str, dict[str, dict[str, int]]], views: Sequence[str], findings: Sequence[str]) -> Chart:
    """Films of each class and split; those of the bundle's views solid, others pale."""
    with canvas(2.3) as figure:
        axes = figure.subplots(1, len(films), sharey=True, squeeze=False)[0]
        most = 1
        words = []
        for axis, (split, by_view) in zip(axes, films.items(), strict=True):
            solid = [sum(counts[c] for v, counts in by_view.items() if _within(v, views)) for c in findings]
            pale = [sum(counts[c] for v, counts in by_view.items() if not _within(v, views)) for c in findings]
            rows = np.arange(len(findings))
            colours = [style["color"] for style in styles(findings).values()]
            axis.barh(rows, solid, color=colours, height=0.62)
            axis.barh(
                rows, pale, left=solid, color="white", edgecolor=colours, hatch="////", height=0.62, linewidth=0.8
            )
            for row, (inner, outer) in enumerate(zip(solid, pale, strict=True)):
                axis.text(inner + outer, row, f"  {inner}" + (f" + {outer}" if outer else ""), va="center")
                words.append(f"{split} {SPOKEN[findings[row]]} {inner} and {outer} of other views")
                most = max(most, inner + outer)
            axis.set_yticks(rows, [SPOKEN[name] for name in findings])
            axis.set(title=SPLITS[split], xlabel="films")
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
        for axis in axes:
            axis.set_xlim(0, most * 1.3)
        axes[0].invert_yaxis()
        return chart(
            figure, f"Films of each class and split, of view {', '.join(views)} and of others: {'; '.join(words)}."
        )


def confusions(matrices: dict[str, tuple[tuple[int, ...], ...]], findings: Sequence[str]) -> Chart:
    """Confusion matrices beside one another: counts, shaded by the share of their row."""
    with canvas(2.75, width=WIDTH / 4 * len(matrices)) as figure:
        axes = figure.subplots(1, len(matrices), squeeze=False)[0]
        for column, (axis, (name, matrix)) in enumerate(zip(axes, matrices.items(), strict=True)):
            counts = np.array(matrix, float)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axis.imshow(shares, cmap="Blues", vmin=0, vmax=1.25)
            for (row, called), share in np.ndenumerate(shares):
                colour = "white" if share > 0.65 else INK
                axis.text(
                    called, row, f"{int(counts[row, called])}", ha="center", va="bottom", color=colour, fontsize=10
                )
                axis.text(called, row, f"{share:.0%}", ha="center", va="top", color=colour, fontsize=7)
            names = [SPOKEN[finding] for finding in findings]
            axis.set_xticks(range(len(names)), names, fontsize=7.5)
            axis.set_yticks(range(len(names)), names if column == 0 else [""] * len(names), fontsize=7.5)
            axis.set(title=name, xlabel="called", ylabel="truth" if column == 0 else "")
            axis.tick_params(length=0)
            for spine in axis.spines.values():
                spine.set_visible(False)
        words = [
            f"{name}: "
            + "; ".join(
                f"of {sum(row)} {SPOKEN[findings[i]]} films "
                + ", ".join(f"{count} called {SPOKEN[findings[j]]}" for j, count in enumerate(row))
                for i, row in enumerate(matrix)
            )
            for name, matrix in matrices.items()
        ]
        return chart(figure, f"Confusion matrices. {'. '.join(words)}.")


def curves(parts: "dict[str, dict[str, Curves]]", names: dict[str, str]) -> Chart:
    """ROC and precision-recall curves of each class, a row for each part of the films.

    Args:
        parts: part -> class.
        names: of the parts.
    """
    with canvas(3.9 * len(parts)) as figure:
        rows = figure.subplots(len(parts), 2, squeeze=False)
        words = []
        for (roc_axis, pr_axis), (part, classes) in zip(rows, parts.items(), strict=True):
            style_of = styles(classes)
            for finding, curve in classes.items():
                roc, pr = curve.roc, curve.pr
                if roc.false_positive_rate is None or pr.recall is None:
                    continue
                style = style_of[finding] | {"linewidth": 1.7}
                label = f"{SPOKEN[finding]}  {estimate_text(roc.auroc)}"
                roc_axis.plot(roc.false_positive_rate, roc.true_positive_rate, label=label, **style)
                label = f"{SPOKEN[finding]}  {estimate_text(pr.average_precision)}"
                pr_axis.step(pr.recall, pr.precision, where="pre", label=label, **style)
                share = pr.positives / (pr.positives + pr.negatives)
                pr_axis.axhline(share, color=style_of[finding]["color"], linewidth=0.7, linestyle=":")
                words.append(
                    f"{names[part]}, {SPOKEN[finding]}: AUROC {estimate_text(roc.auroc)}, average precision "
                    f"{estimate_text(pr.average_precision)}"
                )
            roc_axis.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
            roc_axis.set(title=f"{names[part]}: ROC", xlabel="false positive rate", ylabel="true positive rate")
            pr_axis.set(title=f"{names[part]}: precision and recall", xlabel="recall", ylabel="precision")
            roc_axis.legend(loc="lower right", title="AUROC [95 %]", alignment="left")
            pr_axis.legend(loc="best", title="average precision [95 %]", alignment="left")
            for axis in (roc_axis, pr_axis):
                axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
                axis.grid(color=PALE, linewidth=0.6)
        return chart(figure, f"ROC and precision-recall curves of each class against the rest. {'; '.join(words)}.")


def reliability(panels: "Mapping[str, Reliability]") -> Chart:
    """Accuracy against stated confidence in bins of equal mass, with exact intervals; one panel for each entry."""
    with canvas(3.7) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        words = []
        for axis, (name, found) in zip(axes, panels.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
            for group in found.bins:
                low, high = interval(round(group.accuracy * group.count), group.count)
                axis.plot([group.confidence] * 2, [low, high], color=PALE, linewidth=2.2, solid_capstyle="butt")
            xs, ys = [group.confidence for group in found.bins], [group.accuracy for group in found.bins]
            axis.plot(xs, ys, color=ACCENT, marker="o", markersize=4.5, linewidth=1.2)
            axis.set(title=f"{name}: ECE {number_text(found.ece)}", xlabel="stated probability of the called class")
            axis.set(xlim=(0.3, 1.01), ylim=(-0.01, 1.02))
            axis.grid(color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            points = ", ".join(f"{group.confidence:.2f} came true {group.accuracy:.2f}" for group in found.bins)
            words.append(f"{name}, calibration error {number_text(found.ece)}: {points}")
        axes[0].set_ylabel("share that is right")
        return chart(figure, f"Reliability of stated probabilities. {'. '.join(words)}.")


def learning(history: "Sequence[LearningEpoch]") -> Chart:
    """Loss and validation accuracy over epochs, a line for each member."""
    with canvas(3.2) as figure:
        loss, accuracy = figure.subplots(1, 2)
        members = sorted({epoch.member for epoch in history})
        for member in members:
            own = [epoch for epoch in history if epoch.member == member]
            xs = [epoch.epoch for epoch in own]
            first = member == members[0]
            pairs = (
                ([epoch.train_loss for epoch in own], QUIET, "--", "training"),
                ([epoch.validation_loss for epoch in own], ACCENT, "-", "validation"),
            )
            for ys, colour, line, label in pairs:
                loss.plot(xs, ys, color=colour, linestyle=line, linewidth=1.3, label=label if first else None)
            accuracy.plot(xs, [epoch.validation_accuracy for epoch in own], color=ACCENT, linewidth=1.3)
            kept = [epoch for epoch in own if epoch.best][-1:]
            for epoch in kept:
                spot = (epoch.epoch, epoch.validation_accuracy)
                accuracy.plot(*spot, marker="o", color=ACCENT, markersize=6, markerfacecolor="white")
        loss.set(title="Loss, weighted by class", xlabel="epoch", ylabel="loss")
        loss.set_ylim(bottom=0)
        loss.legend()
        accuracy.set(title="Accuracy on validation (ring: best)", xlabel="epoch", ylabel="accuracy")
        for axis in (loss, accuracy):
            axis.grid(color=PALE, linewidth=0.6)
        best = max(epoch.validation_accuracy for epoch in history)
        last = history[-1]
        return chart(
            figure,
            f"Learning curve over {len(history)} epochs of {len(members)} fine-tuning(s): best validation accuracy "
            f"{best:.3f}; at the end training loss {last.train_loss:.3f}, validation loss "
            f"{last.validation_loss:.3f}.",
        )


def _within(view: str, views: Sequence[str]) -> bool:
    return view in views or "all" in views
