"""The report's section of slices: films that are alike in one thing."""

from collections.abc import Iterable

from markupsafe import Markup

from model.data.dataset import MORE
from model.evaluation.evaluate import EvaluationContent
from model.findings import SPOKEN
from model.pages.cells import views_of
from model.pages.forest import Line, forest
from model.pages.html import figure, table
from model.pages.texts import estimate_text

GROUPS = {
    "all": "All films",
    "view": "By view",
    "source": "By source",
    "label": "By how the label was set",
    "sex": "By sex",
    "age": "By age",
}


def slices(content: EvaluationContent) -> Iterable[Markup]:
    findings, subject = content.bundle.findings, content.bundle.findings[-1]
    lines: list[Line] = []
    seen = ("", False)
    rows = []
    for part in content.slices:
        whole = part.group == "all"
        if (part.group, part.of == MORE) != seen:
            seen = (part.group, part.of == MORE)
            of = MORE if part.of == MORE else "test"
            lines.append(Line(name=f"{GROUPS[part.group]}, {of}", estimates=(), head=True))
        name = part.of if whole else part.name
        count = sum(part.films.values())
        estimates = (part.accuracy, part.balanced, part.auroc[subject])
        lines.append(Line(name=f"{name}  n={count}", estimates=estimates, strong=whole))
        rows.append(
            (
                f"{part.group}: {part.name}, {part.of}",
                *part.films.values(),
                estimate_text(part.accuracy),
                *(estimate_text(part.recall[finding]) for finding in findings),
            )
        )
    chart = forest(
        ("accuracy", "balanced accuracy", f"AUROC, {SPOKEN[subject]}"),
        lines,
        reference=(None, None, 0.5),
        what="Slices",
    )
    yield figure(
        chart,
        "Balanced accuracy is over the classes that a slice has. No interval: too few patients, or one class only.",
    )
    yield table(
        (
            "slice",
            *(f"{SPOKEN[name]} films" for name in findings),
            "accuracy",
            *(f"recall, {SPOKEN[name]}" for name in findings),
        ),
        rows,
        caption=f"The same; the bundle's views are {views_of(content)}",
    )
