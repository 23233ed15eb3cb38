"""The report's sections of figures and tables; `model.pages.report` puts them in order."""

from collections.abc import Iterable, Sequence
from math import log

from markupsafe import Markup

from model.evaluation.evaluate import EvaluationContent
from model.evaluation.evaluated_films import FilmCounts
from model.evaluation.papers import Paper
from model.findings import SPOKEN, negative_of
from model.pages import figures
from model.pages.cells import PARTS, cell, columns_of, exact, published, row, views_of
from model.pages.flags import predictive, unsure
from model.pages.forest import Line, forest
from model.pages.html import bullets, figure, paragraph, table
from model.pages.old_and_new import old_and_new
from model.pages.questions import copies
from model.pages.texts import estimate_text, value_text

STATISTICS = {
    "aspect": "width over height",
    "shape": "distance from square",
    "mean": "mean brightness",
    "spread": "spread of brightness",
    "black": "share of black",
    "white": "share of white",
}
RIVALS = {"svm": "SVM", "svm_own_views": "SVM of PA films", "shortcut": "source statistics"}


def calls(content: EvaluationContent) -> Iterable[Markup]:
    parts, rivals, findings = content.parts, content.baselines, content.bundle.findings
    own = {PARTS[name]: part.summary.confusion for name, part in parts.items()}
    yield figure(figures.confusions(own, findings), "This network: films, and share of the true class.")
    others = {
        "SVM, test": rivals.svm.test.summary.confusion,
        "source statistics, test": rivals.shortcut.test.summary.confusion,
        "random guess, test": rivals.random["test"].summary.confusion,
    }
    if rivals.covidnet:
        others["COVID-Net, published"] = rivals.covidnet.confusion
    basis = f" {rivals.covidnet.basis}" if rivals.covidnet else ""
    yield figure(figures.confusions(others, findings), f"Beside it.{basis}")
    rows = [row(PARTS[name], part.summary) for name, part in parts.items()]
    yield table(
        columns_of(content, "this network", "n"),
        rows,
        caption=f"Accuracy, recall and precision, view {views_of(content)} where it does not say all",
        strong=frozenset({2}),
    )
    rows = []
    for name, fitted in rivals.fitted().items():
        shown = [part for part in fitted.parts() if name == "svm" or part not in ("train", "val")]
        rows += [row(f"{RIVALS[name]}, {PARTS[part]}", fitted.parts()[part].summary) for part in shown]
    rows += [row(f"random guess, {PARTS[part]}", rivals.random[part].summary) for part in ("test", "test_all")]
    yield table(columns_of(content, "baseline", "n"), rows, caption="The same of what it must beat")
    yield _against(content)
    if content.other_network:
        yield from old_and_new(content, content.other_network, RIVALS)


def ranking(content: EvaluationContent) -> Iterable[Markup]:
    drawn = {name: content.parts[name].curves for name in ("test", "train")}
    yield figure(figures.curves(drawn, PARTS), "Each class against the rest. Dotted: guessing.")
    rows = []
    for name, part in content.parts.items():
        for finding, curve in part.curves.items():
            rows.append(
                (
                    f"{PARTS[name]}, {SPOKEN[finding]}",
                    curve.roc.positives,
                    curve.roc.negatives,
                    estimate_text(curve.roc.auroc),
                    estimate_text(curve.pr.average_precision),
                )
            )
    columns = ("part, class", "films of it", "of others", "AUROC", "average precision")
    yield table(columns, rows, caption="Area under the curves")


