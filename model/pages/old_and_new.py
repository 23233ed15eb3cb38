"""The report's table of this network, another one and the baselines, on the same test films."""

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from model.evaluation.comparisons import Difference
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.other_network import OtherNetwork
from model.findings import SPOKEN
from model.pages.cells import PARTS
from model.pages.html import table
from model.pages.texts import estimate_text
from model.stats.curves import Area
from model.stats.summaries import Summary

STRANGER = "trained on another prepared set, which may have held some of these test films"


def old_and_new(content: EvaluationContent, other: OtherNetwork, rivals: Mapping[str, str]) -> Iterable[Markup]:
    """A row for each of them and each part; `rivals`: the baselines' names in words."""
    rows = []
    for part in other.parts:
        own = content.parts[part]
        areas = {finding: curve.roc.auroc for finding, curve in own.curves.items()}
        rows.append(_row(f"this network, {_of(part)}", own.summary, areas, None))
        theirs = other.parts[part]
        rows.append(_row(f"{other.title}, {_of(part)}", theirs.summary, theirs.auroc, other.against[part]))
        for name, fitted in content.baselines.fitted().items():
            if rival := fitted.parts().get(part):
                against = content.against[name].get(part)
                rows.append(_row(f"{rivals[name]}, {_of(part)}", rival.summary, rival.auroc, against))
    spoken = [SPOKEN[finding] for finding in content.bundle.findings]
    columns = (
        *("", "n", "accuracy", *(f"recall, {name}" for name in spoken), *(f"AUROC, {name}" for name in spoken)),
        *("this network minus it, accuracy", "balanced accuracy", "McNemar p"),
    )
    warning = "" if other.trained_on else f" ({STRANGER})"
    caption = f"Beside bundle {other.title}, {other.digest[:12]}{warning}; differences by score intervals"
    yield table(columns, rows, caption=caption)


def _row(name: str, summary: Summary, areas: Mapping[str, Area], against: Difference | None) -> list[object]:
    estimates = (summary.accuracy, *summary.recall.values(), *areas.values())
    cells: list[object] = [name, summary.films, *map(estimate_text, estimates)]
    if against is None:
        return [*cells, "", "", ""]
    p = f"{against.mcnemar.p:.4f}" if against.mcnemar.p >= 0.0001 else "< 0.0001"
    return [*cells, estimate_text(against.accuracy), estimate_text(against.balanced_accuracy), p]


def _of(part: str) -> str:
    return PARTS.get(part, part)
