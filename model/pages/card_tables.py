"""Tables of the card: what the network was measured to do, in fp32 and int8, and what the gate refuses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from model.bundle import Bundle
from model.data.dataset import MORE
from model.evaluation.comparisons import Difference
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.slices import PartMeasures
from model.findings import SPOKEN
from model.gate.gate_measures import GateMeasures
from model.pages.flags import card_rows
from model.pages.markdown import cell, paragraph, share, table
from model.pages.old_and_new import STRANGER
from model.pages.texts import promise_text
from model.stats.agreement import Agreement
from model.stats.estimate import Estimate, Proportion
from model.stats.summaries import Summary

RIVALS = {
    "svm": "SVM on the same training films",
    "svm_own_views": "SVM on the training films of these views",
    "shortcut": "five source statistics, no lung seen",
}
DRAWN = {
    "limb": "limbs",
    "page": "pages of text",
    "shapes": "shapes",
    "gradient": "gradients",
    "noise": "noise",
    "part": "parts of films",
    "tiles": "films cut into shuffled tiles",
}
"""Pictures made for the gate: key in the bundle's manifest -> words."""


def views_of(evaluation: EvaluationContent) -> str:
    return ", ".join(evaluation.data.views)


def part_names(evaluation: EvaluationContent) -> dict[str, str]:
    """Parts in the order of the card; those that this evaluation has."""
    views = views_of(evaluation)
    words = {
        "train": f"train, {views}",
        "val": f"val, {views} (chosen on it)",
        "test": f"**test, {views}**",
        "test_all": "test, all views",
        "more": "test films of the subset more, all views",
    }
    return {name: text for name, text in words.items() if name in evaluation.parts}


def measured(evaluation: EvaluationContent) -> Iterable[str]:
    names, findings = part_names(evaluation), evaluation.bundle.findings
    yield from table(["", *names.values()], _rows_of_parts([evaluation.parts[name] for name in names], findings))
    yield from ["", "Beside others on the same test films:", ""]
    yield from _beside(evaluation)
    yield from ["", f"Slices of the test films (all but views: {views_of(evaluation)} only; more: every view):", ""]
    yield from table(
        ["", "films", "accuracy", *(f"recall, {name}" for name in findings)],
        (
            [
                f"{part.group}: {part.name}{', more' if part.of == MORE else ''}",
                sum(part.films.values()),
                cell(part.accuracy),
                *(cell(part.recall[name]) for name in findings),
            ]
            for part in evaluation.slices
            if part.group != "all"
        ),
    )
    fair = evaluation.fair
    if fair and fair.test_all:
        network, shortcut, svm = (fair.test_all[who] for who in ("network", "shortcut", "svm"))
        yield ""
        yield from paragraph(
            f"Pneumonia against COVID-19 within one source ({fair.source}, all views, {network.films} films): AUROC "
            f"{cell(network.auroc)} +, source statistics {cell(shortcut.auroc)} +, SVM {cell(svm.auroc)} +. One "
            f"source is "
            "not one origin: its films come from several web sites, and which site a film is from may tell the finding."
        )[:-1]
    for study in evaluation.studies:
        yield from ["", *paragraph(f"{study.title}. {study.note}")]
        rows = (row for row in study.rows if not str(row[0]).isdigit())  # the report has each resplit
        yield from table(study.columns, rows)


def _rows_of_parts(parts: list[PartMeasures], findings: Sequence[str]) -> Iterable[list[str]]:
    def row(name: str, estimates: Iterable[Estimate]) -> list[str]:
        return [name, *map(cell, estimates)]

    summaries = [part.summary for part in parts]
    yield ["films", *(str(summary.films) for summary in summaries)]
    yield ["patients", *(str(part.patients) for part in parts)]
    yield row("accuracy", (summary.accuracy for summary in summaries))
    yield row("balanced accuracy +", (summary.balanced for summary in summaries))
    for name in findings:
        yield row(f"recall, {name}", (summary.recall[name] for summary in summaries))
    for name in findings:
        yield row(f"precision, {name}", (summary.precision[name] for summary in summaries))
    for name in findings:
        yield row(f"AUROC, {name} +", (part.curves[name].roc.auroc for part in parts))
    yield row("calibration error (ECE) +", (part.reliability.after.scores[0] for part in parts))
    yield from card_rows(parts)