def calibration(content: EvaluationContent) -> Iterable[Markup]:
    parts, bundle = content.parts, content.bundle
    test = parts["test"].reliability
    panels = {"test, temperature 1": test.before, f"test, {bundle.calibration}": test.after}
    yield figure(
        figures.reliability(panels),
        "Does a stated probability come true as often as stated? Bins of equal size, bars are exact intervals. "
        "Calibrated on the validation split.",
    )
    rows = []
    for name, part in parts.items():
        both = (("temperature 1", part.reliability.before), (bundle.calibration, part.reliability.after))
        for words, reliability in both:
            rows.append((f"{PARTS[name]}, {words}", *map(estimate_text, reliability.scores)))
    columns = ("part", "calibration error (ECE)", "Brier score, 0 to 2", "log loss, nats")
    classes = len(bundle.findings)
    even = f"{1 - 1 / classes:.3f} and {log(classes):.3f}"
    yield table(columns, rows, caption=f"Calibration; the same for each of {classes} findings would score {even}")
    rows = [
        (
            f"{SPOKEN[finding]}, p ≥ {flag.threshold:.4f}, {PARTS[name]}",
            *(exact(rate) for rate in (flag.sensitivity, flag.specificity, flag.precision)),
            exact(flag.negatives_flagged) if flag.negatives_flagged else "–",
        )
        for name, part in parts.items()
        for finding, flag in part.flags.items()
    ]
    points = bundle.operating_points
    chosen = "; ".join(f"{SPOKEN[point.finding]}: {point.chosen_on}" for point in points)
    yield table(
        (
            "flag, part",
            "sensitivity",
            "specificity",
            "share of flags that are right",
            f"{SPOKEN[negative_of(bundle.findings)]} films flagged",
        ),
        rows,
        caption=f"Flags at the operating points ({chosen})" if points else "This bundle has no operating points",
    )
    yield from predictive(content)
    yield from unsure(content)
    yield from copies(content)


def origin(content: EvaluationContent) -> Iterable[Markup]:
    rivals, fair = content.baselines, content.fair
    subject = content.bundle.findings[-1]
    spoken = SPOKEN[subject]
    yield paragraph(
        f"{spoken} films may come from other sources than the rest. Three questions tell whether a network has learnt "
        "the disease or the source: how far does origin alone go, does the network do better than that, and does it "
        "still tell diseases apart within one source?"
    )
    own = content.parts["test"].curves[subject].roc.auroc
    lines = [Line(name="This network", estimates=(own,), strong=True)]
    lines.append(Line(name="SVM", estimates=(rivals.svm.test.auroc[subject],)))
    lines.append(Line(name="All five statistics", estimates=(rivals.shortcut.test.auroc[subject],)))
    lines += [
        Line(name=f"{STATISTICS[name]} alone (COVID-19 has {alone.covid19_has})", estimates=(alone.auroc,))
        for name, alone in rivals.statistics["test"].items()
    ]
    chart = forest((f"AUROC, {spoken} against the rest",), lines, reference=(0.5,), what="Origin alone, test")
    yield figure(
        chart,
        "Statistics of the whole film before cropping. The network sees a square and a stretched film: shape and "
        "brightness were taken from it, borders, markers and the look of a journal figure were not.",
    )
    if not fair:
        return
    names = {"network": "This network", "svm": "SVM", "shortcut": "Source statistics"}
    lines, rows = [], []
    for name, answers in fair.parts().items():
        lines.append(Line(name=f"{PARTS[name]}  n={answers['network'].films}", estimates=(), head=True))
        for who, rates in answers.items():
            lines.append(Line(name=names[who], estimates=(rates.accuracy, rates.auroc), strong=who == "network"))
            estimates = (rates.accuracy, rates.auroc, rates.sensitivity, rates.specificity)
            rows.append((f"{names[who]}, {PARTS[name]}", *map(estimate_text, estimates)))
    yield Markup("<h3>The fair slice: pneumonia against COVID-19 within {}</h3>").format(fair.source)
    if not lines:
        yield paragraph(f"The test films have not both classes from {fair.source}: there is no fair slice.")
        return
    what = f"Pneumonia against COVID-19 within {fair.source}"
    chart = forest(("accuracy", "AUROC"), lines, reference=(0.5, 0.5), what=what)
    yield figure(chart, "COVID-19 is called where it is likelier than pneumonia. Dotted: guessing.")
    columns = ("", "accuracy", "AUROC", "recall, COVID-19", "recall, pneumonia")
    yield table(columns, rows, caption="The fair slice")


