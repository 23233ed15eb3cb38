"""Flags and prediction sets on the report and the card: what a flag means where few films have it; who is unsure."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from model.evaluation.evaluate import EvaluationContent
from model.evaluation.slices import PartMeasures
from model.findings import SPOKEN, negative_of
from model.pages.cells import PARTS, exact
from model.pages.html import paragraph, table
from model.pages.texts import estimate_text
from model.stats.estimate import Estimate
from model.stats.operating_points import PREVALENCES, predictive_values


def predictive(content: EvaluationContent) -> Iterable[Markup]:
    """What a flag means where few films have its finding."""
    rows = []
    for finding, flag in content.parts["test"].flags.items():
        for prevalence in PREVALENCES:
            values = predictive_values(flag.rates, prevalence)
            name = f"{SPOKEN[finding]}, p ≥ {flag.threshold:.4f}"
            rows.append((name, in_percent(prevalence), estimate_text(values.ppv, 3), estimate_text(values.npv, 3)))
    if rows:
        yield table(
            ("flag, test", "films with the finding", "PPV", "NPV"), rows, caption="The same at other prevalences"
        )
        yield paragraph(
            "PPV: share of the flagged films that have the finding. NPV: share of the others that do not. The "
            "prevalence is taken as known, and films without the finding as mixed here. 'xrayq simulate' says what a "
            "site's day would be.",
            "quiet",
        )


def unsure(content: EvaluationContent) -> Iterable[Markup]:
    """What prediction sets hold, and how many films they leave unsure."""
    rows = [
        (
            PARTS[name],
            exact(part.sets.coverage),
            exact(part.sets.unsure),
            *(exact(share) for share in part.sets.unsure_by_finding.values()),
        )
        for name, part in content.parts.items()
        if part.sets
    ]
    if rows:
        yield table(
            (
                "part",
                "set holds the finding",
                "unsure",
                *(f"unsure, {SPOKEN[name]}" for name in content.bundle.findings),
            ),
            rows,
            caption="Prediction sets. Unsure: the set is not exactly one finding",
        )


def card_rows(parts: Sequence[PartMeasures]) -> Iterable[list[str]]:
    """Rates of each flag on each part, and the share of unsure films, as rows of a table."""

    def row(name: str, estimates: Iterable[Estimate | None], digits: int = 2) -> list[str]:
        return [name, *(_text(estimate, digits) for estimate in estimates)]

    negative = negative_of(parts[0].summary.recall)
    for name, flag in parts[0].flags.items():
        words, flags = f"flag {name} at {flag.threshold:.4f}", [part.flags[name] for part in parts]
        yield row(f"{words}, sensitivity", (found.sensitivity for found in flags))
        yield row(f"{words}, specificity", (found.specificity for found in flags))
        if any(found.negatives_flagged for found in flags):
            yield row(f"{words}, {negative} films flagged", (found.negatives_flagged for found in flags))
        for prevalence in PREVALENCES:
            values = [predictive_values(found.rates, prevalence) for found in flags]
            yield row(f"{words}, PPV at {in_percent(prevalence)}", (value.ppv for value in values), 3)
            yield row(f"{words}, NPV at {in_percent(prevalence)}", (value.npv for value in values), 3)
    sets = [part.sets for part in parts if part.sets]
    if len(sets) == len(parts):
        yield row("prediction set holds the finding", (found.coverage for found in sets))
        shares = [found.coverage_by_finding for found in sets if found.coverage_by_finding]
        for name in shares[0] if len(shares) == len(parts) else ():
            yield row(f"prediction set holds the finding, {name}", (found[name] for found in shares))
    if sets:
        yield row("unsure", (part.sets.unsure if part.sets else None for part in parts))


def in_percent(share: float) -> str:
    return f"{100 * share:g} %"


def _text(estimate: Estimate | None, digits: int) -> str:
    """As the card has what is not known."""
    return "-" if estimate is None or estimate.value is None else estimate_text(estimate, digits)