def _beside(evaluation: EvaluationContent) -> Iterable[str]:
    findings, views = evaluation.bundle.findings, views_of(evaluation)

    def figures(test: Summary, test_all: Summary) -> list[str]:
        return [cell(one) for one in (test.accuracy, *(test.recall[name] for name in findings), test_all.accuracy)]

    parts = evaluation.parts
    rows = [["**this network**", *figures(parts["test"].summary, parts["test_all"].summary), "", ""]]
    if other := evaluation.other_network:
        stranger = "" if other.trained_on else f" ({STRANGER})"
        measured = figures(other.parts["test"].summary, other.parts["test_all"].summary)
        rows.append([f"bundle {other.title}{stranger}", *measured, *_minus(other.against["test"])])
    for name, rival in evaluation.baselines.fitted().items():
        measured = figures(rival.test.summary, rival.test_all.summary)
        rows.append([RIVALS[name], *measured, *_minus(evaluation.against[name]["test"])])
    rows.append(["guessing", *[f"{1 / len(findings):.3f}"] * (len(findings) + 2), "", ""])
    if evaluation.paper:
        theirs = evaluation.paper.cnn["test"]
        recalls = (str(theirs.recall[name]) for name in findings)
        rows.append(["the 2020 paper, on its own films", str(theirs.accuracy), *recalls, "", "", ""])
    recall_columns = (f"recall of {name}, {views}" for name in findings)
    last = ("accuracy, all views", f"network minus it, {views} +", f"McNemar p, {views}")
    yield from table(["", f"accuracy, {views}", *recall_columns, *last], rows)


def _minus(difference: Difference) -> tuple[str, str]:
    """The network minus another, and McNemar's p."""
    gain = difference.accuracy
    interval = f" [{gain.interval95[0]:+.2f}, {gain.interval95[1]:+.2f}]" if gain.interval95 else ""
    return f"{gain.value:+.3f}{interval}", f"{difference.mcnemar.p:.3f}"


def promises(bundle: Bundle) -> Iterable[str]:
    """What each operating point was to keep."""
    yield from table(
        ["flag", "probability of", "threshold", "promise"],
        (
            [point.id or point.finding, SPOKEN[point.finding], f"{point.threshold:.4f}", promise_text(point)]
            for point in bundle.operating_points
        ),
    )


def int8_table(variant: Mapping[str, Any]) -> Iterable[str]:
    """A variant's block of the manifest."""
    agreements = {name: Agreement.read(variant[name]) for name in ("val", "test") if name in variant}
    found = list(agreements.values())
    yield from table(
        ["", *("**test**" if name == "test" else name for name in agreements)],
        [
            ["films", *(one.films for one in found)],
            ["mean difference", *(f"{one.mean_difference:.4f}" for one in found)],
            ["largest difference", *(f"{one.largest_difference:.4f}" for one in found)],
            ["films with other flags", *(one.films_with_other_flags for one in found)],
        ],
    )


def gate_tables(gate: Mapping[str, Any], findings: Sequence[str]) -> Iterable[str]:
    """A gate's block of the manifest."""
    splits = {"val": "val (thresholds chosen on it)", "test": "**test**"}
    measures = {name: GateMeasures.read(gate["metrics"][name]) for name in splits if name in gate["metrics"]}

    def row(words: str, share_of: Callable[[GateMeasures], Proportion]) -> list[str]:
        return [words, *(share(share_of(found)) for found in measures.values())]

    yield from table(
        ["", *(splits[name] for name in measures)],
        [
            row("PA told from AP", lambda found: found.view.accuracy),
            row("PA films refused", lambda found: found.eligible_refused),
            row("AP films called PA by their tag: refused", lambda found: found.ap_tagged_pa_refused),
            row("without a tag: PA films scored", lambda found: found.untagged_scored["PA"]),
            row("without a tag: AP films scored", lambda found: found.untagged_scored["AP"]),
            row("turned by 90 degrees: refused", lambda found: found.turned["90"].refused),
            row("turned by 180 degrees: refused", lambda found: found.turned["180"].refused),
            row("turned by 270 degrees: refused", lambda found: found.turned["270"].refused),
            row("inverted: refused", lambda found: found.inverted.refused),
            *_rims(list(measures.values())),
        ],
    )
    last, found = list(measures.items())[-1]
    yield from ["", "By source and label, PA films:", ""]
    called, refused = found.view.by_source, found.untagged_pa_refused.by_label
    rows = [[f"{name}: called PA", share(called[name]["PA"])] for name in sorted(called) if called[name]["PA"].n]
    rows += [[f"{name}, without a tag: refused", share(refused[name])] for name in findings if name in refused]
    yield from table(["", splits[last]], rows)
    yield from ["", "Pictures drawn for this, which are no films: share refused.", ""]
    yield from table(["", "share"], ([DRAWN.get(kind, kind), share(one)] for kind, one in found.made_others.items()))


def _rims(measures: list[GateMeasures]) -> Iterable[list[str]]:
    """A row for each kind of rim; none for a gate that was not measured with them."""
    shares = [found.rimmed for found in measures if found.rimmed]
    for kind in shares[0] if len(shares) == len(measures) else ():
        yield [f"in rims of collimation, {kind}: refused", *(share(found[kind]) for found in shares)]