def paper(content: EvaluationContent, paper: Paper) -> Iterable[Markup]:
    parts, rivals = content.parts, content.baselines
    rows: list[Sequence[object]] = []
    strong = set()
    for split in ("train", "val", "test"):
        strong.add(len(rows))
        rows.append(row(f"ours, {PARTS[split]}", parts[split].summary))
        rows.append(row(f"paper's CNN, {PARTS[split]}", published(paper.cnn[split], paper.films[split])))
    rows.append(row("our SVM, test", rivals.svm.test.summary))
    rows.append(row("paper's SVM, test", published(paper.svm["test"], paper.films["test"])))
    rows.append(row("our random guess, test", rivals.random["test"].summary))
    rows.append(row("paper's random guess, test", published(paper.random["test"], paper.films["test"])))
    if rivals.covidnet:
        rows.append(row("COVID-Net on the paper's test films", rivals.covidnet))
    yield table(
        columns_of(content, "", "n"),
        rows,
        caption=f"Ours beside {paper.citation}; other films",
        strong=frozenset(strong),
    )
    yield paragraph("The two were measured on other films, and differ in this:")
    yield bullets(paper.why_different)
    rows = [
        (shares["train/val"], *(f"{shares[split]:.4f}" for split in ("train", "val", "test")))
        for shares in paper.split_study
    ]
    yield table(
        ("train/validation", "train", "validation", "test"),
        rows,
        caption="The paper's split study, accuracy",
    )


def learning(content: EvaluationContent) -> Iterable[Markup]:
    if not content.learning_curve:
        yield paragraph("This bundle was made by an earlier version, which kept no learning curve.")
        return
    kept = content.bundle.provenance.get("kept", "")
    yield figure(figures.learning(content.epochs), f"Kept: {kept}, chosen on validation." if kept else "")


def studies(content: EvaluationContent) -> Iterable[Markup]:
    if not content.studies:
        yield paragraph("No study was given. 'xrayq study' makes them, 'xrayq evaluate --study FILE' shows them.")
    for study in content.studies:
        yield Markup("<h3>{}</h3>").format(study.title)
        yield table(study.columns, [list(map(cell, row)) for row in study.rows], caption=study.note)
        if study.provenance:
            words = "; ".join(f"{key}: {value_text(value)}" for key, value in study.provenance.items())
            yield paragraph(words, "quiet")


def tally(name: str, counts: FilmCounts, findings: Sequence[str], caption: str) -> Markup:
    """split -> row -> class -> films, with the splits side by side."""
    names = sorted({row for by_row in counts.values() for row in by_row})
    rows: list[list[object]] = [
        [
            row or "not said",
            *(by_row.get(row, {}).get(finding, 0) for by_row in counts.values() for finding in findings),
        ]
        for row in names
    ]
    sums = [sum(by_row[row][finding] for row in by_row) for by_row in counts.values() for finding in findings]
    columns = [name, *(f"{PARTS[split]}, {SPOKEN[finding]}" for split in counts for finding in findings)]
    return table(columns, [*rows, ["all", *sums]], caption=caption, strong=frozenset({len(rows)}))


def _against(content: EvaluationContent) -> Markup:
    rows = []
    for rival, by_part in content.against.items():
        for part, difference in by_part.items():
            test = difference.mcnemar
            rows.append(
                (
                    f"{RIVALS[rival]}, {PARTS[part]}",
                    estimate_text(difference.accuracy),
                    estimate_text(difference.balanced_accuracy),
                    test.first_only,
                    test.second_only,
                    f"{test.p:.4f}" if test.p >= 0.0001 else "< 0.0001",
                )
            )
    columns = ("network minus", "accuracy", "balanced accuracy", "only network right", "only other right", "McNemar p")
    return table(columns, rows, caption="Differences on the same films, by score intervals; exact McNemar test")
